// SPDX-License-Identifier: GPL-2.0-only
/* TDH.PHYMEM.*, and what the sanitizer says about pages in the wrong hands. */
#include "tests/module/machine.h"

#define GPA 0x1000ULL
#define INV TDX_OPERAND_INVALID
#define BUSY TDX_OPERAND_BUSY

/* The case meant it: exactly @count findings, and they are forgotten. */
static void expect_sanitizer(struct machine *machine, unsigned int count)
{
	KTAP_EXPECT_EQ(machine_findings(machine).sanitizer, count);
	KTAP_EXPECT_EQ(machine_findings(machine).unimplemented, 0);
	machine_forget_findings(machine);
}

static void expect_page(struct tdxm_regs regs, uint64_t type, uint64_t owner, uint64_t size)
{
	KTAP_EXPECT_EQ(regs.rcx, type);
	KTAP_EXPECT_EQ(regs.rdx, owner);
	KTAP_EXPECT_EQ(regs.r8, size);
	KTAP_EXPECT_EQ(regs.r10, 0);
	KTAP_EXPECT_EQ(regs.r11, 0);
}

static void rdmd_of_every_type_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = td_add_page(&td, GPA), huge = machine_page_2m(machine);
	const struct {
		uint64_t hpa, type, owner, size;
	} row[] = {
		{ 0, PT_RSVD, 0, 0 },
		{ machine_page(machine), PT_NDA, 0, 0 },
		{ td.tdr, PT_TDR, 0, 0 },
		{ td.tdcx[0], PT_TDCX, td.tdr, 0 },
		{ td.vcpu.tdvpr, PT_TDVPR, td.tdr, 0 },
		{ td.vcpu.tdcx[0], PT_TDCX, td.tdr, 0 },
		{ td.sept[0], PT_EPT, td.tdr, 0 },
		{ page, PT_REG, td.tdr, 0 },
		{ huge, PT_REG, td.tdr, 1 },
		{ huge + 0x3000, PT_REG, td.tdr, 1 },
	};
	unsigned int i;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	for (i = 0; i < ARRAY_LEN(row); i++)
		expect_page(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_PAGE_RDMD, row[i].hpa,
					0, 0, 0),
			    row[i].type, row[i].owner, row[i].size);
	machine_free(machine);
}

static void bad_addresses_fail(void)
{
	static const enum tdx_leaf leaves[] = { TDH_PHYMEM_PAGE_RDMD, TDH_PHYMEM_PAGE_RECLAIM };
	struct machine *machine = machine_new_booted();
	uint64_t page = machine_page(machine);
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(leaves); i++) {
		EXPECT_CALL(INV + OP_RCX, machine, 0, leaves[i], page | 1, 0, 0, 0);
		EXPECT_CALL(INV + OP_RCX, machine, 0, leaves[i], WITH_KEYID(page, 1), 0, 0, 0);
		EXPECT_CALL(TDX_OPERAND_ADDR_RANGE_ERROR + OP_RCX, machine, 0, leaves[i], TDX_1G, 0,
			    0, 0);
		KTAP_EXPECT(sharex_try_exclusive(&tdxm_pamt_find(machine->m, page)->lock));
		EXPECT_CALL(BUSY + OP_RCX, machine, 0, leaves[i], page, 0, 0, 0);
		sharex_unlock_exclusive(&tdxm_pamt_find(machine->m, page)->lock);
	}
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, page,
		    0, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_PHYMEM_PAGE_WBINVD, page | 1, 0, 0, 0);
	EXPECT_CALL(TDX_OPERAND_ADDR_RANGE_ERROR + OP_RCX, machine, 0, TDH_PHYMEM_PAGE_WBINVD,
		    TDX_1G, 0, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_PHYMEM_CACHE_WB, 2, 0, 0, 0);
	EXPECT_CALL(TDX_WBCACHE_RESUME_ERROR, machine, 0, TDH_PHYMEM_CACHE_WB, 1, 0, 0, 0);
	EXPECT_CALL(TDX_NO_HKID_READY_TO_WBCACHE, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	KTAP_EXPECT(sharex_try_exclusive(&machine->m->kot_lock));
	EXPECT_CALL(BUSY + OP_KOT, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	sharex_unlock_exclusive(&machine->m->kot_lock);
	KTAP_EXPECT(sharex_try_exclusive(&machine->m->wbt_lock[0]));
	EXPECT_CALL(BUSY + OP_WBCACHE, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	sharex_unlock_exclusive(&machine->m->wbt_lock[0]);
	machine_free(machine);
}

static void reclaim_too_early_fails_and_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = td_add_page(&td, GPA);

	/* The registers tell about the page although the call fails. */
	expect_page(EXPECT_CALL(TDX_LIFECYCLE_STATE_INCORRECT, machine, 0, TDH_PHYMEM_PAGE_RECLAIM,
				page, 0, 0, 0),
		    PT_REG, td.tdr, 0);
	EXPECT_CALL(TDX_LIFECYCLE_STATE_INCORRECT, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, td.tdr, 0,
		    0, 0);
	machine_expect_rule(machine, SAN_RECLAIM_BEFORE_TEARDOWN, 2);
	td_release_key(&td);
	machine_expect_rule(machine, SAN_KEYID_FREED_WITH_PAGES, 1);
	expect_page(EXPECT_CALL(TDX_TD_ASSOCIATED_PAGES_EXIST, machine, 0, TDH_PHYMEM_PAGE_RECLAIM,
				td.tdr, 0, 0, 0),
		    PT_TDR, 0, 0);
	machine_expect_rule(machine, SAN_TDR_WITH_CHILDREN, 1);
	KTAP_EXPECT_EQ(machine_page_type(machine, td.tdr), PT_TDR);
	machine_free(machine);
}

static void reclaim_of_2m_page_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t huge = machine_page_2m(machine);
	int64_t before = td_model(&td)->chldcnt;
	struct sharex *tdr = &tdxm_pamt_find(machine->m, td.tdr)->lock;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	td_release_key(&td);
	machine_expect_rule(machine, SAN_KEYID_FREED_WITH_PAGES, 1);
	expect_page(EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, huge + 0x1000, 0,
				0, 0),
		    PT_REG, td.tdr, 1);
	KTAP_EXPECT(sharex_try_exclusive(tdr));
	EXPECT_CALL(BUSY + OP_TDR, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, huge, 0, 0, 0);
	sharex_unlock_exclusive(tdr);
	expect_page(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, huge, 0, 0, 0),
		    PT_REG, td.tdr, 1);
	KTAP_EXPECT_EQ(td_model(&td)->chldcnt, before);
	machine_free(machine);
}

static void wbinvd_of_owned_page_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = td_add_page(&td, GPA);

	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_PHYMEM_PAGE_WBINVD,
		    WITH_KEYID(page, 2), 0, 0, 0);
	expect_sanitizer(machine, 1);
	machine_free(machine);
}

static void reuse_without_wbinvd_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = td_add_page(&td, GPA);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	/* Another KeyID's lines: those of the TD are still there. */
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_PAGE_WBINVD, WITH_KEYID(page, 3), 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page, td.source);
	expect_sanitizer(machine, 1);
	machine_free(machine);
}

static void page_offered_while_owned_is_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	struct test_td thief = td_new(machine, 3, STAGE_SEPT);
	uint64_t page = td_add_page(&td, GPA), huge = machine_page_2m(machine);
	uint64_t part = machine_page_2m(machine);

	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_PAGE_ADD, GPA,
		    thief.tdr, page, thief.source);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_PAGE_AUG, GPA,
		    thief.tdr, page, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_MNG_CREATE, page, 4, 0,
		    0);
	expect_sanitizer(machine, 3);

	/* Whole in parts, and parts in a whole. */
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_PAGE_AUG, GPA,
		    thief.tdr, huge + 0x1000, 0);
	/* Not in the 2M of the TDR: that would be BUSY. */
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, GPA * 3, td.tdr, part + 0x5000, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1,
		    thief.tdr, part, 0);
	expect_sanitizer(machine, 2);
	machine_free(machine);
}

static void host_structures_in_td_memory_are_found(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	struct test_td other = td_new(machine, 3, STAGE_ADDCX);
	struct tdx_td_params params = td_default_params();
	uint64_t page = td_add_page(&td, GPA);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_ADD, 2 * GPA, td.tdr,
		    machine_page(machine), page);
	expect_sanitizer(machine, 1);
	memcpy(machine_ram(machine, page), &params, sizeof(params));
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_INIT, other.tdr, page, 0, 0);
	expect_sanitizer(machine, 1);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, td.vcpu.tdvpr, 0x203c, page, ~0ULL);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, td.vcpu.tdvpr, 0x2016, page + 64, ~0ULL);
	expect_sanitizer(machine, 2);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "phymem.rdmd_of_every_type_ok", rdmd_of_every_type_ok },
	{ "phymem.bad_addresses_fail", bad_addresses_fail },
	{ "phymem.reclaim_too_early_fails_and_is_found", reclaim_too_early_fails_and_is_found },
	{ "phymem.reclaim_of_2m_page_ok", reclaim_of_2m_page_ok },
	{ "phymem.wbinvd_of_owned_page_is_found", wbinvd_of_owned_page_is_found },
	{ "phymem.reuse_without_wbinvd_is_found", reuse_without_wbinvd_is_found },
	{ "phymem.page_offered_while_owned_is_found", page_offered_while_owned_is_found },
	{ "phymem.host_structures_in_td_memory_are_found", host_structures_in_td_memory_are_found },
};

KTAP_MAIN(cases)
