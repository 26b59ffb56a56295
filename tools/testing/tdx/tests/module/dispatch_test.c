// SPDX-License-Identifier: GPL-2.0-only
/* The dispatcher, the tables behind it, and the report of a run. */
#include "tests/module/machine.h"

#define INV TDX_OPERAND_INVALID

static void rax_is_checked_first(void)
{
	struct machine *machine = machine_new(1, 1);

	/* Reserved bits and versions come before the state of the system ... */
	EXPECT_CALL(INV + OP_RAX, machine, 0, BIT_U64(24) | TDH_MNG_CREATE, 0, 0, 0, 0);
	EXPECT_CALL(INV + OP_RAX, machine, 0, BIT_U64(62) | TDH_MNG_CREATE, 0, 0, 0, 0);
	EXPECT_CALL(INV + OP_RAX, machine, 0, 1 << 16 | TDH_MNG_CREATE, 0, 0, 0, 0);
	/* ... which comes before the number of the leaf. */
	EXPECT_CALL(TDX_SYS_NOT_READY, machine, 0, 0x1234, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_NOT_READY, machine, 0, TDH_MEM_RD, 0, 0, 0, 0);
	machine_free(machine);
}

static void missing_leaves_and_versions_are_found(void)
{
	struct machine *machine = machine_new_booted();

	EXPECT_CALL(INV + OP_RAX, machine, 0, 0x1234, 0, 0, 0, 0);
	EXPECT_CALL(INV + OP_RAX, machine, 0, TDH_MEM_RD, 0, 0, 0, 0);
	EXPECT_CALL(INV + OP_RAX, machine, 0, TDH_MEM_RD, 0, 0, 0, 0);
	EXPECT_CALL(INV + OP_RAX, machine, 0, 1 << 16 | TDH_MEM_SEPT_ADD, 0, 0, 0, 0);
	KTAP_EXPECT_EQ(machine_findings(machine).unimplemented, 3);
	machine_forget_findings(machine);
	machine_free(machine);
}

static void seamldr_call_fails_like_no_seamldr(void)
{
	struct machine *machine = machine_new_booted();
	struct tdxm_regs regs = { .rax = TDX_RAX_SEAMLDR, .rcx = 5 };

	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 0, 1, &regs), TDXM_VMFAIL_INVALID);
	KTAP_EXPECT_EQ(regs.rax, TDX_RAX_SEAMLDR);
	KTAP_EXPECT_EQ(regs.rcx, 5);
	KTAP_EXPECT_EQ(machine_findings(machine).unimplemented, 1);
	machine_forget_findings(machine);
	machine_free(machine);
}

static void registers_that_are_no_output_stay(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	struct tdxm_regs regs, before = {
		.rax = TDH_MEM_TRACK,
		.rbx = 1,
		.rcx = td.tdr,
		.rdx = 2,
		.rsi = 3,
		.rdi = 4,
		.rbp = 5,
		.r8 = 6,
		.r9 = 7,
		.r10 = 8,
		.r11 = 9,
		.r12 = 10,
		.r13 = 11,
		.r14 = 12,
		.r15 = 13,
	};

	regs = before;
	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 0, 1, &regs), TDXM_DONE);
	before.rax = TDX_SUCCESS;
	KTAP_EXPECT(!memcmp(&regs, &before, sizeof(regs)));
	machine_free(machine);
}

static void no_lock_is_left_behind(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	struct tdxm_td *model = td_model(&td);
	uint64_t hpa = td_add_page(&td, 0x1000);

	/* Calls that fail at each depth. */
	machine_call(machine, 0, TDH_MEM_PAGE_ADD, 0x1000, td.tdr, hpa, td.source);
	machine_call(machine, 0, TDH_MEM_PAGE_AUG, 0x2000, td.tdr, hpa, 0);
	machine_call(machine, 0, TDH_MEM_RANGE_BLOCK, 0x2000, td.tdr, 0, 0);
	machine_call(machine, 0, TDH_VP_ENTER, td.vcpu.tdvpr, 0, 0, 0);
	machine_forget_findings(machine);
	KTAP_EXPECT_EQ(model->op_state_lock.word | model->sept_lock.word | model->epoch_lock.word,
		       0);
	KTAP_EXPECT_EQ(tdxm_pamt_find(machine->m, td.tdr)->lock.word, 0);
	KTAP_EXPECT_EQ(tdxm_pamt_find(machine->m, td.vcpu.tdvpr)->lock.word, 0);
	KTAP_EXPECT_EQ(tdxm_pamt_find(machine->m, hpa)->lock.word, 0);
	KTAP_EXPECT_EQ(tdxm_pamt_find_level(machine->m, hpa, 1)->lock.word, 0);
	KTAP_EXPECT_EQ(tdxm_pamt_find_level(machine->m, hpa, 2)->lock.word, 0);
	KTAP_EXPECT_EQ(machine->m->kot_lock.word | machine->m->sys_lock.word, 0);
	machine_free(machine);
}

struct count_sum {
	uint64_t tracks, busy, total;
};

static void sum_counts(void *arg, const struct tdxm_count *count)
{
	struct count_sum *sum = arg;

	sum->total += count->count;
	if (count->leaf == TDH_MEM_TRACK && !strcmp(count->status_name, "TDX_SUCCESS"))
		sum->tracks += count->count;
	if (count->leaf == TDH_MEM_TRACK && !strcmp(count->status_name, "TDX_OPERAND_BUSY"))
		sum->busy += count->count;
	KTAP_EXPECT(strcmp(count->leaf_name, "unknown"));
}

static void calls_are_counted_by_leaf_and_status(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	struct count_sum before = { 0 }, after = { 0 };
	unsigned int i;

	tdxm_for_each_count(machine->m, sum_counts, &before);
	for (i = 0; i < 10; i++)
		EXPECT_CALL(TDX_SUCCESS, machine, i % 2, TDH_MEM_TRACK, td.tdr, 0, 0, 0);
	KTAP_EXPECT(sharex_try_shared(&td_model(&td)->epoch_lock));
	EXPECT_CALL(TDX_OPERAND_BUSY + OP_TD_EPOCH, machine, 0, TDH_MEM_TRACK, td.tdr, 0, 0, 0);
	sharex_unlock_shared(&td_model(&td)->epoch_lock);
	tdxm_for_each_count(machine->m, sum_counts, &after);
	KTAP_EXPECT_EQ(after.tracks, 10);
	KTAP_EXPECT_EQ(after.busy, 1);
	KTAP_EXPECT_EQ(after.total, before.total + 11);
	machine_free(machine);
}

static void tables_agree(void)
{
	unsigned int number, leaves = 0;

	for (number = 0; number < 256; number++) {
		const struct tdxm_leaf *leaf = tdxm_leaf_find(number);

		if (!leaf)
			continue;
		leaves++;
		KTAP_EXPECT_EQ(leaf->number, number);
		KTAP_EXPECT(leaf->model_version <= leaf->max_version);
		KTAP_EXPECT(leaf->check || !leaf->commit);
		KTAP_EXPECT(!strcmp(tdxm_leaf_name(number), leaf->name));
	}
	KTAP_EXPECT(leaves > 45);
	KTAP_EXPECT(!strcmp(tdxm_leaf_name(TDXM_LEAF_SEAMLDR), "SEAMLDR.INFO"));
	KTAP_EXPECT(!strcmp(tdxm_leaf_name(TDXM_LEAF_SEAMLDR + 0x10000), "unknown"));
	KTAP_EXPECT(!strcmp(tdxm_status_name(0x8000020000000092), "TDX_OPERAND_BUSY"));
	KTAP_EXPECT(!strcmp(tdxm_status_name(0x1234567800000000), "unknown"));
}

static const struct ktap_case cases[] = {
	{ "dispatch.rax_is_checked_first", rax_is_checked_first },
	{ "dispatch.missing_leaves_and_versions_are_found", missing_leaves_and_versions_are_found },
	{ "dispatch.seamldr_call_fails_like_no_seamldr", seamldr_call_fails_like_no_seamldr },
	{ "dispatch.registers_that_are_no_output_stay", registers_that_are_no_output_stay },
	{ "dispatch.no_lock_is_left_behind", no_lock_is_left_behind },
	{ "dispatch.calls_are_counted_by_leaf_and_status", calls_are_counted_by_leaf_and_status },
	{ "dispatch.tables_agree", tables_agree },
};

KTAP_MAIN(cases)
