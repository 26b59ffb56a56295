// SPDX-License-Identifier: GPL-2.0-only
/* TDH.MEM.RANGE.BLOCK, TRACK and PAGE.REMOVE. */
#include "tests/module/machine.h"

#define GPA 0x1000ULL
#define BUSY TDX_OPERAND_BUSY
#define INV TDX_OPERAND_INVALID

static void wbinvd(struct test_td *td, uint64_t hpa)
{
	EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_PHYMEM_PAGE_WBINVD, WITH_KEYID(hpa, td->hkid),
		    0, 0, 0);
}

static void block_track_remove_of_running_td_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t hpa = td_add_page(&td, GPA);
	int64_t before = td_model(&td)->chldcnt;
	struct tdxm_regs regs;

	td_advance(&td, STAGE_RUNNABLE);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0);
	regs = EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_PAGE_RDMD, hpa, 0, 0, 0);
	KTAP_EXPECT_EQ(regs.r9, 1); /* BEPOCH */
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_TRACK, td.tdr, 0, 0, 0);
	expect_details(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0),
		       hpa, 0);
	KTAP_EXPECT_EQ(td_model(&td)->chldcnt, before - 1);
	KTAP_EXPECT_EQ(machine_page_type(machine, hpa), PT_NDA);
	wbinvd(&td, hpa);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, GPA, td.tdr, hpa, 0);
	machine_free(machine);
}

static void remove_before_finalize_needs_no_track_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t first = td_add_page(&td, GPA), second = td_add_page(&td, 2 * GPA);
	uint64_t huge = machine_page_2m(machine), hpa;
	int64_t before;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, 2 * GPA, td.tdr, 0, 0);
	wbinvd(&td, first);
	wbinvd(&td, second);

	before = td_model(&td)->chldcnt;
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	expect_details(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, TDX_2M | 1, td.tdr,
				   0, 0),
		       huge, 0);
	KTAP_EXPECT_EQ(td_model(&td)->chldcnt, before);
	for (hpa = huge; hpa < huge + TDX_2M; hpa += TDX_PAGE_SIZE)
		wbinvd(&td, hpa);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, TDX_2M | 1, td.tdr, huge, 0);
	machine_free(machine);
}

static void block_free_entry_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);

	/* Linux up to 6.18 relies on this one before FINALIZE. */
	expect_details(EXPECT_CALL(TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX, machine, 0,
				   TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0),
		       0x8000000000000000, 0);
	expect_details(EXPECT_CALL(TDX_EPT_WALK_FAILED + OP_RCX, machine, 0, TDH_MEM_RANGE_BLOCK,
				   TDX_2M, td.tdr, 0, 0),
		       0x8000000000000000, 1);
	machine_free(machine);
}

static void block_twice_is_informational(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t hpa = td_add_page(&td, GPA), pending = machine_page(machine);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0);
	expect_details(EXPECT_CALL(TDX_GPA_RANGE_ALREADY_BLOCKED + OP_RCX, machine, 0,
				   TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0),
		       0x80000000000000f0 | hpa, 0x100);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_AUG, 2 * GPA, td.tdr, pending, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_RANGE_BLOCK, 2 * GPA, td.tdr, 0, 0);
	expect_details(EXPECT_CALL(TDX_GPA_RANGE_ALREADY_BLOCKED + OP_RCX, machine, 0,
				   TDH_MEM_RANGE_BLOCK, 2 * GPA, td.tdr, 0, 0),
		       0x80000000000000f0 | pending, 0x300);
	machine_free(machine);
}

static void block_of_page_table_hides_what_is_below(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);

	td_add_page(&td, GPA);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_RANGE_BLOCK, 1, td.tdr, 0, 0);
	expect_details(EXPECT_CALL(TDX_EPT_WALK_FAILED + OP_RCX, machine, 0, TDH_MEM_PAGE_REMOVE,
				   GPA, td.tdr, 0, 0),
		       0, 0x8101);
	expect_details(EXPECT_CALL(TDX_GPA_RANGE_ALREADY_BLOCKED + OP_RCX, machine, 0,
				   TDH_MEM_RANGE_BLOCK, 1, td.tdr, 0, 0),
		       0, 0x8101);
	machine_free(machine);
}

static void bad_operands_fail(void)
{
	static const enum tdx_leaf leaves[] = { TDH_MEM_RANGE_BLOCK, TDH_MEM_PAGE_REMOVE };
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(leaves); i++) {
		EXPECT_CALL(INV + OP_RDX, machine, 0, leaves[i], GPA, td.tdr | 1, 0, 0);
		EXPECT_CALL(TDX_OPERAND_ADDR_RANGE_ERROR + OP_RDX, machine, 0, leaves[i], GPA,
			    TDX_1G, 0, 0);
		EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RDX, machine, 0, leaves[i], GPA,
			    td.source, 0, 0);
		EXPECT_CALL(INV + OP_RCX, machine, 0, leaves[i], 4, td.tdr, 0, 0);
		EXPECT_CALL(INV + OP_RCX, machine, 0, leaves[i], GPA | 1, td.tdr, 0, 0);
		EXPECT_CALL(INV + OP_RCX, machine, 0, leaves[i], BIT_U64(47), td.tdr, 0, 0);
	}
	/* A 512 GiB entry can be blocked, not removed. */
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_PAGE_REMOVE, 3, td.tdr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_RANGE_BLOCK, 3, td.tdr, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_TRACK, td.tdr | 1, 0, 0, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_MEM_TRACK, td.source, 0,
		    0, 0);
	machine_free(machine);
}

static void wrong_op_state_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_ADDCX);

	EXPECT_CALL(TDX_OP_STATE_INCORRECT, machine, 0, TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0);
	EXPECT_CALL(TDX_OP_STATE_INCORRECT, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	EXPECT_CALL(TDX_OP_STATE_INCORRECT, machine, 0, TDH_MEM_TRACK, td.tdr, 0, 0, 0);
	machine_free(machine);
}

static void remove_of_no_leaf_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);

	expect_details(EXPECT_CALL(TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX, machine, 0,
				   TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0),
		       0x8000000000000000, 0);
	expect_details(EXPECT_CALL(TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX, machine, 0,
				   TDH_MEM_PAGE_REMOVE, 1, td.tdr, 0, 0),
		       7, 0x8401);
	machine_free(machine);
}

static void remove_from_running_td_without_block_or_track_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t hpa = td_add_page(&td, GPA);
	struct tdxm_td *model = td_model(&td);

	td_advance(&td, STAGE_RUNNABLE);
	expect_details(EXPECT_CALL(TDX_GPA_RANGE_NOT_BLOCKED + OP_RCX, machine, 0,
				   TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0),
		       0x80000000000000f7 | hpa, 0x400);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0);
	expect_details(EXPECT_CALL(TDX_TLB_TRACKING_NOT_DONE + OP_RCX, machine, 0,
				   TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0),
		       0, 0);

	machine_expect_rule(machine, SAN_UNTRACKED_REMOVE, 2);

	/* A VCPU that entered before the TRACK may still know the page. */
	model->refcount[model->epoch & 1] = 1;
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_TRACK, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_TLB_TRACKING_NOT_DONE + OP_RCX, machine, 0, TDH_MEM_PAGE_REMOVE, GPA,
		    td.tdr, 0, 0);
	machine_expect_rule(machine, SAN_UNTRACKED_REMOVE, 1);
	EXPECT_CALL(TDX_PREVIOUS_TLB_EPOCH_BUSY, machine, 0, TDH_MEM_TRACK, td.tdr, 0, 0, 0);
	model->refcount[0] = 0;
	model->refcount[1] = 0;
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	machine_free(machine);
}

static void contended_locks_busy_fail(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t hpa = td_add_page(&td, GPA);
	struct tdxm_td *model = td_model(&td);
	struct sharex *page = &tdxm_pamt_find(machine->m, hpa)->lock;

	/* One reader of the tree keeps RANGE.BLOCK out, and nobody else. */
	KTAP_EXPECT(sharex_try_shared(&model->sept_lock));
	EXPECT_CALL(BUSY + OP_SEPT_TREE, machine, 0, TDH_MEM_RANGE_BLOCK, GPA, td.tdr, 0, 0);
	KTAP_EXPECT(sharex_try_shared(page));
	expect_details(EXPECT_CALL(BUSY + OP_RCX, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0,
				   0),
		       0, 0);
	sharex_unlock_shared(page);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_REMOVE, GPA, td.tdr, 0, 0);
	sharex_unlock_shared(&model->sept_lock);

	KTAP_EXPECT(sharex_try_shared(&model->epoch_lock));
	EXPECT_CALL(BUSY + OP_TD_EPOCH, machine, 0, TDH_MEM_TRACK, td.tdr, 0, 0, 0);
	sharex_unlock_shared(&model->epoch_lock);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "mem_remove.block_track_remove_of_running_td_ok", block_track_remove_of_running_td_ok },
	{ "mem_remove.remove_before_finalize_needs_no_track_ok",
	  remove_before_finalize_needs_no_track_ok },
	{ "mem_remove.block_free_entry_fails", block_free_entry_fails },
	{ "mem_remove.block_twice_is_informational", block_twice_is_informational },
	{ "mem_remove.block_of_page_table_hides_what_is_below",
	  block_of_page_table_hides_what_is_below },
	{ "mem_remove.bad_operands_fail", bad_operands_fail },
	{ "mem_remove.wrong_op_state_fails", wrong_op_state_fails },
	{ "mem_remove.remove_of_no_leaf_fails", remove_of_no_leaf_fails },
	{ "mem_remove.remove_from_running_td_without_block_or_track_fails",
	  remove_from_running_td_without_block_or_track_fails },
	{ "mem_remove.contended_locks_busy_fail", contended_locks_busy_fail },
};

KTAP_MAIN(cases)
