// SPDX-License-Identifier: GPL-2.0-only
/* One kernel bug, or more, for each rule of the sanitizer; and what is none. */
#include <ctype.h>
#include <pthread.h>

#include "tests/module/machine.h"

#define GPA 0x1000ULL
#define BUSY TDX_OPERAND_BUSY

static struct test_td td_in(struct machine *machine, uint64_t hkid)
{
	return td_new(machine, hkid, STAGE_SEPT);
}

static void wbinvd(struct test_td *td, uint64_t hpa)
{
	EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_PHYMEM_PAGE_WBINVD, WITH_KEYID(hpa, td->hkid),
		    0, 0, 0);
}

static void extend(struct test_td *td, uint64_t gpa, unsigned int chunks)
{
	unsigned int i;

	for (i = 0; i < chunks; i++)
		EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MR_EXTEND, gpa + i * 256, td->tdr, 0,
			    0);
}

/* Have the next call of a leaf fail. */
static void inject(struct machine *machine, unsigned int leaf, uint64_t status)
{
	struct tdxm_rule rule = {
		.action = TDXM_FAIL,
		.leaf = leaf,
		.first = 1,
		.count = 1,
		.status = status,
	};
	uint32_t id;

	KTAP_EXPECT_EQ(tdxm_arm(machine->m, &rule, &id), 0);
}

static void host_store(struct machine *machine, uint64_t hpa)
{
	tdxm_host_store(machine->m, 0, hpa, NULL, 0);
}

static void copy_finding(void *arg, const struct tdxm_finding *finding)
{
	*(struct tdxm_finding *)arg = *finding;
}

/* The last one; its text and lists are valid until findings are forgotten. */
static struct tdxm_finding last_finding(struct machine *machine)
{
	struct tdxm_finding finding = { .rule = "", .text = "" };

	tdxm_for_each_finding(machine->m, copy_finding, &finding);
	return finding;
}

static void every_rule_has_a_name_and_an_invariant(void)
{
	unsigned int i, j;

	for (i = 0; i < SAN_RULE_COUNT; i++) {
		const struct tdxm_san_row *row = &tdxm_san_table[i];
		const char *c;

		if (!KTAP_EXPECT(row->id && row->invariant))
			continue;
		for (c = row->id; *c; c++)
			KTAP_EXPECT(islower((unsigned char)*c) || *c == '-');
		for (j = 0; j < i; j++)
			KTAP_EXPECT(strcmp(row->id, tdxm_san_table[j].id));
	}
}

static void host_store_to_a_td_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA), huge = machine_page_2m(machine);
	const struct {
		uint64_t hpa;
		const char *type;
	} row[] = {
		{ page + 8, "a REG page" },	   { huge + 0x3000, "a REG page" },
		{ td.tdr, "a TDR page" },	   { td.tdcx[0], "a TDCX page" },
		{ td.vcpu.tdvpr, "a TDVPR page" }, { td.sept[0], "EPT page" },
	};
	unsigned int i;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	for (i = 0; i < ARRAY_LEN(row); i++) {
		char owner[32];

		host_store(machine, row[i].hpa);
		KTAP_EXPECT(strstr(last_finding(machine).text, row[i].type));
		snprintf(owner, sizeof(owner), "TD 0x%llx", (unsigned long long)td.tdr);
		KTAP_EXPECT(strstr(last_finding(machine).text, owner));
		KTAP_EXPECT_EQ(last_finding(machine).hpa, row[i].hpa & ~(TDX_PAGE_SIZE - 1));
	}
	machine_expect_rule(machine, SAN_HOST_STORE, ARRAY_LEN(row));
	machine_free(machine);
}

static void host_store_to_a_pamt_is_found(void)
{
	struct machine *machine = machine_new_booted();

	host_store(machine, MACHINE_PAMT + 0x3000);
	KTAP_EXPECT(strstr(last_finding(machine).text, "PAMT"));
	machine_expect_rule(machine, SAN_HOST_STORE, 1);
	machine_free(machine);
}

static void host_store_carries_its_backtrace(void)
{
	static const uint64_t pc[] = { 0xffffffff81000010, 0xffffffff81000020 };
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	struct tdxm_finding finding;

	machine->nr_backtrace = 1; /* of nobody who was in a SEAMCALL */
	tdxm_host_store(machine->m, TDXM_NO_LP, td.tdr, pc, ARRAY_LEN(pc));
	tdxm_host_store(machine->m, 1, td.tdr, NULL, 0);
	finding = last_finding(machine);
	KTAP_EXPECT_EQ(finding.count, 2);
	KTAP_EXPECT_EQ(finding.lp, TDXM_NO_LP);
	KTAP_EXPECT(finding.nr_backtrace == 2 && finding.backtrace[0] == pc[0] &&
		    finding.backtrace[1] == pc[1]);
	machine_expect_rule(machine, SAN_HOST_STORE, 1);
	machine_free(machine);
}

static void store_before_writeback_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	KTAP_EXPECT(machine->watched[page / TDX_PAGE_SIZE]);
	host_store(machine, page);
	machine_expect_rule(machine, SAN_STORE_BEFORE_WRITEBACK, 1);
	wbinvd(&td, page);
	KTAP_EXPECT(!machine->watched[page / TDX_PAGE_SIZE]);
	machine_free(machine);
}

static void offered_while_owned_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2), thief = td_in(machine, 3);
	uint64_t page = td_add_page(&td, GPA), huge = machine_page_2m(machine);

	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_PAGE_ADD, GPA,
		    thief.tdr, page, thief.source);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_SEPT_ADD, TDX_2M | 1,
		    thief.tdr, td.vcpu.tdvpr, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_VP_CREATE, td.tdr,
		    thief.tdr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_PAGE_AUG, GPA,
		    thief.tdr, huge + 0x1000, 0);
	machine_expect_rule(machine, SAN_OFFERED_WHILE_OWNED, 4);
	machine_free(machine);
}

static void sept_page_freed_while_linked_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);

	EXPECT_CALL(TDX_LIFECYCLE_STATE_INCORRECT, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, td.sept[2],
		    0, 0, 0);
	machine_expect_rule(machine, SAN_SEPT_PAGE_FREED_WHILE_LINKED, 1);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_PAGE_AUG, GPA, td.tdr,
		    td.sept[2], 0);
	machine_expect_rule(machine, SAN_SEPT_PAGE_FREED_WHILE_LINKED, 1);
	machine_free(machine);
}

static void no_writeback_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA), huge = machine_page_2m(machine), hpa;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	/* Lines of another KeyID. */
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_PAGE_WBINVD, WITH_KEYID(page, 3), 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page, td.source);
	machine_expect_rule(machine, SAN_NO_WRITEBACK, 1);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, TDX_2M | 1, td.tdr, 0, 0);
	for (hpa = huge; hpa < huge + TDX_2M; hpa += TDX_PAGE_SIZE) {
		if (hpa != huge + 0x7000)
			wbinvd(&td, hpa);
	}
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	KTAP_EXPECT_EQ(last_finding(machine).hpa, huge + 0x7000);
	machine_expect_rule(machine, SAN_NO_WRITEBACK, 1);

	/* The TDR itself, which the module wrote with the global KeyID. */
	td_release_key(&td);
	machine_expect_rule(machine, SAN_KEYID_FREED_WITH_PAGES, 1);
	machine_free(machine);
}

static void tdr_without_writeback_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_CREATED);

	td_release_key(&td);
	td_reclaim(&td, td.tdr);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_CREATE, td.tdr, 2, 0, 0);
	machine_expect_rule(machine, SAN_NO_WRITEBACK, 1);
	machine_free(machine);
}

static void source_owned_by_td_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2), other = td_new(machine, 3, STAGE_ADDCX);
	struct tdx_td_params params = td_default_params();
	uint64_t page = td_add_page(&td, GPA);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_ADD, 2 * GPA, td.tdr,
		    machine_page(machine), page);
	memcpy(machine_ram(machine, page), &params, sizeof(params));
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_INIT, other.tdr, page, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, td.vcpu.tdvpr, 0x203c, page, ~0ULL);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, td.vcpu.tdvpr, 0x2016, page + 64, ~0ULL);
	machine_expect_rule(machine, SAN_SOURCE_OWNED_BY_TD, 4);
	machine_free(machine);
}

static void wbinvd_of_owned_page_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA);

	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_PHYMEM_PAGE_WBINVD,
		    WITH_KEYID(page, 2), 0, 0, 0);
	KTAP_EXPECT_EQ(last_finding(machine).hpa, page);
	machine_expect_rule(machine, SAN_WBINVD_OF_OWNED_PAGE, 1);
	machine_free(machine);
}

static void keyid_reused_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);

	EXPECT_CALL(TDX_HKID_NOT_FREE, machine, 0, TDH_MNG_CREATE, machine_page(machine), td.hkid,
		    0, 0);
	machine_expect_rule(machine, SAN_KEYID_REUSED, 1);
	machine_free(machine);
}

static void keyid_freed_early_is_found(void)
{
	struct machine *machine = machine_new(4, 2);
	struct test_td td;

	machine_boot(machine);
	td = td_new(machine, 2, STAGE_KEYED);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	EXPECT_CALL(TDX_WBCACHE_NOT_COMPLETE, machine, 0, TDH_MNG_KEY_FREEID, td.tdr, 0, 0, 0);
	machine_expect_rule(machine, SAN_KEYID_FREED_EARLY, 1);
	machine_free(machine);
}

static void keyid_freed_with_pages_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA);

	td_release_key(&td);
	KTAP_EXPECT_EQ(last_finding(machine).hpa, page);
	machine_expect_rule(machine, SAN_KEYID_FREED_WITH_PAGES, 1);
	machine_free(machine);
}

static void reclaim_before_teardown_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);

	EXPECT_CALL(TDX_LIFECYCLE_STATE_INCORRECT, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, td.tdr, 0,
		    0, 0);
	EXPECT_CALL(TDX_LIFECYCLE_STATE_INCORRECT, machine, 0, TDH_PHYMEM_PAGE_RECLAIM,
		    td.vcpu.tdvpr, 0, 0, 0);
	machine_expect_rule(machine, SAN_RECLAIM_BEFORE_TEARDOWN, 2);
	machine_free(machine);
}

static void tdr_with_children_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);

	td_release_key(&td);
	EXPECT_CALL(TDX_TD_ASSOCIATED_PAGES_EXIST, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, td.tdr, 0,
		    0, 0);
	machine_expect_rule(machine, SAN_TDR_WITH_CHILDREN, 1);
	machine_free(machine);
}

static void call_after_teardown_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);

	td_release_key(&td);
	EXPECT_CALL(TDX_TD_KEYS_NOT_CONFIGURED, machine, 0, TDH_VP_FLUSH, td.vcpu.tdvpr, 0, 0, 0);
	EXPECT_CALL(TDX_TD_KEYS_NOT_CONFIGURED, machine, 0, TDH_MEM_TRACK, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_LIFECYCLE_STATE_INCORRECT, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr, 0, 0,
		    0);
	machine_expect_rule(machine, SAN_CALL_AFTER_TEARDOWN, 3);
	machine_free(machine);
}

static void untracked_remove_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);

	td_add_page(&td, GPA);
	td_advance(&td, STAGE_RUNNABLE);
	EXPECT_CALL(TDX_GPA_RANGE_NOT_BLOCKED + OP_RCX, machine, 0, TDH_MEM_PAGE_REMOVE, GPA,
		    td.tdr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0);
	EXPECT_CALL(TDX_TLB_TRACKING_NOT_DONE + OP_RCX, machine, 0, TDH_MEM_PAGE_REMOVE, GPA,
		    td.tdr, 0, 0);
	machine_expect_rule(machine, SAN_UNTRACKED_REMOVE, 2);
	machine_free(machine);
}

static void vcpu_not_flushed_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_RUNNABLE);

	EXPECT_CALL(TDX_VCPU_ASSOCIATED, machine, 1, TDH_VP_ENTER, td.vcpu.tdvpr, 0, 0, 0);
	KTAP_EXPECT_EQ(last_finding(machine).lp, 1);
	machine_expect_rule(machine, SAN_VCPU_NOT_FLUSHED, 1);
	machine_free(machine);
}

static void measured_twice_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA);

	extend(&td, GPA, 16);
	extend(&td, GPA + 256, 1);
	KTAP_EXPECT_EQ(last_finding(machine).hpa, page);
	machine_expect_rule(machine, SAN_MEASURED_TWICE, 1);
	/* Another life of the page is measured anew. */
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	wbinvd(&td, page);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page, td.source);
	extend(&td, GPA, 16);
	td_advance(&td, STAGE_RUNNABLE);
	machine_free(machine);
}

static void partly_measured_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page;

	td_add_page(&td, GPA);
	td_add_page(&td, 2 * GPA);
	extend(&td, 2 * GPA, 16);
	td_add_page(&td, 3 * GPA);
	extend(&td, 3 * GPA, 3);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, 3 * GPA, td.tdr, 0, 0);
	page = td_add_page(&td, 4 * GPA);
	extend(&td, 4 * GPA, 15);
	td_add_page(&td, 5 * GPA);
	extend(&td, 5 * GPA, 16);
	td_advance(&td, STAGE_RUNNABLE);
	KTAP_EXPECT_EQ(last_finding(machine).hpa, page);
	KTAP_EXPECT(strstr(last_finding(machine).text, " 1 pages"));
	machine_expect_rule(machine, SAN_PARTLY_MEASURED, 1);
	machine_free(machine);
}

static void lp_not_initialised_is_found(void)
{
	struct machine *machine = machine_new_booted();

	machine->m->lp_init[1] = false;
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_PHYMEM_PAGE_RDMD, machine_page(machine), 0, 0, 0);
	machine_expect_rule(machine, SAN_LP_NOT_INITIALISED, 1);
	machine_free(machine);
}

static void pamts_are_watched_while_they_are_the_module_s(void)
{
	struct machine *machine = machine_new(1, 1);
	struct tdx_tdmr_info tdmr = machine_tdmr();
	uint8_t *pamt = &machine->watched[MACHINE_PAMT / TDX_PAGE_SIZE];

	machine_init_lps(machine);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_CONFIG, machine_put_tdmrs(machine, &tdmr, 1),
		    1, MACHINE_GLOBAL_HKID, 0);
	/* Linux flushes its caches now. */
	KTAP_EXPECT(!pamt[0]);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	KTAP_EXPECT(pamt[0] && pamt[1] && pamt[2] && pamt[3] && pamt[0x402] && !pamt[0x403]);
	/* Linux takes the PAMTs back when this fails. */
	EXPECT_CALL(TDX_OPERAND_INVALID + OP_RCX, machine, 0, TDH_SYS_TDMR_INIT, TDX_1G, 0, 0, 0);
	KTAP_EXPECT(!pamt[0] && !pamt[0x402]);
	machine_free(machine);
}

/* What KVM does after that is for the test to answer for. */
static void pages_of_an_injected_removal_failure_are_excused(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA), other = td_add_page(&td, 2 * GPA);

	inject(machine, TDH_MEM_PAGE_REMOVE, TDX_OPERAND_BUSY + OP_RCX);
	EXPECT_CALL(BUSY + OP_RCX, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	host_store(machine, page);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_PAGE_AUG, 3 * GPA,
		    td.tdr, page, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, 2 * GPA, td.tdr, 0, 0);
	wbinvd(&td, other);
	td_release_key(&td);
	EXPECT_CALL(TDX_TD_ASSOCIATED_PAGES_EXIST, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, td.tdr, 0,
		    0, 0);
	KTAP_EXPECT_EQ(machine_findings(machine).sanitizer, 0);
	machine_free(machine);
}

static void injected_failure_that_was_made_up_for_excuses_nothing(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA);

	inject(machine, TDH_MEM_PAGE_REMOVE, TDX_OPERAND_BUSY + OP_RCX);
	EXPECT_CALL(BUSY + OP_RCX, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	wbinvd(&td, page);
	page = td_add_page(&td, GPA);
	host_store(machine, page);
	machine_expect_rule(machine, SAN_HOST_STORE, 1);
	/* Two failures, and only one made up for. */
	inject(machine, TDH_MEM_RANGE_BLOCK, TDX_OPERAND_BUSY + OP_RCX);
	EXPECT_CALL(BUSY + OP_RCX, machine, 0, TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0);
	inject(machine, TDH_MEM_PAGE_REMOVE, TDX_OPERAND_BUSY + OP_RCX);
	EXPECT_CALL(BUSY + OP_RCX, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0);
	host_store(machine, page);
	KTAP_EXPECT_EQ(machine_findings(machine).sanitizer, 0);
	machine_free(machine);
}

static void injected_failure_of_the_build_excuses_nothing(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA);

	inject(machine, TDH_MEM_PAGE_ADD, TDX_OPERAND_BUSY + OP_RDX);
	EXPECT_CALL(BUSY + OP_RDX, machine, 0, TDH_MEM_PAGE_ADD, 2 * GPA, td.tdr,
		    machine_page(machine), td.source);
	host_store(machine, page);
	machine_expect_rule(machine, SAN_HOST_STORE, 1);
	machine_free(machine);
}

static void injected_failure_of_writeback_is_not_the_kernel_s(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	inject(machine, TDH_PHYMEM_PAGE_WBINVD, TDX_OPERAND_BUSY + OP_RCX);
	EXPECT_CALL(BUSY + OP_RCX, machine, 0, TDH_PHYMEM_PAGE_WBINVD, WITH_KEYID(page, 2), 0, 0,
		    0);
	KTAP_EXPECT(!machine->watched[page / TDX_PAGE_SIZE]);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page, td.source);
	machine_free(machine);
}

static void busy_writeback_excuses_the_keyid_until_it_succeeds(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_KEYED), later;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr, 0, 0, 0);
	KTAP_EXPECT(sharex_try_exclusive(&machine->m->wbt_lock[0]));
	EXPECT_CALL(BUSY + OP_WBCACHE, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	sharex_unlock_exclusive(&machine->m->wbt_lock[0]);
	EXPECT_CALL(TDX_WBCACHE_NOT_COMPLETE, machine, 0, TDH_MNG_KEY_FREEID, td.tdr, 0, 0, 0);
	KTAP_EXPECT_EQ(machine_findings(machine).sanitizer, 0);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	later = td_new(machine, 3, STAGE_KEYED);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_VPFLUSHDONE, later.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_WBCACHE_NOT_COMPLETE, machine, 0, TDH_MNG_KEY_FREEID, later.tdr, 0, 0, 0);
	machine_expect_rule(machine, SAN_KEYID_FREED_EARLY, 1);
	machine_free(machine);
}

/* KVM gives up after a second BUSY, keeps the page, and goes on. */
static void page_that_stays_after_busy_is_only_a_leak(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA);
	struct sharex *tdr = &tdxm_pamt_find(machine->m, td.tdr)->lock;

	KTAP_EXPECT(sharex_try_exclusive(tdr));
	EXPECT_CALL(BUSY + OP_RDX, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	EXPECT_CALL(BUSY + OP_RDX, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	sharex_unlock_exclusive(tdr);
	td_release_key(&td);
	EXPECT_CALL(TDX_TD_ASSOCIATED_PAGES_EXIST, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, td.tdr, 0,
		    0, 0);
	KTAP_EXPECT_EQ(machine_findings(machine).sanitizer, 0);
	/* It is a TD's for good: to store to it is a bug now as ever. */
	host_store(machine, page);
	machine_expect_rule(machine, SAN_HOST_STORE, 1);
	machine_free(machine);
}

static void busy_extend_excuses_what_is_not_measured(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	struct sharex *tdr = &tdxm_pamt_find(machine->m, td.tdr)->lock;

	td_add_page(&td, GPA);
	extend(&td, GPA, 3);
	KTAP_EXPECT(sharex_try_shared(tdr));
	EXPECT_CALL(BUSY + OP_RDX, machine, 0, TDH_MR_EXTEND, GPA + 3 * 256, td.tdr, 0, 0);
	sharex_unlock_shared(tdr);
	td_advance(&td, STAGE_RUNNABLE);
	machine_free(machine);
}

static void finding_tells_its_circumstances(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_in(machine, 2);
	uint64_t page = td_add_page(&td, GPA);
	struct tdxm_finding finding;
	unsigned int i;

	machine->backtrace[0] = 0xffffffff81234567;
	machine->nr_backtrace = 1;
	for (i = 0; i < 3; i++)
		EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 1,
			    TDH_PHYMEM_PAGE_WBINVD, page, 0, 0, 0);
	finding = last_finding(machine);
	KTAP_EXPECT_EQ(finding.count, 3);
	KTAP_EXPECT(!strcmp(finding.severity, "refused"));
	KTAP_EXPECT(strstr(finding.invariant, "WBINVD"));
	KTAP_EXPECT_EQ(finding.hpa, page);
	KTAP_EXPECT_EQ(finding.lp, 1);
	KTAP_EXPECT(finding.time_ns && finding.time_ns < 60 * 1000000000ULL);
	KTAP_EXPECT_EQ(finding.nr_backtrace, 1);
	KTAP_EXPECT_EQ(finding.backtrace[0], 0xffffffff81234567);
	KTAP_EXPECT_EQ(finding.nr_history, 2);
	KTAP_EXPECT_EQ(finding.history[0].leaf, TDH_MEM_PAGE_ADD);
	KTAP_EXPECT_EQ(finding.history[0].tdr, td.tdr);
	KTAP_EXPECT_EQ(finding.history[1].leaf, TDH_PHYMEM_PAGE_WBINVD);
	KTAP_EXPECT_EQ(finding.history[1].status, TDX_PAGE_METADATA_INCORRECT + OP_RCX);
	machine_expect_rule(machine, SAN_WBINVD_OF_OWNED_PAGE, 1);
	machine_free(machine);
}

static void noisy_rule_drowns_no_other_and_says_so(void)
{
	struct machine *machine = machine_new_booted();
	uint64_t huge = machine_page_2m(machine), hpa;
	struct test_td td = td_in(machine, 2);
	struct tdxm_finding finding;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	for (hpa = huge; hpa < huge + TDX_2M; hpa += TDX_PAGE_SIZE)
		host_store(machine, hpa);
	/* A hundred in full, and one for the other 412. */
	finding = last_finding(machine);
	KTAP_EXPECT(strstr(finding.text, "more of this"));
	KTAP_EXPECT_EQ(finding.count, 412);
	KTAP_EXPECT_EQ(machine_findings(machine).sanitizer, 101);
	EXPECT_CALL(TDX_HKID_NOT_FREE, machine, 0, TDH_MNG_CREATE, machine_page(machine), 2, 0, 0);
	KTAP_EXPECT(!strcmp(last_finding(machine).rule, "keyid-reused"));
	machine_forget_findings(machine);
	machine_free(machine);
}

struct worker {
	struct test_td *td;
	unsigned int lp;
};

static void *offend_everywhere(void *arg)
{
	struct worker *worker = arg;
	struct test_td *td = worker->td;
	unsigned int i;

	for (i = 0; i < 500; i++)
		EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, td->machine, worker->lp,
			    TDH_PHYMEM_PAGE_WBINVD, td->tdcx[i % ARRAY_LEN(td->tdcx)], 0, 0, 0);
	return NULL;
}

static void findings_from_many_lps_are_all_counted(void)
{
	struct machine *machine = machine_new(4, 1);
	struct worker worker[4];
	pthread_t thread[ARRAY_LEN(worker)];
	struct test_td td;
	unsigned int i;

	machine_boot(machine);
	td = td_in(machine, 2);
	for (i = 0; i < ARRAY_LEN(thread); i++) {
		worker[i] = (struct worker) { &td, i };
		pthread_create(&thread[i], NULL, offend_everywhere, &worker[i]);
	}
	for (i = 0; i < ARRAY_LEN(thread); i++)
		pthread_join(thread[i], NULL);
	KTAP_EXPECT_EQ(last_finding(machine).count, 4 * (500 / ARRAY_LEN(td.tdcx)));
	machine_expect_rule(machine, SAN_WBINVD_OF_OWNED_PAGE, ARRAY_LEN(td.tdcx));
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "sanitize.every_rule_has_a_name_and_an_invariant",
	  every_rule_has_a_name_and_an_invariant },
	{ "sanitize.host_store_to_a_td_is_found", host_store_to_a_td_is_found },
	{ "sanitize.host_store_to_a_pamt_is_found", host_store_to_a_pamt_is_found },
	{ "sanitize.host_store_carries_its_backtrace", host_store_carries_its_backtrace },
	{ "sanitize.store_before_writeback_is_found", store_before_writeback_is_found },
	{ "sanitize.offered_while_owned_is_found", offered_while_owned_is_found },
	{ "sanitize.sept_page_freed_while_linked_is_found", sept_page_freed_while_linked_is_found },
	{ "sanitize.no_writeback_is_found", no_writeback_is_found },
	{ "sanitize.tdr_without_writeback_is_found", tdr_without_writeback_is_found },
	{ "sanitize.source_owned_by_td_is_found", source_owned_by_td_is_found },
	{ "sanitize.wbinvd_of_owned_page_is_found", wbinvd_of_owned_page_is_found },
	{ "sanitize.keyid_reused_is_found", keyid_reused_is_found },
	{ "sanitize.keyid_freed_early_is_found", keyid_freed_early_is_found },
	{ "sanitize.keyid_freed_with_pages_is_found", keyid_freed_with_pages_is_found },
	{ "sanitize.reclaim_before_teardown_is_found", reclaim_before_teardown_is_found },
	{ "sanitize.tdr_with_children_is_found", tdr_with_children_is_found },
	{ "sanitize.call_after_teardown_is_found", call_after_teardown_is_found },
	{ "sanitize.untracked_remove_is_found", untracked_remove_is_found },
	{ "sanitize.vcpu_not_flushed_is_found", vcpu_not_flushed_is_found },
	{ "sanitize.measured_twice_is_found", measured_twice_is_found },
	{ "sanitize.partly_measured_is_found", partly_measured_is_found },
	{ "sanitize.lp_not_initialised_is_found", lp_not_initialised_is_found },
	{ "sanitize.pamts_are_watched_while_they_are_the_module_s",
	  pamts_are_watched_while_they_are_the_module_s },
	{ "sanitize.pages_of_an_injected_removal_failure_are_excused",
	  pages_of_an_injected_removal_failure_are_excused },
	{ "sanitize.injected_failure_that_was_made_up_for_excuses_nothing",
	  injected_failure_that_was_made_up_for_excuses_nothing },
	{ "sanitize.injected_failure_of_the_build_excuses_nothing",
	  injected_failure_of_the_build_excuses_nothing },
	{ "sanitize.injected_failure_of_writeback_is_not_the_kernel_s",
	  injected_failure_of_writeback_is_not_the_kernel_s },
	{ "sanitize.busy_writeback_excuses_the_keyid_until_it_succeeds",
	  busy_writeback_excuses_the_keyid_until_it_succeeds },
	{ "sanitize.page_that_stays_after_busy_is_only_a_leak",
	  page_that_stays_after_busy_is_only_a_leak },
	{ "sanitize.busy_extend_excuses_what_is_not_measured",
	  busy_extend_excuses_what_is_not_measured },
	{ "sanitize.finding_tells_its_circumstances", finding_tells_its_circumstances },
	{ "sanitize.noisy_rule_drowns_no_other_and_says_so",
	  noisy_rule_drowns_no_other_and_says_so },
	{ "sanitize.findings_from_many_lps_are_all_counted",
	  findings_from_many_lps_are_all_counted },
};

KTAP_MAIN(cases)
