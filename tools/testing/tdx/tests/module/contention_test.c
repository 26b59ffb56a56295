// SPDX-License-Identifier: GPL-2.0-only
/* Calls that overlap in time: one thread per LP. */
#include <pthread.h>

#include "tests/module/machine.h"

#define GPA 0x1000ULL
#define ROUNDS 4000

/* What the other LP does while LP 0 is in the middle of a call. */
struct interloper {
	pthread_barrier_t entered, done;
	struct test_td *td;
	uint64_t want;
	uint64_t leaf, rcx, rdx, r8, r9;
};

static struct interloper other;

static void wait_for_interloper(struct machine *machine, uint64_t hpa)
{
	(void)hpa;
	machine->on_read = NULL;
	pthread_barrier_wait(&other.entered);
	pthread_barrier_wait(&other.done);
}

static void *interlope(void *arg)
{
	struct machine *machine = arg;

	pthread_barrier_wait(&other.entered);
	EXPECT_CALL(other.want, machine, 1, other.leaf, other.rcx, other.rdx, other.r8, other.r9);
	pthread_barrier_wait(&other.done);
	return NULL;
}

/* LP 0 adds a page, and while it does, LP 1 makes the call that @other describes. */
static void add_with_interloper(struct machine *machine, struct test_td *td)
{
	uint64_t page = machine_page(machine);
	pthread_t thread;

	pthread_barrier_init(&other.entered, NULL, 2);
	pthread_barrier_init(&other.done, NULL, 2);
	machine->on_read = wait_for_interloper;
	pthread_create(&thread, NULL, interlope, machine);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_ADD, GPA, td->tdr, page, td->source);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&other.entered);
	pthread_barrier_destroy(&other.done);
}

static void page_add_during_page_add_busy_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = machine_page(machine);

	other = (struct interloper) {
		.want = 0x8000020000000002,
		.leaf = TDH_MEM_PAGE_ADD,
		.rcx = 2 * GPA,
		.rdx = td.tdr,
		.r8 = page,
		.r9 = td.source,
	};
	add_with_interloper(machine, &td);
	KTAP_EXPECT_EQ(machine_page_type(machine, page), PT_NDA);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_MEM_PAGE_ADD, 2 * GPA, td.tdr, page, td.source);
	machine_free(machine);
}

static void other_leaves_during_page_add_busy_fail(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	const struct interloper calls[] = {
		{ .leaf = TDH_MEM_SEPT_ADD,
		  .rcx = TDX_2M | 1,
		  .rdx = td.tdr,
		  .r8 = machine_page(machine),
		  .want = TDX_OPERAND_BUSY + OP_RDX },
		{ .leaf = TDH_MEM_RANGE_BLOCK,
		  .rcx = GPA,
		  .rdx = td.tdr,
		  .want = TDX_OPERAND_BUSY + OP_RDX },
		{ .leaf = TDH_MEM_TRACK,
		  .rcx = td.tdr,
		  .rdx = 2,
		  .want = TDX_OPERAND_BUSY + OP_RCX },
		{ .leaf = TDH_MR_EXTEND,
		  .rcx = GPA,
		  .rdx = td.tdr,
		  .want = TDX_OPERAND_BUSY + OP_RDX },
		{ .leaf = TDH_MR_FINALIZE, .rcx = td.tdr, .want = TDX_OPERAND_BUSY + OP_RCX },
		{ .leaf = TDH_MNG_RD,
		  .rcx = td.tdr,
		  .rdx = 0x110000000000000a,
		  .want = TDX_OPERAND_BUSY + OP_RCX },
		{ .leaf = TDH_VP_FLUSH, .rcx = td.vcpu.tdvpr, .want = TDX_OPERAND_BUSY + OP_TDR },
		{ .leaf = TDH_VP_RD,
		  .rcx = td.vcpu.tdvpr,
		  .rdx = 0x9120000300000100,
		  .want = TDX_OPERAND_BUSY + OP_TDR },
		{ .leaf = TDH_VP_ENTER, .rcx = td.vcpu.tdvpr, .want = TDX_OPERAND_BUSY + OP_TDR },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(calls); i++) {
		other = calls[i];
		add_with_interloper(machine, &td);
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	}
	machine_free(machine);
}

/* A guest page of its own for each LP; conflicts come from the locks above it. */
struct worker {
	struct machine *machine;
	struct test_td *td;
	unsigned int lp;
	uint64_t gpa, page;
	unsigned int busy;
};

static uint64_t retry(struct worker *worker, uint64_t leaf, uint64_t rcx, uint64_t rdx, uint64_t r8)
{
	for (;;) {
		uint64_t status =
			machine_call(worker->machine, worker->lp, leaf, rcx, rdx, r8, 0).rax;

		/* The last two: a VCPU is still inside, from before the TRACK. */
		if (tdx_status_code(status) != TDX_OPERAND_BUSY &&
		    status != TDX_PREVIOUS_TLB_EPOCH_BUSY &&
		    status != TDX_TLB_TRACKING_NOT_DONE + OP_RCX)
			return status;
		worker->busy++;
	}
}

static void *map_and_unmap(void *arg)
{
	struct worker *worker = arg;
	uint64_t tdr = worker->td->tdr, gpa = worker->gpa, page = worker->page;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_MEM_PAGE_AUG, gpa, tdr, page));
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_MEM_RANGE_BLOCK, gpa, tdr, 0));
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_MEM_TRACK, tdr, 0, 0));
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_MEM_PAGE_REMOVE, gpa, tdr, 0));
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_PHYMEM_PAGE_WBINVD,
						 WITH_KEYID(page, worker->td->hkid), 0, 0));
	}
	return NULL;
}

static void *enter_and_read(void *arg)
{
	struct worker *worker = arg;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		EXPECT_STATUS(TDX_EXIT_REASON_TDCALL,
			      retry(worker, TDH_VP_ENTER, worker->td->vcpu.tdvpr, 0, 0));
		EXPECT_STATUS(TDX_SUCCESS,
			      retry(worker, TDH_MNG_RD, worker->td->tdr, 0x110000000000000a, 0));
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_PHYMEM_PAGE_RDMD, worker->page, 0, 0));
	}
	return NULL;
}

static void storm_on_one_td_keeps_the_books_ok(void)
{
	struct machine *machine = machine_new(4, 1);
	struct worker worker[4];
	pthread_t thread[ARRAY_LEN(worker)];
	struct test_td td;
	int64_t before;
	unsigned int i;

	machine_boot(machine);
	td = td_new(machine, 2, STAGE_RUNNABLE);
	before = td_model(&td)->chldcnt;
	for (i = 0; i < ARRAY_LEN(worker); i++) {
		worker[i] = (struct worker) { .machine = machine,
					      .td = &td,
					      .lp = i,
					      .gpa = GPA * i,
					      .page = machine_page(machine) };
		/* The VCPU is associated with LP 0. */
		pthread_create(&thread[i], NULL, i ? map_and_unmap : enter_and_read, &worker[i]);
	}
	for (i = 0; i < ARRAY_LEN(worker); i++) {
		pthread_join(thread[i], NULL);
		KTAP_EXPECT_EQ(machine_page_type(machine, worker[i].page), PT_NDA);
	}
	KTAP_EXPECT_EQ(td_model(&td)->chldcnt, before);
	KTAP_EXPECT_EQ(td_model(&td)->refcount[0] + td_model(&td)->refcount[1], 0);
	/* Removals that came before all VCPUs were out. */
	machine_forget_findings(machine);
	td_free(&td);
	machine_free(machine);
}

static void *td_after_td(void *arg)
{
	struct worker *worker = arg;
	struct machine *machine = worker->machine;
	uint64_t tdr = worker->page, hkid = 2 + worker->lp;
	unsigned int i;

	for (i = 0; i < 200; i++) {
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_MNG_CREATE, tdr, hkid, 0));
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_MNG_KEY_CONFIG, tdr, 0, 0));
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_MNG_VPFLUSHDONE, tdr, 0, 0));
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_PHYMEM_CACHE_WB, 0, 0, 0));
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_MNG_KEY_FREEID, tdr, 0, 0));
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_PHYMEM_PAGE_RECLAIM, tdr, 0, 0));
		EXPECT_STATUS(TDX_SUCCESS, retry(worker, TDH_PHYMEM_PAGE_WBINVD,
						 WITH_KEYID(tdr, MACHINE_GLOBAL_HKID), 0, 0));
	}
	KTAP_EXPECT_EQ(machine_page_type(machine, tdr), PT_NDA);
	return NULL;
}

static void tds_come_and_go_on_all_lps_ok(void)
{
	struct machine *machine = machine_new(4, 1);
	struct worker worker[4];
	pthread_t thread[ARRAY_LEN(worker)];
	unsigned int i;

	machine_boot(machine);
	for (i = 0; i < ARRAY_LEN(worker); i++) {
		worker[i] = (struct worker) { .machine = machine,
					      .lp = i,
					      .page = machine_page(machine) };
		pthread_create(&thread[i], NULL, td_after_td, &worker[i]);
	}
	for (i = 0; i < ARRAY_LEN(worker); i++)
		pthread_join(thread[i], NULL);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "contention.page_add_during_page_add_busy_fails", page_add_during_page_add_busy_fails },
	{ "contention.other_leaves_during_page_add_busy_fail",
	  other_leaves_during_page_add_busy_fail },
	{ "contention.storm_on_one_td_keeps_the_books_ok", storm_on_one_td_keeps_the_books_ok },
	{ "contention.tds_come_and_go_on_all_lps_ok", tds_come_and_go_on_all_lps_ok },
};

KTAP_MAIN(cases)
