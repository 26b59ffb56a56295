// SPDX-License-Identifier: GPL-2.0-only
/* TDH.MEM.SEPT.ADD, PAGE.ADD and PAGE.AUG: success, and every refusal. */
#include "tests/module/machine.h"

#define GPA 0x1000ULL
#define SHARED BIT_U64(47)
#define BUSY TDX_OPERAND_BUSY
#define INV TDX_OPERAND_INVALID

/* Chain PRIV4K for the TDR in RDX, and TDST: common to the MEM leaves. */
static void tdr_checks(struct machine *machine, uint64_t leaf, uint64_t gpa)
{
	struct test_td td = td_new(machine, 3, STAGE_ADDCX);
	struct sharex *lock = &tdxm_pamt_find(machine->m, td.tdr)->lock;
	uint64_t page = machine_page(machine);

	EXPECT_CALL(INV + OP_RDX, machine, 0, leaf, gpa, td.tdr | 0x800, page, td.source);
	EXPECT_CALL(INV + OP_RDX, machine, 0, leaf, gpa, td.tdr | BIT_U64(46), page, td.source);
	EXPECT_CALL(INV + OP_RDX, machine, 0, leaf, gpa, BIT_U64(52), page, td.source);
	EXPECT_CALL(TDX_OPERAND_ADDR_RANGE_ERROR + OP_RDX, machine, 0, leaf, gpa, TDX_1G, page,
		    td.source);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RDX, machine, 0, leaf, gpa, td.tdcx[0], page,
		    td.source);
	KTAP_EXPECT(sharex_try_exclusive(lock));
	expect_details(EXPECT_CALL(BUSY + OP_RDX, machine, 0, leaf, gpa, td.tdr, page, td.source),
		       0, 0);
	sharex_unlock_exclusive(lock);

	EXPECT_CALL(TDX_OP_STATE_INCORRECT + TD_UNINITIALIZED, machine, 0, leaf, gpa, td.tdr, page,
		    td.source);
	td_model(&td)->fatal = true;
	EXPECT_CALL(TDX_TD_FATAL, machine, 0, leaf, gpa, td.tdr, page, td.source);
	td_model(&td)->fatal = false;
	td_release_key(&td);
	EXPECT_CALL(TDX_TD_KEYS_NOT_CONFIGURED, machine, 0, leaf, gpa, td.tdr, page, td.source);
	machine_expect_rule(machine, SAN_CALL_AFTER_TEARDOWN, 1);

	td = td_new(machine, 4, STAGE_KEYED);
	EXPECT_CALL(TDX_TDCS_NOT_ALLOCATED, machine, 0, leaf, gpa, td.tdr, page, td.source);
}

static void sept_add_fills_three_levels_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_VCPU);
	int64_t before = td_model(&td)->chldcnt;

	td_advance(&td, STAGE_SEPT);
	KTAP_EXPECT_EQ(td_model(&td)->chldcnt, before + 3);
	KTAP_EXPECT_EQ(machine_page_type(machine, td.sept[2]), PT_EPT);
	machine_free(machine);
}

static void sept_add_bad_operands_fail(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = machine_page(machine), gpa = TDX_2M | 1;

	tdr_checks(machine, TDH_MEM_SEPT_ADD, gpa);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_SEPT_ADD, TDX_2M | 0, td.tdr, page, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_SEPT_ADD, 4, td.tdr, page, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_SEPT_ADD, gpa | 8, td.tdr, page, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_SEPT_ADD, 0x1001, td.tdr, page, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_SEPT_ADD, SHARED | 1, td.tdr, page, 0);
	EXPECT_CALL(INV + OP_R8, machine, 0, TDH_MEM_SEPT_ADD, gpa, td.tdr, ~0ULL, 0);
	EXPECT_CALL(INV + OP_R8, machine, 0, TDH_MEM_SEPT_ADD, gpa, td.tdr, page + 8, 0);
	EXPECT_CALL(TDX_OPERAND_ADDR_RANGE_ERROR + OP_R8, machine, 0, TDH_MEM_SEPT_ADD, gpa, td.tdr,
		    TDX_1G, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_SEPT_ADD, gpa, td.tdr,
		    MACHINE_PAMT, 0);
	KTAP_EXPECT_EQ(machine_page_type(machine, page), PT_NDA);
	machine_free(machine);
}

static void sept_add_on_used_entry_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = machine_page(machine), huge = machine_page_2m(machine);

	expect_details(EXPECT_CALL(TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX, machine, 0,
				   TDH_MEM_SEPT_ADD, 1, td.tdr, page, 0),
		       7, 0x8401);
	/* Allowed to exist, yet "no page" is no page. */
	EXPECT_CALL(INV + OP_R8, machine, 0, TDH_MEM_SEPT_ADD, 1, td.tdr | 1, ~0ULL, 0);
	/* Allowed to exist: success, and the page stays with the host. */
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_SEPT_ADD, 1, td.tdr | 1, page, 0);
	KTAP_EXPECT_EQ(machine_page_type(machine, page), PT_NDA);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	expect_details(EXPECT_CALL(TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX, machine, 0,
				   TDH_MEM_SEPT_ADD, TDX_2M | 1, td.tdr, page, 0),
		       0x80000000000000f0 | huge, 0x201);
	machine_free(machine);
}

static void sept_add_out_of_order_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_VCPU);

	expect_details(EXPECT_CALL(TDX_EPT_WALK_FAILED + OP_RCX, machine, 0, TDH_MEM_SEPT_ADD, 1,
				   td.tdr, machine_page(machine), 0),
		       0x8000000000000000, 3);
	machine_free(machine);
}

static void page_add_maps_and_copies_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	int64_t before = td_model(&td)->chldcnt;
	const void *source;
	uint64_t hpa;

	memset(machine_ram(machine, td.source), 0xa5, TDX_PAGE_SIZE);
	hpa = td_add_page(&td, GPA);
	KTAP_EXPECT_EQ(machine_page_type(machine, hpa), PT_REG);
	KTAP_EXPECT_EQ(td_model(&td)->chldcnt, before + 1);
	source = machine_ram(machine, td.source);
	KTAP_EXPECT(!memcmp(machine_ram(machine, hpa), source, TDX_PAGE_SIZE));
	machine_free(machine);
}

static void page_add_bad_operands_fail(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = machine_page(machine), source = td.source;

	tdr_checks(machine, TDH_MEM_PAGE_ADD, GPA);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_PAGE_ADD, GPA | 1, td.tdr, page, source);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_PAGE_ADD, GPA | 0x800, td.tdr, page, source);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_PAGE_ADD, GPA | BIT_U64(52), td.tdr, page,
		    source);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_PAGE_ADD, GPA | SHARED, td.tdr, page, source);
	EXPECT_CALL(INV + OP_R9, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page, source + 1);
	EXPECT_CALL(INV + OP_R9, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page,
		    WITH_KEYID(source, 1));
	EXPECT_CALL(INV + OP_R9, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page, TDX_1G);
	EXPECT_CALL(INV + OP_R8, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page + 1, source);
	EXPECT_CALL(TDX_OPERAND_ADDR_RANGE_ERROR + OP_R8, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr,
		    TDX_1G, source);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr,
		    0x1000, source);
	KTAP_EXPECT_EQ(machine_page_type(machine, page), PT_NDA);
	machine_free(machine);
}

static void page_add_twice_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = machine_page(machine), hpa = td_add_page(&td, GPA);

	expect_details(EXPECT_CALL(TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX, machine, 0,
				   TDH_MEM_PAGE_ADD, GPA, td.tdr, page, td.source),
		       0x80000000000000f7 | hpa, 0x400);
	KTAP_EXPECT_EQ(machine_page_type(machine, page), PT_NDA);
	machine_free(machine);
}

static void page_add_without_page_table_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);

	expect_details(EXPECT_CALL(TDX_EPT_WALK_FAILED + OP_RCX, machine, 0, TDH_MEM_PAGE_ADD,
				   TDX_2M, td.tdr, machine_page(machine), td.source),
		       0x8000000000000000, 1);
	machine_free(machine);
}

static void page_add_contended_page_busy_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = machine_page(machine);
	struct sharex *lock = &tdxm_pamt_find(machine->m, page)->lock;

	KTAP_EXPECT(sharex_try_shared(lock));
	EXPECT_CALL(BUSY + OP_R8, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page, td.source);
	sharex_unlock_shared(lock);
	/* A reader of the TDR is enough: it is taken exclusively. */
	lock = &tdxm_pamt_find(machine->m, td.tdr)->lock;
	KTAP_EXPECT(sharex_try_shared(lock));
	EXPECT_CALL(BUSY + OP_RDX, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page, td.source);
	sharex_unlock_shared(lock);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr, page, td.source);
	machine_free(machine);
}

static void page_add_after_finalize_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_RUNNABLE);

	EXPECT_CALL(TDX_OP_STATE_INCORRECT + TD_RUNNABLE, machine, 0, TDH_MEM_PAGE_ADD, GPA, td.tdr,
		    machine_page(machine), td.source);
	machine_free(machine);
}

static void page_aug_4k_and_2m_before_and_after_finalize_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	int64_t before = td_model(&td)->chldcnt;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, GPA, td.tdr, machine_page(machine),
		    0);
	td_advance(&td, STAGE_RUNNABLE);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr,
		    machine_page_2m(machine), 0);
	KTAP_EXPECT_EQ(td_model(&td)->chldcnt, before + 1 + 512);
	machine_free(machine);
}

static void page_aug_bad_operands_fail(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = machine_page(machine), huge = machine_page_2m(machine);

	tdr_checks(machine, TDH_MEM_PAGE_AUG, GPA);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_PAGE_AUG, TDX_1G | 2, td.tdr, page, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_PAGE_AUG, GPA | 1, td.tdr, huge, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_PAGE_AUG, GPA | SHARED, td.tdr, page, 0);
	EXPECT_CALL(INV + OP_R8, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge + 0x1000,
		    0);
	EXPECT_CALL(TDX_OPERAND_ADDR_RANGE_ERROR + OP_R8, machine, 0, TDH_MEM_PAGE_AUG, GPA, td.tdr,
		    TDX_1G, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_PAGE_AUG, GPA, td.tdr,
		    0, 0);
	/* The first 2M hold the hole below 1M: not all of it is NDA. */
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_R8, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1,
		    td.tdr, 0, 0);
	machine_free(machine);
}

static void page_aug_on_used_entry_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = machine_page(machine), hpa = td_add_page(&td, GPA);

	expect_details(EXPECT_CALL(TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX, machine, 0,
				   TDH_MEM_PAGE_AUG, GPA, td.tdr, page, 0),
		       0x80000000000000f7 | hpa, 0x400);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, 2 * GPA, td.tdr, page, 0);
	expect_details(EXPECT_CALL(TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX, machine, 0,
				   TDH_MEM_PAGE_AUG, 2 * GPA, td.tdr, machine_page(machine), 0),
		       0x80000000000000f0 | page, 0x200);
	machine_free(machine);
}

static void page_aug_contended_locks_busy_fail(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t page = machine_page(machine), huge = machine_page_2m(machine);
	struct tdxm_sept_page *table =
		(struct tdxm_sept_page *)tdxm_pamt_find(machine->m, td.sept[2])->object;
	struct sharex *tree = &td_model(&td)->sept_lock;
	struct sharex *path = &tdxm_pamt_find_level(machine->m, huge, 1)->lock;

	KTAP_EXPECT(sharex_try_exclusive(tree));
	expect_details(EXPECT_CALL(BUSY + OP_SEPT_TREE, machine, 0, TDH_MEM_PAGE_AUG, GPA, td.tdr,
				   page, 0),
		       0, 0);
	sharex_unlock_exclusive(tree);

	atomic_fetch_or(&table->entry[1], SEPTE_TDEL);
	expect_details(EXPECT_CALL(BUSY + OP_RCX, machine, 0, TDH_MEM_PAGE_AUG, GPA, td.tdr, page,
				   0),
		       0x8000000000000000, 0);
	atomic_fetch_and(&table->entry[1], ~SEPTE_TDEL);

	/* Any other call on a page of the same 2M is in the way of a 2M page. */
	KTAP_EXPECT(sharex_try_shared(path));
	EXPECT_CALL(BUSY + OP_R8, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	sharex_unlock_shared(path);
	KTAP_EXPECT(sharex_try_exclusive(&td_model(&td)->op_state_lock));
	EXPECT_CALL(BUSY + OP_OP_STATE, machine, 0, TDH_MEM_PAGE_AUG, GPA, td.tdr, page, 0);
	sharex_unlock_exclusive(&td_model(&td)->op_state_lock);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	machine_free(machine);
}

static void page_below_2m_leaf_walk_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t huge = machine_page_2m(machine);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	expect_details(EXPECT_CALL(TDX_EPT_WALK_FAILED + OP_RCX, machine, 0, TDH_MEM_PAGE_AUG,
				   TDX_2M | GPA, td.tdr, machine_page(machine), 0),
		       0x80000000000000f0 | huge, 0x201);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "mem_add.sept_add_fills_three_levels_ok", sept_add_fills_three_levels_ok },
	{ "mem_add.sept_add_bad_operands_fail", sept_add_bad_operands_fail },
	{ "mem_add.sept_add_on_used_entry_fails", sept_add_on_used_entry_fails },
	{ "mem_add.sept_add_out_of_order_fails", sept_add_out_of_order_fails },
	{ "mem_add.page_add_maps_and_copies_ok", page_add_maps_and_copies_ok },
	{ "mem_add.page_add_bad_operands_fail", page_add_bad_operands_fail },
	{ "mem_add.page_add_twice_fails", page_add_twice_fails },
	{ "mem_add.page_add_without_page_table_fails", page_add_without_page_table_fails },
	{ "mem_add.page_add_contended_page_busy_fails", page_add_contended_page_busy_fails },
	{ "mem_add.page_add_after_finalize_fails", page_add_after_finalize_fails },
	{ "mem_add.page_aug_4k_and_2m_before_and_after_finalize_ok",
	  page_aug_4k_and_2m_before_and_after_finalize_ok },
	{ "mem_add.page_aug_bad_operands_fail", page_aug_bad_operands_fail },
	{ "mem_add.page_aug_on_used_entry_fails", page_aug_on_used_entry_fails },
	{ "mem_add.page_aug_contended_locks_busy_fail", page_aug_contended_locks_busy_fail },
	{ "mem_add.page_below_2m_leaf_walk_fails", page_below_2m_leaf_walk_fails },
};

KTAP_MAIN(cases)
