// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two LPs hammer one TD with calls of every class, on the same few pages and
 * GPAs, each from its own thread. Whatever the calls answer, it is a declared
 * status, and the books agree when the threads are done.
 */
#include <pthread.h>
#include <sched.h>

#include "module/verify.h"
#include "tests/module/machine.h"

#define CALLS 6000
#define NR_PAGES 6 /* fewer than there are places for them */
#define NR_GPAS 4
#define NR_VCPUS 3
#define V1 BIT_U64(TDX_RAX_VERSION_SHIFT)
#define TSC_OFFSET 0x110000000000000aULL
#define STATE_DETAILS 0x9120000300000100ULL
#define PEND_NMI 0x202000000000000bULL

/* What both threads know, and never change. */
struct storm {
	struct machine *machine;
	struct test_td td;
	uint64_t page[NR_PAGES];
	uint64_t huge;
	uint64_t tdvpr[NR_VCPUS];
	void (*call)(struct storm *storm, unsigned int lp, uint32_t random);
};

struct thread {
	pthread_t id;
	struct storm *storm;
	unsigned int lp;
};

static _Atomic unsigned int busy, done;

static void yield(struct machine *machine, uint64_t hpa)
{
	(void)machine;
	(void)hpa;
	/* In the middle of a call, so that the other one runs into its locks. */
	sched_yield();
}

static uint64_t call(struct storm *storm, unsigned int lp, uint64_t leaf, uint64_t rcx,
		     uint64_t rdx, uint64_t r8, uint64_t r9)
{
	uint64_t status = machine_call(storm->machine, lp, leaf, rcx, rdx, r8, r9).rax;

	if (tdx_status_code(status) == TDX_OPERAND_BUSY)
		atomic_fetch_add(&busy, 1);
	else if (!status)
		atomic_fetch_add(&done, 1);
	return status;
}

static uint64_t random_gpa(uint32_t random)
{
	return (random >> 8) % NR_GPAS * TDX_PAGE_SIZE + (random >> 16 & 1) * TDX_2M;
}

/* Memory and VCPUs of a TD that is being built. */
static void build(struct storm *storm, unsigned int lp, uint32_t random)
{
	uint64_t tdr = storm->td.tdr, gpa = random_gpa(random);
	uint64_t page = storm->page[(random >> 20) % NR_PAGES];
	uint64_t tdvpr = storm->tdvpr[(random >> 24) % NR_VCPUS];
	uint64_t hkid = storm->td.hkid;

	switch (random % 18) {
	case 0:
		call(storm, lp, TDH_MEM_SEPT_ADD, (gpa & ~(TDX_2M - 1)) | 1,
		     tdr | (random >> 28 & 1), page, 0);
		break;
	case 1:
	case 2:
		call(storm, lp, TDH_MEM_PAGE_ADD, gpa, tdr, page, storm->td.source);
		break;
	case 3:
	case 4:
		call(storm, lp, TDH_MEM_PAGE_AUG, gpa, tdr, page, 0);
		break;
	case 5:
		call(storm, lp, TDH_MEM_PAGE_AUG, TDX_2M * 2 | 1, tdr, storm->huge, 0);
		break;
	case 6:
		call(storm, lp, TDH_MEM_RANGE_BLOCK, gpa, tdr, 0, 0);
		break;
	case 7:
		call(storm, lp, TDH_MEM_TRACK, tdr, 0, 0, 0);
		break;
	case 8:
	case 9:
		call(storm, lp, TDH_MEM_PAGE_REMOVE, gpa, tdr, 0, 0);
		break;
	case 10:
		call(storm, lp, TDH_MEM_PAGE_REMOVE, TDX_2M * 2 | 1, tdr, 0, 0);
		break;
	case 11:
		call(storm, lp, TDH_MR_EXTEND, gpa, tdr, 0, 0);
		break;
	case 12:
		call(storm, lp, TDH_VP_CREATE, tdvpr, tdr, 0, 0);
		break;
	case 13:
		call(storm, lp, TDH_VP_ADDCX, page, tdvpr, 0, 0);
		break;
	case 14:
		call(storm, lp, TDH_VP_INIT | (random >> 28 & 1 ? V1 : 0), tdvpr, 0, random >> 29,
		     0);
		break;
	case 15:
		call(storm, lp, TDH_VP_FLUSH, tdvpr, 0, 0, 0);
		break;
	case 16:
		call(storm, lp, TDH_PHYMEM_PAGE_WBINVD, WITH_KEYID(page, hkid), 0, 0, 0);
		break;
	default:
		call(storm, lp, TDH_VP_WR, tdvpr, PEND_NMI, 1, 1);
		break;
	}
}

/* Memory and VCPUs of a TD that runs. */
static void run(struct storm *storm, unsigned int lp, uint32_t random)
{
	uint64_t tdr = storm->td.tdr, gpa = random_gpa(random), tdvpr = storm->td.vcpu.tdvpr;
	uint64_t page = storm->page[(random >> 20) % NR_PAGES];

	switch (random % 10) {
	case 0:
		call(storm, lp, TDH_MEM_SEPT_ADD, TDX_2M | 1, tdr, page, 0);
		break;
	case 1:
	case 2:
		call(storm, lp, TDH_MEM_PAGE_AUG, gpa, tdr, page, 0);
		break;
	case 3:
		call(storm, lp, TDH_MEM_RANGE_BLOCK, gpa, tdr, 0, 0);
		break;
	case 4:
		call(storm, lp, TDH_MEM_TRACK, tdr, 0, 0, 0);
		break;
	case 5:
		call(storm, lp, TDH_MEM_PAGE_REMOVE, gpa, tdr, 0, 0);
		break;
	case 6:
	case 7:
		call(storm, lp, TDH_VP_ENTER, tdvpr, 0, 0, 0);
		break;
	case 8:
		call(storm, lp, TDH_VP_FLUSH, tdvpr, 0, 0, 0);
		break;
	default:
		call(storm, lp, TDH_VP_RD, tdvpr, STATE_DETAILS, 0, 0);
		call(storm, lp, TDH_MNG_RD, tdr, TSC_OFFSET, 0, 0);
		break;
	}
}

/* The end of a TD, over and over, with its birth: keys, TDR, TDCS. */
static void live_and_die(struct storm *storm, unsigned int lp, uint32_t random)
{
	uint64_t tdr = storm->page[0], page = storm->page[1 + (random >> 20) % (NR_PAGES - 1)];

	switch (random % 12) {
	case 0:
	case 1:
		call(storm, lp, TDH_MNG_CREATE, tdr, 3 + (random >> 8) % 2, 0, 0);
		break;
	case 2:
		call(storm, lp, TDH_MNG_KEY_CONFIG, tdr, 0, 0, 0);
		break;
	case 3:
	case 4:
		call(storm, lp, TDH_MNG_ADDCX, page, tdr, 0, 0);
		break;
	case 5:
		call(storm, lp, TDH_MNG_VPFLUSHDONE, tdr, 0, 0, 0);
		break;
	case 6:
		call(storm, lp, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
		break;
	case 7:
		call(storm, lp, TDH_MNG_KEY_FREEID, tdr, 0, 0, 0);
		break;
	case 8:
		call(storm, lp, TDH_PHYMEM_PAGE_RECLAIM, tdr, 0, 0, 0);
		break;
	case 9:
		call(storm, lp, TDH_PHYMEM_PAGE_RDMD, page, 0, 0, 0);
		break;
	default:
		call(storm, lp, TDH_PHYMEM_PAGE_RECLAIM, page, 0, 0, 0);
		break;
	}
}

static void *hammer(void *arg)
{
	struct thread *thread = arg;
	uint64_t state = 88172645463325252ULL + thread->lp;
	unsigned int i;

	for (i = 0; i < CALLS; i++) {
		/* The upper half of a linear congruential generator is random enough. */
		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		thread->storm->call(thread->storm, thread->lp, state >> 32);
	}
	return NULL;
}

static struct storm storm_new(enum td_stage stage)
{
	struct storm storm = { .machine = machine_new_booted() };
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++)
		storm.page[i] = machine_page(storm.machine);
	for (i = 0; i < NR_VCPUS; i++)
		storm.tdvpr[i] = machine_page(storm.machine);
	storm.huge = machine_page_2m(storm.machine);
	storm.td = td_new(storm.machine, 2, stage);
	return storm;
}

static void storm_run(struct storm *storm)
{
	struct thread thread[2];
	unsigned int i;

	atomic_store(&busy, 0);
	atomic_store(&done, 0);
	storm->machine->on_read = yield;
	for (i = 0; i < ARRAY_LEN(thread); i++) {
		thread[i] = (struct thread) { .storm = storm, .lp = i };
		pthread_create(&thread[i].id, NULL, hammer, &thread[i]);
	}
	for (i = 0; i < ARRAY_LEN(thread); i++)
		pthread_join(thread[i].id, NULL);
	storm->machine->on_read = NULL;
	KTAP_EXPECT(done > CALLS / 20);
	/* The calls are what a broken kernel makes, yet nothing that the model lacks. */
	KTAP_EXPECT_EQ(machine_findings(storm->machine).unimplemented, 0);
	machine_forget_findings(storm->machine);
}

static void expect_books(struct storm *storm)
{
	char why[256];

	if (!KTAP_EXPECT(tdxm_verify(storm->machine->m, why, sizeof(why))))
		printf("# %s\n", why);
}

/* Take the TD apart, whatever it has become, and see that nothing of it is left. */
static void storm_end(struct storm *storm)
{
	struct machine *machine = storm->machine;
	uint64_t hpa, tdr = storm->td.tdr;
	unsigned int i, lp;

	expect_books(storm);
	for (i = 0; i <= NR_VCPUS; i++) {
		uint64_t tdvpr = i < NR_VCPUS ? storm->tdvpr[i] : storm->td.vcpu.tdvpr;

		for (lp = 0; tdvpr && lp < 2; lp++)
			machine_call(machine, lp, TDH_VP_FLUSH, tdvpr, 0, 0, 0);
	}
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_VPFLUSHDONE, tdr, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_KEY_FREEID, tdr, 0, 0, 0);
	for (hpa = MACHINE_FIRST_PAGE; hpa < machine->next_page; hpa += TDX_PAGE_SIZE) {
		enum tdx_page_type type = machine_page_type(machine, hpa);

		if (type != PT_NDA && type != PT_TDR)
			td_reclaim(&storm->td, hpa);
	}
	td_reclaim(&storm->td, tdr);
	expect_books(storm);
	machine_forget_findings(machine);
	machine_free(machine);
}

static void build_by_two_lps_keeps_the_books(void)
{
	struct storm storm = storm_new(STAGE_SEPT);

	storm.call = build;
	storm_run(&storm);
	/* PAGE.ADD yields with the TDR locked exclusively. */
	KTAP_EXPECT(busy);
	storm_end(&storm);
}

static void run_by_two_lps_keeps_the_books(void)
{
	struct storm storm = storm_new(STAGE_RUNNABLE);

	storm.call = run;
	storm_run(&storm);
	storm_end(&storm);
}

static void life_and_death_by_two_lps_keep_the_books(void)
{
	struct storm storm = storm_new(STAGE_RUNNABLE);

	storm.call = live_and_die;
	storm_run(&storm);
	expect_books(&storm);
	machine_free(storm.machine);
}

/* Both reclaim all pages of a TD: each page goes once. */
static void *reclaim_all(void *arg)
{
	struct thread *thread = arg;
	struct machine *machine = thread->storm->machine;
	uint64_t hpa;

	for (hpa = MACHINE_FIRST_PAGE; hpa < machine->next_page; hpa += TDX_PAGE_SIZE) {
		if (hpa != thread->storm->td.tdr)
			call(thread->storm, thread->lp, TDH_PHYMEM_PAGE_RECLAIM, hpa, 0, 0, 0);
	}
	return NULL;
}

static void reclaim_by_two_lps_frees_each_page_once(void)
{
	struct storm storm = storm_new(STAGE_RUNNABLE);
	struct thread thread[2];
	unsigned int i, pages;

	td_release_key(&storm.td);
	pages = td_model(&storm.td)->chldcnt;
	atomic_store(&busy, 0);
	atomic_store(&done, 0);
	for (i = 0; i < ARRAY_LEN(thread); i++) {
		thread[i] = (struct thread) { .storm = &storm, .lp = i };
		pthread_create(&thread[i].id, NULL, reclaim_all, &thread[i]);
	}
	for (i = 0; i < ARRAY_LEN(thread); i++)
		pthread_join(thread[i].id, NULL);
	KTAP_EXPECT(done <= pages && done + busy >= pages);
	KTAP_EXPECT_EQ(td_model(&storm.td)->chldcnt, pages - done);
	expect_books(&storm);
	machine_forget_findings(storm.machine);
	machine_free(storm.machine);
}

#define RACES 10000

/* Two calls that start as close to each other as two threads can. */
struct race {
	struct storm *storm;
	_Atomic unsigned int arrived;
	uint64_t status[2];
	void (*run)(struct race *race, unsigned int lp);
	void (*check)(struct race *race); /* by one of the two, in between */
};

struct racer {
	pthread_t id;
	struct race *race;
	unsigned int lp;
};

static void meet(struct race *race, unsigned int *round)
{
	unsigned int spins = 0;

	atomic_fetch_add(&race->arrived, 1);
	*round += 2;
	while (atomic_load(&race->arrived) < *round) {
		if (++spins % 20000 == 0)
			sched_yield();
	}
}

static void *race(void *arg)
{
	struct racer *racer = arg;
	struct race *race = racer->race;
	unsigned int i, round = 0;

	for (i = 0; i < RACES; i++) {
		meet(race, &round);
		race->run(race, racer->lp);
		meet(race, &round);
		if (!racer->lp)
			race->check(race);
	}
	return NULL;
}

static void race_run(struct race *r)
{
	struct racer racer[2];
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(racer); i++) {
		racer[i] = (struct racer) { .race = r, .lp = i };
		pthread_create(&racer[i].id, NULL, race, &racer[i]);
	}
	for (i = 0; i < ARRAY_LEN(racer); i++)
		pthread_join(racer[i].id, NULL);
	expect_books(r->storm);
	machine_forget_findings(r->storm->machine);
	machine_free(r->storm->machine);
}

static void read_vcpu(struct race *race, unsigned int lp)
{
	race->status[lp] =
		call(race->storm, lp, TDH_VP_RD, race->storm->td.vcpu.tdvpr, STATE_DETAILS, 0, 0);
}

static void check_vcpu(struct race *race)
{
	unsigned int winner = race->status[0] ? 1 : 0;

	EXPECT_STATUS(TDX_SUCCESS, race->status[winner]);
	EXPECT_STATUS(TDX_VCPU_ASSOCIATED, race->status[!winner]);
	EXPECT_CALL(TDX_SUCCESS, race->storm->machine, winner, TDH_VP_FLUSH,
		    race->storm->td.vcpu.tdvpr, 0, 0, 0);
}

static void one_of_two_lps_gets_the_vcpu(void)
{
	struct storm storm = storm_new(STAGE_RUNNABLE);
	struct race race = { .storm = &storm, .run = read_vcpu, .check = check_vcpu };

	EXPECT_CALL(TDX_SUCCESS, storm.machine, 0, TDH_VP_FLUSH, storm.td.vcpu.tdvpr, 0, 0, 0);
	race_run(&race);
}

static void map_page(struct race *race, unsigned int lp)
{
	race->status[lp] = call(race->storm, lp, TDH_MEM_PAGE_AUG, 0, race->storm->td.tdr,
				race->storm->page[lp], 0);
}

static void check_page(struct race *race)
{
	unsigned int winner = race->status[0] ? 1 : 0;
	struct storm *storm = race->storm;
	uint64_t page = storm->page[winner];

	EXPECT_STATUS(TDX_SUCCESS, race->status[winner]);
	if (race->status[!winner] != TDX_OPERAND_BUSY + OP_RCX)
		EXPECT_STATUS(TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX, race->status[!winner]);
	KTAP_EXPECT_EQ(EXPECT_CALL(TDX_SUCCESS, storm->machine, 0, TDH_MEM_PAGE_REMOVE, 0,
				   storm->td.tdr, 0, 0)
			       .rcx,
		       page);
	EXPECT_CALL(TDX_SUCCESS, storm->machine, 0, TDH_PHYMEM_PAGE_WBINVD,
		    WITH_KEYID(page, storm->td.hkid), 0, 0, 0);
}

static void one_of_two_lps_gets_the_entry(void)
{
	struct storm storm = storm_new(STAGE_SEPT);
	struct race race = { .storm = &storm, .run = map_page, .check = check_page };

	race_run(&race);
}

static const struct ktap_case cases[] = {
	{ "storm.build_by_two_lps_keeps_the_books", build_by_two_lps_keeps_the_books },
	{ "storm.run_by_two_lps_keeps_the_books", run_by_two_lps_keeps_the_books },
	{ "storm.life_and_death_by_two_lps_keep_the_books",
	  life_and_death_by_two_lps_keep_the_books },
	{ "storm.reclaim_by_two_lps_frees_each_page_once",
	  reclaim_by_two_lps_frees_each_page_once },
	{ "storm.one_of_two_lps_gets_the_vcpu", one_of_two_lps_gets_the_vcpu },
	{ "storm.one_of_two_lps_gets_the_entry", one_of_two_lps_gets_the_entry },
};

KTAP_MAIN(cases)
