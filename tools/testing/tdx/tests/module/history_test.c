// SPDX-License-Identifier: GPL-2.0-only
/* The history of a page. */
#include <pthread.h>

#include "tests/module/machine.h"

#define GPA 0x1000ULL

struct history {
	struct tdxm_history_event event[TDXM_MAX_HISTORY];
	unsigned int count;
};

static struct history history_of(struct machine *machine, uint64_t hpa)
{
	struct history history;

	history.count = tdxm_history_get(machine->m, hpa, history.event);
	return history;
}

static void wbinvd(struct machine *machine, unsigned int lp, uint64_t hpa)
{
	EXPECT_CALL(TDX_SUCCESS, machine, lp, TDH_PHYMEM_PAGE_WBINVD, WITH_KEYID(hpa, 2), 0, 0, 0);
}

static void expect_leaves(struct history history, const enum tdx_leaf *leaf, unsigned int count)
{
	unsigned int i;

	KTAP_EXPECT_EQ(history.count, count);
	for (i = 0; i < history.count && i < count; i++) {
		KTAP_EXPECT_EQ(history.event[i].leaf, leaf[i]);
		KTAP_EXPECT(!i || history.event[i].time_ns >= history.event[i - 1].time_ns);
	}
}

#define EXPECT_LEAVES(history, ...)                                   \
	do {                                                          \
		static const enum tdx_leaf leaf_[] = { __VA_ARGS__ }; \
		expect_leaves(history, leaf_, ARRAY_LEN(leaf_));      \
	} while (0)

static void life_of_a_page_is_told_in_order(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page, gpa;
	struct history history;

	page = td_add_page(&td, GPA);
	for (gpa = GPA; gpa < 2 * GPA; gpa += 256)
		EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_MR_EXTEND, gpa, td.tdr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	wbinvd(machine, 0, page);
	history = history_of(machine, page);
	EXPECT_LEAVES(history, TDH_MEM_PAGE_ADD, TDH_MR_EXTEND, TDH_MEM_RANGE_BLOCK,
		      TDH_MEM_PAGE_REMOVE, TDH_PHYMEM_PAGE_WBINVD);
	KTAP_EXPECT_EQ(history.event[1].count, 16);
	KTAP_EXPECT_EQ(history.event[1].lp, 1);
	KTAP_EXPECT_EQ(history.event[3].tdr, td.tdr);
	KTAP_EXPECT_EQ(history.event[4].tdr, 0);
	machine_free(machine);
}

static void pages_of_the_td_itself_have_one(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_RUNNABLE);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_TRACK, td.tdr, 0, 0, 0);
	EXPECT_LEAVES(history_of(machine, td.tdr), TDH_MNG_CREATE, TDH_MNG_KEY_CONFIG, TDH_MNG_INIT,
		      TDH_MR_FINALIZE, TDH_MEM_TRACK);
	td_free(&td);
	EXPECT_LEAVES(history_of(machine, td.sept[1]), TDH_MEM_SEPT_ADD, TDH_PHYMEM_PAGE_RECLAIM);
	EXPECT_LEAVES(history_of(machine, td.tdcx[0]), TDH_MNG_ADDCX, TDH_PHYMEM_PAGE_RECLAIM);
	EXPECT_LEAVES(history_of(machine, td.vcpu.tdcx[0]), TDH_VP_ADDCX, TDH_PHYMEM_PAGE_RECLAIM);
	EXPECT_LEAVES(history_of(machine, td.vcpu.tdvpr), TDH_VP_CREATE, TDH_VP_INIT, TDH_VP_FLUSH,
		      TDH_PHYMEM_PAGE_RECLAIM);
	machine_free(machine);
}

static void last_eight_are_kept(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = machine_page(machine);
	struct history history;
	unsigned int i;

	for (i = 0; i < 5; i++) {
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page,
			    td.source);
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
		wbinvd(machine, 0, page);
	}
	history = history_of(machine, page);
	EXPECT_LEAVES(history, TDH_MEM_PAGE_REMOVE, TDH_PHYMEM_PAGE_WBINVD, TDH_MEM_PAGE_ADD,
		      TDH_MEM_PAGE_REMOVE, TDH_PHYMEM_PAGE_WBINVD, TDH_MEM_PAGE_ADD,
		      TDH_MEM_PAGE_REMOVE, TDH_PHYMEM_PAGE_WBINVD);
	machine_free(machine);
}

static void refusals_are_told_with_their_status(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = td_add_page(&td, GPA);
	struct sharex *lock = &tdxm_pamt_find(machine->m, page)->lock;
	struct history history;
	unsigned int i;

	KTAP_EXPECT(sharex_try_shared(lock));
	for (i = 0; i < 3; i++)
		EXPECT_CALL(TDX_OPERAND_BUSY + OP_RCX, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr,
			    0, 0);
	sharex_unlock_shared(lock);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	history = history_of(machine, page);
	EXPECT_LEAVES(history, TDH_MEM_PAGE_ADD, TDH_MEM_PAGE_REMOVE, TDH_MEM_PAGE_REMOVE);
	KTAP_EXPECT_EQ(history.event[1].status, TDX_OPERAND_BUSY + OP_RCX);
	KTAP_EXPECT_EQ(history.event[1].count, 3);
	KTAP_EXPECT_EQ(history.event[2].status, TDX_SUCCESS);
	machine_free(machine);
}

static void part_of_a_2m_page_has_that_of_the_whole(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t huge = machine_page_2m(machine);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, TDX_2M | 1, td.tdr, 0, 0);
	wbinvd(machine, 0, huge + 0x5000);
	EXPECT_LEAVES(history_of(machine, huge + 0x5000), TDH_MEM_PAGE_AUG, TDH_MEM_PAGE_REMOVE,
		      TDH_PHYMEM_PAGE_WBINVD);
	EXPECT_LEAVES(history_of(machine, huge + 0x6000), TDH_MEM_PAGE_AUG, TDH_MEM_PAGE_REMOVE);
	machine_free(machine);
}

static void page_without_a_past_has_none(void)
{
	struct machine *machine = machine_new_booted();

	KTAP_EXPECT_EQ(history_of(machine, machine_page(machine)).count, 0);
	KTAP_EXPECT_EQ(history_of(machine, TDX_1G).count, 0);
	machine_free(machine);
}

struct worker {
	struct machine *machine;
	unsigned int lp;
	uint64_t page;
};

static void *write_back(void *arg)
{
	struct worker *worker = arg;
	unsigned int i;

	for (i = 0; i < 2000; i++) {
		struct history history;

		wbinvd(worker->machine, worker->lp, worker->page);
		history = history_of(worker->machine, worker->page);
		KTAP_EXPECT(history.count && history.count <= TDXM_MAX_HISTORY);
	}
	return NULL;
}

static void many_lps_on_one_page_ok(void)
{
	struct machine *machine = machine_new(4, 1);
	struct worker worker[4];
	pthread_t thread[ARRAY_LEN(worker)];
	struct history history;
	uint64_t page;
	unsigned int i;

	machine_boot(machine);
	page = machine_page(machine);
	for (i = 0; i < ARRAY_LEN(worker); i++) {
		worker[i] = (struct worker) { machine, i, page };
		pthread_create(&thread[i], NULL, write_back, &worker[i]);
	}
	for (i = 0; i < ARRAY_LEN(worker); i++)
		pthread_join(thread[i], NULL);
	history = history_of(machine, page);
	for (i = 0; i < history.count; i++)
		KTAP_EXPECT_EQ(history.event[i].leaf, TDH_PHYMEM_PAGE_WBINVD);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "history.life_of_a_page_is_told_in_order", life_of_a_page_is_told_in_order },
	{ "history.pages_of_the_td_itself_have_one", pages_of_the_td_itself_have_one },
	{ "history.last_eight_are_kept", last_eight_are_kept },
	{ "history.refusals_are_told_with_their_status", refusals_are_told_with_their_status },
	{ "history.part_of_a_2m_page_has_that_of_the_whole",
	  part_of_a_2m_page_has_that_of_the_whole },
	{ "history.page_without_a_past_has_none", page_without_a_past_has_none },
	{ "history.many_lps_on_one_page_ok", many_lps_on_one_page_ok },
};

KTAP_MAIN(cases)
