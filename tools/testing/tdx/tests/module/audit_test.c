// SPDX-License-Identifier: GPL-2.0-only
/* The leak audit, and the books that it is read from. */
#include <pthread.h>

#include "module/audit.h"
#include "module/verify.h"
#include "tests/module/machine.h"

#define GPA 0x1000ULL

static void expect_audit(struct machine *machine, unsigned int tds, unsigned int keyids,
			 uint64_t pages)
{
	struct tdxm_audit audit;

	tdxm_audit(machine->m, &audit);
	KTAP_EXPECT_EQ(audit.tds, tds);
	KTAP_EXPECT_EQ(audit.keyids, keyids);
	KTAP_EXPECT_EQ(audit.pages, pages);
	KTAP_EXPECT_EQ(audit.suspended, 0);
	KTAP_EXPECT_EQ(audit.findings, 0);
}

static void copy_td(void *arg, const struct tdxm_td_left *td)
{
	*(struct tdxm_td_left *)arg = *td;
}

static struct tdxm_td_left first_td(struct machine *machine)
{
	struct tdxm_td_left td = { 0 };

	tdxm_for_each_td(machine->m, copy_td, &td);
	return td;
}

static void every_stage_counts_and_nothing_is_left(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td, other;

	expect_audit(machine, 0, 0, 0);
	td = td_new(machine, 2, STAGE_CREATED);
	expect_audit(machine, 1, 1, 1);
	KTAP_EXPECT_EQ(first_td(machine).tdr, td.tdr);
	KTAP_EXPECT_EQ(first_td(machine).hkid, 2);
	KTAP_EXPECT(!strcmp(first_td(machine).lifecycle, "HKID_ASSIGNED"));
	td_advance(&td, STAGE_SEPT);
	expect_audit(machine, 1, 1, 1 + TDX_TDCS_PAGES + TDX_TDVPS_PAGES + 3);
	KTAP_EXPECT_EQ(first_td(machine).pages, 1 + TDX_TDCS_PAGES + TDX_TDVPS_PAGES + 3);
	KTAP_EXPECT(!first_td(machine).excused);
	other = td_new(machine, 3, STAGE_KEYED);
	expect_audit(machine, 2, 2, 2 + TDX_TDCS_PAGES + TDX_TDVPS_PAGES + 3);
	td_free(&other);

	td_release_key(&td);
	expect_audit(machine, 1, 0, 1 + TDX_TDCS_PAGES + TDX_TDVPS_PAGES + 3);
	KTAP_EXPECT(!strcmp(first_td(machine).lifecycle, "TEARDOWN"));
	td = td_new(machine, 2, STAGE_KEYED);
	td_free(&td);
	expect_audit(machine, 1, 0, 1 + TDX_TDCS_PAGES + TDX_TDVPS_PAGES + 3);
	machine_free(machine);
}

static void flushed_keyid_is_not_back_yet(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_KEYED);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr, 0, 0, 0);
	expect_audit(machine, 1, 1, 1);
	KTAP_EXPECT(!strcmp(first_td(machine).lifecycle, "BLOCKED"));
	machine_free(machine);
}

static void page_of_2m_counts_as_512(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t huge = machine_page_2m(machine), before = first_td(machine).pages;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	expect_audit(machine, 1, 1, before + 512);
	machine_free(machine);
}

/* Have the next call of a leaf fail. */
static void inject(struct machine *machine, unsigned int leaf)
{
	struct tdxm_rule rule = {
		.action = TDXM_FAIL,
		.leaf = leaf,
		.first = 1,
		.count = 1,
		.status = TDX_OPERAND_BUSY + OP_RCX,
	};
	uint32_t id;

	KTAP_EXPECT_EQ(tdxm_arm(machine->m, &rule, &id), 0);
}

static void only_a_td_that_a_test_kept_from_its_end_is_excused(void)
{
	static const struct {
		unsigned int leaf;
		bool excused;
	} row[] = {
		{ TDH_MEM_TRACK, true },  { TDH_VP_FLUSH, true }, { TDH_MNG_VPFLUSHDONE, true },
		{ TDH_MR_EXTEND, false }, { TDH_MNG_RD, false },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(row); i++) {
		struct machine *machine = machine_new_booted();
		struct test_td td = td_new(machine, 2, STAGE_SEPT);

		td_add_page(&td, GPA);
		if (row[i].leaf == TDH_MNG_VPFLUSHDONE)
			EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_FLUSH, td.vcpu.tdvpr, 0, 0, 0);
		inject(machine, row[i].leaf);
		machine_call(machine, 0, row[i].leaf,
			     row[i].leaf == TDH_MR_EXTEND ? GPA :
			     row[i].leaf == TDH_VP_FLUSH  ? td.vcpu.tdvpr :
							    td.tdr,
			     row[i].leaf == TDH_MR_EXTEND ? td.tdr : 0x110000000000000a, 0, 0);
		KTAP_EXPECT_EQ(first_td(machine).excused, row[i].excused);
		machine_free(machine);
	}
}

static void injected_failure_of_cache_wb_excuses_whom_it_keeps(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_KEYED);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr, 0, 0, 0);
	inject(machine, TDH_PHYMEM_CACHE_WB);
	EXPECT_CALL(TDX_OPERAND_BUSY + OP_RCX, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	KTAP_EXPECT(!first_td(machine).excused);
	EXPECT_CALL(TDX_WBCACHE_NOT_COMPLETE, machine, 0, TDH_MNG_KEY_FREEID, td.tdr, 0, 0, 0);
	KTAP_EXPECT(first_td(machine).excused);
	machine_free(machine);
}

static void suspended_calls_and_findings_count(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	struct tdxm_rule rule = {
		.action = TDXM_HOLD_LOCKED,
		.leaf = TDH_MEM_TRACK,
		.first = 1,
		.count = 1,
		.timeout_ns = 60 * 1000000000ULL,
	};
	struct tdxm_regs regs = { .rax = TDH_MEM_TRACK, .rcx = td.tdr };
	struct tdxm_audit audit;
	uint32_t id;

	KTAP_EXPECT_EQ(tdxm_arm(machine->m, &rule, &id), 0);
	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 0, 1, &regs), TDXM_AGAIN);
	tdxm_host_store(machine->m, TDXM_NO_LP, td.tdr, NULL, 0);
	tdxm_audit(machine->m, &audit);
	KTAP_EXPECT_EQ(audit.suspended, 1);
	KTAP_EXPECT_EQ(audit.findings, 1);
	machine_forget_findings(machine);
	machine->unbalanced = true;
	machine_free(machine);
}

struct life {
	struct machine *machine;
	uint64_t tdr;
	_Atomic bool over;
};

static void *tds_come_and_go(void *arg)
{
	struct life *life = arg;
	unsigned int i;

	for (i = 0; i < 300; i++) {
		struct test_td td = {
			.machine = life->machine,
			.hkid = 2,
			.tdr = life->tdr,
		};

		EXPECT_CALL(TDX_SUCCESS, td.machine, 0, TDH_MNG_CREATE, td.tdr, td.hkid, 0, 0);
		td_advance(&td, STAGE_KEYED);
		td_free(&td);
	}
	life->over = true;
	return NULL;
}

static void audit_under_calls_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct life life = { .machine = machine, .tdr = machine_page(machine) };
	pthread_t thread;

	pthread_create(&thread, NULL, tds_come_and_go, &life);
	while (!life.over) {
		struct tdxm_audit audit;

		tdxm_audit(machine->m, &audit);
		KTAP_EXPECT(audit.tds <= 1 && audit.keyids <= 1 && audit.pages <= 1);
		first_td(machine);
	}
	pthread_join(thread, NULL);
	expect_audit(machine, 0, 0, 0);
	machine_free(machine);
}

/* What follows breaks the model, to see that tdxm_verify() notices. */

static void expect_wrong(struct machine *machine, const char *part)
{
	char why[256] = "";

	KTAP_EXPECT(!tdxm_verify(machine->m, why, sizeof(why)));
	if (!KTAP_EXPECT(strstr(why, part)))
		printf("#   want %s\n#   got  %s\n", part, why);
}

static void wrong_counts_are_noticed(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_RUNNABLE);
	struct tdxm_td *model = td_model(&td);

	model->chldcnt++;
	expect_wrong(machine, "counts");
	model->chldcnt--;
	model->private_pages++;
	expect_wrong(machine, "private");
	model->private_pages--;
	model->num_tdcx++;
	expect_wrong(machine, "TDCS and VCPUs");
	model->num_tdcx--;
	model->num_vcpus++;
	expect_wrong(machine, "VCPUs");
	model->num_vcpus--;
	model->num_assoc_vcpus--;
	expect_wrong(machine, "associated");
	model->num_assoc_vcpus++;
	model->refcount[1]++;
	expect_wrong(machine, "inside");
	model->refcount[1]--;
	machine->m->owned_pages++;
	expect_wrong(machine, "are owned");
	machine->m->owned_pages--;
	machine_free(machine);
}

static void wrong_s_ept_is_noticed(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT), other = td_new(machine, 3, STAGE_SEPT);
	uint64_t page = td_add_page(&td, GPA), second = td_add_page(&td, 2 * GPA);
	uint64_t foreign = td_add_page(&other, GPA);
	struct tdxm_sept_page *table = (void *)tdxm_pamt_find(machine->m, td.sept[2])->object;
	uint64_t right = table->entry[1];

	table->entry[1] = tdxm_septe_make(SEPT_FREE, 0);
	expect_wrong(machine, "S-EPT has");
	table->entry[1] = tdxm_septe_make(SEPT_MAPPED, foreign);
	expect_wrong(machine, "none of the TD's");
	/* Two mappings of one page, none of the other: the numbers are right. */
	table->entry[1] = tdxm_septe_make(SEPT_MAPPED, second);
	expect_wrong(machine, "S-EPT has");
	table->entry[3] = tdxm_septe_make(SEPT_MAPPED, page);
	expect_wrong(machine, "linked twice");
	table->entry[3] = tdxm_septe_make(SEPT_FREE, 0);
	table->entry[1] = tdxm_septe_make(SEPT_NL_MAPPED, td.sept[2]);
	expect_wrong(machine, "linked twice");
	table->entry[1] = right | SEPTE_TDEL;
	expect_wrong(machine, "locked");
	table->entry[1] = right;
	machine_free(machine);
}

static void wrong_pages_are_noticed(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	struct tdxm_pamt_entry *page = tdxm_pamt_find(machine->m, td_add_page(&td, GPA));
	struct tdxm_pamt_entry *tdr = tdxm_pamt_find(machine->m, td.tdr);

	page->owner = td.tdcx[0];
	expect_wrong(machine, "no TDR");
	page->owner = td.tdr;
	page->object = tdr->object;
	expect_wrong(machine, "wrong object");
	page->object = NULL;
	page->type = PT_TDVPR;
	expect_wrong(machine, "wrong object");
	page->type = PT_NDA;
	page->object = tdr->object;
	expect_wrong(machine, "yet has an object");
	page->type = PT_REG;
	page->object = NULL;
	tdxm_pamt_find_level(machine->m, td.tdr, 1)->type = PT_REG;
	expect_wrong(machine, "");
	tdxm_pamt_find_level(machine->m, td.tdr, 1)->type = PT_NDA;
	td_model(&td)->tdr_hpa++;
	expect_wrong(machine, "elsewhere");
	td_model(&td)->tdr_hpa--;
	machine_free(machine);
}

static void locks_that_are_left_are_noticed(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	struct sharex *lock[] = {
		&machine->m->sys_lock,
		&machine->m->kot_lock,
		&machine->m->wbt_lock[0],
		&machine->m->ket_lock[0],
		&machine->m->tdmr[0].lock,
		&td_model(&td)->op_state_lock,
		&td_model(&td)->sept_lock,
		&td_model(&td)->epoch_lock,
		&tdxm_pamt_find(machine->m, td.tdr)->lock,
		&tdxm_pamt_find_level(machine->m, td.tdr, 1)->lock,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(lock); i++) {
		KTAP_EXPECT(sharex_try_shared(lock[i]));
		expect_wrong(machine, "lock");
		sharex_unlock_shared(lock[i]);
	}
	machine_free(machine);
}

static void wrong_keyids_are_noticed(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);

	machine->m->kot[2].state = KOT_FLUSHED;
	expect_wrong(machine, "KeyID 2 is in state");
	machine->m->kot[2].state = KOT_ASSIGNED;
	machine->m->kot[5].state = KOT_FLUSHED;
	expect_wrong(machine, "KeyID 5");
	machine->m->kot[5].state = KOT_FREE;
	KTAP_EXPECT(td.tdr);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "audit.every_stage_counts_and_nothing_is_left", every_stage_counts_and_nothing_is_left },
	{ "audit.flushed_keyid_is_not_back_yet", flushed_keyid_is_not_back_yet },
	{ "audit.page_of_2m_counts_as_512", page_of_2m_counts_as_512 },
	{ "audit.only_a_td_that_a_test_kept_from_its_end_is_excused",
	  only_a_td_that_a_test_kept_from_its_end_is_excused },
	{ "audit.injected_failure_of_cache_wb_excuses_whom_it_keeps",
	  injected_failure_of_cache_wb_excuses_whom_it_keeps },
	{ "audit.suspended_calls_and_findings_count", suspended_calls_and_findings_count },
	{ "audit.audit_under_calls_ok", audit_under_calls_ok },
	{ "audit.wrong_counts_are_noticed", wrong_counts_are_noticed },
	{ "audit.wrong_s_ept_is_noticed", wrong_s_ept_is_noticed },
	{ "audit.wrong_pages_are_noticed", wrong_pages_are_noticed },
	{ "audit.locks_that_are_left_are_noticed", locks_that_are_left_are_noticed },
	{ "audit.wrong_keyids_are_noticed", wrong_keyids_are_noticed },
};

KTAP_MAIN(cases)
