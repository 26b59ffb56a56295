// SPDX-License-Identifier: GPL-2.0-only
/* What a test may ask about the module. */
#include "module/query.h"

#include <errno.h>
#include <pthread.h>

#include "tests/module/machine.h"

#define GPA 0x1000ULL

static void tds_in_order_of_creation(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td first = td_new(machine, 5, STAGE_SEPT);
	struct test_td second = td_new(machine, 3, STAGE_CREATED);
	struct tdxm_td_info info;

	KTAP_EXPECT_EQ(tdxm_query_td(machine->m, 0, &info), 0);
	KTAP_EXPECT_EQ(info.tdr, first.tdr);
	KTAP_EXPECT_EQ(info.hkid, 5);
	KTAP_EXPECT_EQ(info.lifecycle, TD_KEYS_CONFIGURED);
	KTAP_EXPECT_EQ(info.op_state, TD_INITIALIZED);
	KTAP_EXPECT_EQ(info.num_vcpus, 1);
	KTAP_EXPECT_EQ(info.chldcnt, TDX_TDCS_PAGES + TDX_TDVPS_PAGES + 3);
	KTAP_EXPECT_EQ(info.serial, 1);
	KTAP_EXPECT_EQ(tdxm_query_td(machine->m, 1, &info), 0);
	KTAP_EXPECT_EQ(info.tdr, second.tdr);
	KTAP_EXPECT_EQ(info.lifecycle, TD_HKID_ASSIGNED);
	KTAP_EXPECT_EQ(tdxm_query_td(machine->m, 2, &info), -ENOENT);

	td_free(&first);
	KTAP_EXPECT_EQ(tdxm_query_td(machine->m, 0, &info), 0);
	KTAP_EXPECT_EQ(info.tdr, second.tdr);
	KTAP_EXPECT_EQ(info.serial, 2);
	machine_free(machine);
}

static void sept_entry_at_every_level(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = td_add_page(&td, GPA);
	struct tdxm_sept_info info;
	unsigned int level;

	for (level = 1; level <= 3; level++) {
		KTAP_EXPECT_EQ(tdxm_query_sept(machine->m, td.tdr, 0, level, &info), 0);
		KTAP_EXPECT_EQ(info.level, level);
		KTAP_EXPECT_EQ(info.state, SEPT_NL_MAPPED);
		KTAP_EXPECT_EQ(info.hpa, td.sept[3 - level]);
	}
	KTAP_EXPECT_EQ(tdxm_query_sept(machine->m, td.tdr, GPA, 0, &info), 0);
	KTAP_EXPECT_EQ(info.state, SEPT_MAPPED);
	KTAP_EXPECT_EQ(info.hpa, page);
	KTAP_EXPECT_EQ(tdxm_query_sept(machine->m, td.tdr, 2 * GPA, 0, &info), 0);
	KTAP_EXPECT_EQ(info.state, SEPT_FREE);
	/* No table there: the walk ends above. */
	KTAP_EXPECT_EQ(tdxm_query_sept(machine->m, td.tdr, TDX_2M, 0, &info), 0);
	KTAP_EXPECT_EQ(info.level, 1);
	KTAP_EXPECT_EQ(info.state, SEPT_FREE);
	machine_free(machine);
}

static void bad_questions_refused(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	struct test_td young = td_new(machine, 3, STAGE_KEYED);
	struct tdxm_sept_info sept;
	struct tdxm_page_info page;
	struct tdxm *m = machine->m;
	uint8_t buf[64];

	KTAP_EXPECT_EQ(tdxm_query_sept(m, 0, 0, 0, &sept), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_query_sept(m, td.tdr + 8, 0, 0, &sept), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_query_sept(m, td.vcpu.tdvpr, 0, 0, &sept), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_query_sept(m, young.tdr, 0, 0, &sept), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_query_sept(m, td.tdr, 0, 9, &sept), -EINVAL);
	KTAP_EXPECT_EQ(tdxm_query_sept(m, td.tdr, GPA, 1, &sept), -EINVAL);
	KTAP_EXPECT_EQ(tdxm_query_sept(m, td.tdr, 1ULL << 60, 0, &sept), -EINVAL);
	KTAP_EXPECT_EQ(tdxm_query_page(m, 1, &page), -EINVAL);
	KTAP_EXPECT_EQ(tdxm_query_page(m, ~0xfffULL, &page), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_query_bytes(m, td.tdr, GPA, buf, sizeof(buf)), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_query_bytes(m, td.tdr, 2 * GPA - 8, buf, sizeof(buf)), -EINVAL);
	KTAP_EXPECT_EQ(tdxm_query_host_bytes(m, td.source + 8, buf, sizeof(buf)), -EINVAL);
	KTAP_EXPECT_EQ(tdxm_query_host_bytes(m, 1ULL << 50, buf, sizeof(buf)), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_query_host_bytes(m, ~0x3fULL, buf, sizeof(buf)), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_query_mrtd(m, td.source, buf), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_query_mrtd(m, young.tdr, buf), -ENOENT);
	machine_free(machine);
}

static void page_and_its_owner(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = td_add_page(&td, GPA), big = machine_page_2m(machine);
	struct tdxm_page_info info;
	struct tdxm *m = machine->m;

	KTAP_EXPECT_EQ(tdxm_query_page(m, page, &info), 0);
	KTAP_EXPECT_EQ(info.type, PT_REG);
	KTAP_EXPECT_EQ(info.tdr, td.tdr);
	KTAP_EXPECT_EQ(info.level, 0);
	KTAP_EXPECT_EQ(tdxm_query_page(m, td.tdr, &info), 0);
	KTAP_EXPECT_EQ(info.type, PT_TDR);
	KTAP_EXPECT_EQ(info.tdr, td.tdr);
	KTAP_EXPECT_EQ(tdxm_query_page(m, td.source, &info), 0);
	KTAP_EXPECT_EQ(info.type, PT_NDA);
	KTAP_EXPECT_EQ(info.tdr, 0);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, big, 0);
	KTAP_EXPECT_EQ(tdxm_query_page(m, big + 5 * TDX_PAGE_SIZE, &info), 0);
	KTAP_EXPECT_EQ(info.type, PT_REG);
	KTAP_EXPECT_EQ(info.level, 1);
	KTAP_EXPECT_EQ(info.tdr, td.tdr);
	machine_free(machine);
}

static void bytes_of_a_page(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint8_t *source = machine_ram(machine, td.source), buf[64];
	uint64_t page;
	unsigned int i;

	for (i = 0; i < TDX_PAGE_SIZE; i++)
		source[i] = i * 7;
	page = td_add_page(&td, GPA);
	KTAP_EXPECT_EQ(tdxm_query_bytes(machine->m, td.tdr, GPA + 128, buf, sizeof(buf)), 0);
	KTAP_EXPECT(!memcmp(buf, source + 128, sizeof(buf)));
	memset(buf, 0, sizeof(buf));
	KTAP_EXPECT_EQ(tdxm_query_host_bytes(machine->m, page + 192, buf, sizeof(buf)), 0);
	KTAP_EXPECT(!memcmp(buf, source + 192, sizeof(buf)));
	KTAP_EXPECT_EQ(tdxm_query_host_bytes(machine->m, td.source, buf, sizeof(buf)), 0);
	KTAP_EXPECT(!memcmp(buf, source, sizeof(buf)));
	machine_free(machine);
}

static void measurement_before_and_after_finalize(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint8_t empty[48], building[48], final[48];

	KTAP_EXPECT_EQ(tdxm_query_mrtd(machine->m, td.tdr, empty), 0);
	td_add_page(&td, GPA);
	KTAP_EXPECT_EQ(tdxm_query_mrtd(machine->m, td.tdr, building), 0);
	KTAP_EXPECT(memcmp(empty, building, sizeof(empty)));
	td_advance(&td, STAGE_RUNNABLE);
	KTAP_EXPECT_EQ(tdxm_query_mrtd(machine->m, td.tdr, final), 0);
	KTAP_EXPECT(!memcmp(building, final, sizeof(final)));
	machine_free(machine);
}

static void counts_by_leaf_and_status(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	struct tdxm *m = machine->m;

	td_add_page(&td, GPA);
	td_add_page(&td, 2 * GPA);
	EXPECT_CALL(TDX_OPERAND_INVALID + OP_RCX, machine, 0, TDH_MEM_PAGE_ADD, GPA | 1, td.tdr,
		    machine_page(machine), td.source);
	KTAP_EXPECT_EQ(tdxm_query_count(m, TDH_MEM_PAGE_ADD, 0, 0), 3);
	KTAP_EXPECT_EQ(tdxm_query_count(m, TDH_MEM_PAGE_ADD, TDX_SUCCESS, ~0ULL), 2);
	KTAP_EXPECT_EQ(tdxm_query_count(m, TDH_MEM_PAGE_ADD, TDX_OPERAND_INVALID, ~0ULL), 1);
	KTAP_EXPECT_EQ(tdxm_query_count(m, TDH_MEM_PAGE_ADD, TDX_OPERAND_BUSY, ~0ULL), 0);
	KTAP_EXPECT_EQ(tdxm_query_count(m, 0xffff, 0, 0), 0);
	machine_free(machine);
}

struct asker {
	struct machine *machine;
	struct test_td *td;
	_Atomic bool stop;
};

static void *ask_everything(void *arg)
{
	struct asker *asker = arg;
	struct tdxm *m = asker->machine->m;
	struct tdxm_sept_info sept;
	struct tdxm_page_info page;
	struct tdxm_td_info info;
	uint8_t mrtd[48];
	unsigned int n;

	while (!asker->stop) {
		for (n = 0; !tdxm_query_td(m, n, &info); n++) {
			tdxm_query_sept(m, info.tdr, GPA, 0, &sept);
			tdxm_query_page(m, info.tdr, &page);
			tdxm_query_mrtd(m, info.tdr, mrtd);
		}
		tdxm_query_count(m, TDH_MEM_PAGE_ADD, 0, 0);
	}
	return NULL;
}

/* TDs come and go meanwhile, and no call ever finds a lock of a question. */
static void questions_disturb_nobody(void)
{
	struct machine *machine = machine_new_booted();
	struct asker asker = { .machine = machine };
	pthread_t thread;
	unsigned int i;

	pthread_create(&thread, NULL, ask_everything, &asker);
	for (i = 0; i < 50; i++) {
		struct test_td td = td_new(machine, 2, STAGE_SEPT);
		uint64_t page = td_add_page(&td, GPA);

		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_PAGE_WBINVD, WITH_KEYID(page, 2), 0,
			    0, 0);
		td_free(&td);
	}
	asker.stop = true;
	pthread_join(thread, NULL);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "query.tds_in_order_of_creation", tds_in_order_of_creation },
	{ "query.sept_entry_at_every_level", sept_entry_at_every_level },
	{ "query.bad_questions_refused", bad_questions_refused },
	{ "query.page_and_its_owner", page_and_its_owner },
	{ "query.bytes_of_a_page", bytes_of_a_page },
	{ "query.measurement_before_and_after_finalize", measurement_before_and_after_finalize },
	{ "query.counts_by_leaf_and_status", counts_by_leaf_and_status },
	{ "query.questions_disturb_nobody", questions_disturb_nobody },
};

KTAP_MAIN(cases)
