// SPDX-License-Identifier: GPL-2.0-only
/* VMX root operation: every instruction, its refusals, the VMCS fields. */
#include "cpu/vmcs.h"
#include "cpu/vmx_spec.h"
#include "tests/cpu/guest.h"
#include "tests/ktap.h"

/* Layout of the guest: an operand, two VMCSs and a VMXON region. */
#define OPERAND 0x800
#define VMXON_REGION 0x1000
#define VMCS_A 0x2000
#define VMCS_B 0x3000

/* All with the operand at (%rsi), the field in %rdx, value or type in %rax. */
static const struct code op_vmxon = { 4, { 0xf3, 0x0f, 0xc7, 0x36 } };
static const struct code op_vmxoff = { 3, { 0x0f, 0x01, 0xc4 } };
static const struct code op_vmclear = { 4, { 0x66, 0x0f, 0xc7, 0x36 } };
static const struct code op_vmptrld = { 3, { 0x0f, 0xc7, 0x36 } };
static const struct code op_vmptrst = { 3, { 0x0f, 0xc7, 0x3e } };
static const struct code op_vmread = { 3, { 0x0f, 0x78, 0xd0 } };
static const struct code op_vmread_mem = { 3, { 0x0f, 0x78, 0x16 } };
static const struct code op_vmwrite = { 3, { 0x0f, 0x79, 0xd0 } };
static const struct code op_vmwrite_mem = { 3, { 0x0f, 0x79, 0x16 } };
static const struct code op_invept = { 5, { 0x66, 0x0f, 0x38, 0x80, 0x06 } };
static const struct code op_invvpid = { 5, { 0x66, 0x0f, 0x38, 0x81, 0x06 } };
static const struct code op_vmlaunch = { 3, { 0x0f, 0x01, 0xc2 } };
/* movdir64b (%rsi),%rdi */
static const struct code op_movdir64b = { 5, { 0x66, 0x0f, 0x38, 0xf8, 0x3e } };

static enum vmxr_outcome run_at(struct guest *guest, uint64_t operand, const struct code *code)
{
	guest->regs.gpr[VMXR_RSI] = OPERAND;
	guest_put64(guest, OPERAND, operand);
	return guest_run(guest, code);
}

/* CR4.VMXE set, regions prepared, not yet in VMX operation. */
static struct guest *prepared(void)
{
	struct guest *guest = guest_new();

	guest->cpu.vmxe = true;
	guest_put64(guest, VMXON_REGION, VMXR_VMCS_REVISION);
	guest_put64(guest, VMCS_A, VMXR_VMCS_REVISION);
	guest_put64(guest, VMCS_B, VMXR_VMCS_REVISION);
	return guest;
}

static struct guest *in_vmx(void)
{
	struct guest *guest = prepared();

	KTAP_EXPECT_EQ(run_at(guest, VMXON_REGION, &op_vmxon), VMXR_SUCCEED);
	return guest;
}

static struct guest *with_vmcs(void)
{
	struct guest *guest = in_vmx();

	KTAP_EXPECT_EQ(run_at(guest, VMCS_A, &op_vmptrld), VMXR_SUCCEED);
	return guest;
}

static uint64_t error_number(struct guest *guest)
{
	guest->regs.gpr[VMXR_RDX] = VMXR_FIELD_INSTRUCTION_ERROR;
	KTAP_EXPECT_EQ(guest_run(guest, &op_vmread), VMXR_SUCCEED);
	return guest->regs.gpr[VMXR_RAX];
}

static enum vmxr_outcome vmwrite(struct guest *guest, uint64_t field, uint64_t value)
{
	guest->regs.gpr[VMXR_RDX] = field;
	guest->regs.gpr[VMXR_RAX] = value;
	return guest_run(guest, &op_vmwrite);
}

static uint64_t vmread(struct guest *guest, uint64_t field)
{
	guest->regs.gpr[VMXR_RDX] = field;
	guest->regs.gpr[VMXR_RAX] = 0xdead;
	KTAP_EXPECT_EQ(guest_run(guest, &op_vmread), VMXR_SUCCEED);
	return guest->regs.gpr[VMXR_RAX];
}

static void outside_of_vmx_everything_is_undefined(void)
{
	struct guest *guest = prepared();

	KTAP_EXPECT_EQ(guest_run(guest, &op_vmxoff), VMXR_UD);
	KTAP_EXPECT_EQ(run_at(guest, VMCS_A, &op_vmclear), VMXR_UD);
	KTAP_EXPECT_EQ(run_at(guest, VMCS_A, &op_vmptrld), VMXR_UD);
	KTAP_EXPECT_EQ(guest_run(guest, &op_vmread), VMXR_UD);
	KTAP_EXPECT_EQ(run_at(guest, 0, &op_invept), VMXR_UD);
	free(guest);
}

static void vmxon_without_vmxe_is_undefined(void)
{
	struct guest *guest = prepared();

	guest->cpu.vmxe = false;
	KTAP_EXPECT_EQ(run_at(guest, VMXON_REGION, &op_vmxon), VMXR_UD);
	free(guest);
}

static void vmxon_with_bad_region_fails(void)
{
	struct guest *guest = prepared();

	KTAP_EXPECT_EQ(run_at(guest, VMXON_REGION + 8, &op_vmxon), VMXR_FAIL_INVALID);
	KTAP_EXPECT_EQ(run_at(guest, VMXR_BIT(VMXR_MAXPHYADDR), &op_vmxon), VMXR_FAIL_INVALID);
	guest_put64(guest, VMXON_REGION, VMXR_VMCS_REVISION + 1);
	KTAP_EXPECT_EQ(run_at(guest, VMXON_REGION, &op_vmxon), VMXR_FAIL_INVALID);
	KTAP_EXPECT(!guest->cpu.in_vmx);
	guest->regs.gpr[VMXR_RSI] = GUEST_RAM_SIZE;
	KTAP_EXPECT_EQ(guest_run(guest, &op_vmxon), VMXR_FAULT);
	free(guest);
}

static void vmxon_twice_fails(void)
{
	struct guest *guest = in_vmx();

	KTAP_EXPECT_EQ(run_at(guest, VMXON_REGION, &op_vmxon), VMXR_FAIL_INVALID);
	KTAP_EXPECT_EQ(run_at(guest, VMCS_A, &op_vmptrld), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(run_at(guest, VMXON_REGION, &op_vmxon), VMXR_FAIL_VALID);
	KTAP_EXPECT_EQ(error_number(guest), VMXR_ERR_VMXON_IN_ROOT);
	free(guest);
}

static void vmxoff_forgets_the_vmcs(void)
{
	struct guest *guest = with_vmcs();

	KTAP_EXPECT_EQ(guest_run(guest, &op_vmxoff), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(run_at(guest, VMXON_REGION, &op_vmxon), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(guest_run(guest, &op_vmread), VMXR_FAIL_INVALID);
	free(guest);
}

static void vmptrld_refusals(void)
{
	struct guest *guest = with_vmcs();

	KTAP_EXPECT_EQ(run_at(guest, VMCS_B + 1, &op_vmptrld), VMXR_FAIL_VALID);
	KTAP_EXPECT_EQ(error_number(guest), VMXR_ERR_VMPTRLD_ADDRESS);
	KTAP_EXPECT_EQ(run_at(guest, VMXON_REGION, &op_vmptrld), VMXR_FAIL_VALID);
	KTAP_EXPECT_EQ(error_number(guest), VMXR_ERR_VMPTRLD_VMXON_POINTER);
	guest_put64(guest, VMCS_B, VMXR_VMCS_REVISION | VMXR_BIT(31));
	KTAP_EXPECT_EQ(run_at(guest, VMCS_B, &op_vmptrld), VMXR_FAIL_VALID);
	KTAP_EXPECT_EQ(error_number(guest), VMXR_ERR_VMPTRLD_REVISION);
	/* none of them replaced the current VMCS */
	KTAP_EXPECT_EQ(guest->cpu.vmcs, VMCS_A);
	free(guest);
}

static void vmclear_refusals(void)
{
	struct guest *guest = with_vmcs();

	KTAP_EXPECT_EQ(run_at(guest, VMCS_B + 1, &op_vmclear), VMXR_FAIL_VALID);
	KTAP_EXPECT_EQ(error_number(guest), VMXR_ERR_VMCLEAR_ADDRESS);
	KTAP_EXPECT_EQ(run_at(guest, VMXON_REGION, &op_vmclear), VMXR_FAIL_VALID);
	KTAP_EXPECT_EQ(error_number(guest), VMXR_ERR_VMCLEAR_VMXON_POINTER);
	free(guest);
}

static void vmclear_of_the_current_vmcs_leaves_none(void)
{
	struct guest *guest = with_vmcs();

	KTAP_EXPECT_EQ(run_at(guest, VMCS_B, &op_vmclear), VMXR_SUCCEED);
	KTAP_EXPECT(guest->cpu.has_vmcs);
	KTAP_EXPECT_EQ(run_at(guest, VMCS_A, &op_vmclear), VMXR_SUCCEED);
	KTAP_EXPECT(!guest->cpu.has_vmcs);
	free(guest);
}

static void vmptrst_tells_the_current_vmcs(void)
{
	struct guest *guest = in_vmx();

	KTAP_EXPECT_EQ(run_at(guest, 0, &op_vmptrst), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(guest_get64(guest, OPERAND), UINT64_MAX);
	KTAP_EXPECT_EQ(run_at(guest, VMCS_A, &op_vmptrld), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(run_at(guest, 0, &op_vmptrst), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(guest_get64(guest, OPERAND), VMCS_A);
	free(guest);
}

static void fields_belong_to_their_vmcs(void)
{
	struct guest *guest = with_vmcs();

	KTAP_EXPECT_EQ(vmwrite(guest, 0x681e, 0x1111), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(run_at(guest, VMCS_B, &op_vmptrld), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(vmwrite(guest, 0x681e, 0x2222), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(run_at(guest, VMCS_A, &op_vmclear), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(vmread(guest, 0x681e), 0x2222);
	KTAP_EXPECT_EQ(run_at(guest, VMCS_A, &op_vmptrld), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(vmread(guest, 0x681e), 0x1111);
	free(guest);
}

static void every_field_keeps_its_width(void)
{
	struct guest *guest = with_vmcs();

	for (size_t i = 0; i < vmxr_nr_fields(); i++) {
		uint32_t encoding = vmxr_field(i)->encoding;
		unsigned int width = vmxr_field_width(encoding);
		uint64_t value = UINT64_C(0x0123456789abcdef) + i;

		if (vmxr_field_is_read_only(encoding)) {
			KTAP_EXPECT_EQ(vmwrite(guest, encoding, value), VMXR_FAIL_VALID);
			KTAP_EXPECT_EQ(error_number(guest), VMXR_ERR_READ_ONLY_FIELD);
			continue;
		}
		KTAP_EXPECT_EQ(vmwrite(guest, encoding, value), VMXR_SUCCEED);
		KTAP_EXPECT_EQ(vmread(guest, encoding),
			       width == 64 ? value : value & (VMXR_BIT(width) - 1));
	}
	/* no field overlapped another: each still has its own value */
	for (size_t i = 0; i < vmxr_nr_fields(); i++) {
		uint32_t encoding = vmxr_field(i)->encoding;

		if (!vmxr_field_is_read_only(encoding) && vmxr_field_width(encoding) == 64)
			KTAP_EXPECT_EQ(vmread(guest, encoding), UINT64_C(0x0123456789abcdef) + i);
	}
	KTAP_EXPECT_EQ(guest->gaps, 0);
	free(guest);
}

static void field_table_is_sorted(void)
{
	for (size_t i = 0; i < vmxr_nr_fields(); i++) {
		KTAP_EXPECT_EQ(vmxr_field_find(vmxr_field(i)->encoding), i);
		KTAP_EXPECT(!(vmxr_field(i)->encoding & 1));
	}
}

static void high_half_of_a_64bit_field(void)
{
	struct guest *guest = with_vmcs();

	KTAP_EXPECT_EQ(vmwrite(guest, 0x2010, UINT64_C(0x1111111122222222)), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(vmread(guest, 0x2011), 0x11111111);
	KTAP_EXPECT_EQ(vmwrite(guest, 0x2011, 0x33333333), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(vmread(guest, 0x2010), UINT64_C(0x3333333322222222));
	free(guest);
}

static void unknown_field_fails_and_is_a_gap(void)
{
	struct guest *guest = with_vmcs();

	KTAP_EXPECT_EQ(vmwrite(guest, 0x7ffe, 1), VMXR_FAIL_VALID);
	KTAP_EXPECT_EQ(error_number(guest), VMXR_ERR_UNSUPPORTED_FIELD);
	KTAP_EXPECT_EQ(vmwrite(guest, VMXR_BIT(32) | 0x6800, 1), VMXR_FAIL_VALID);
	KTAP_EXPECT_EQ(guest->gaps, 2);
	free(guest);
}

static void memory_forms_of_vmread_and_vmwrite(void)
{
	struct guest *guest = with_vmcs();

	guest->regs.gpr[VMXR_RDX] = 0x6800;
	KTAP_EXPECT_EQ(run_at(guest, 0x80050033, &op_vmwrite_mem), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(run_at(guest, 0, &op_vmread_mem), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(guest_get64(guest, OPERAND), 0x80050033);
	free(guest);
}

static void invalidations_check_type_and_descriptor(void)
{
	struct guest *guest = with_vmcs();

	guest->regs.gpr[VMXR_RAX] = 2;
	KTAP_EXPECT_EQ(run_at(guest, 0, &op_invept), VMXR_SUCCEED);
	guest->regs.gpr[VMXR_RAX] = 3;
	KTAP_EXPECT_EQ(run_at(guest, 0, &op_invept), VMXR_FAIL_VALID);
	KTAP_EXPECT_EQ(error_number(guest), VMXR_ERR_INVALIDATION_OPERAND);
	guest->regs.gpr[VMXR_RAX] = 1;
	KTAP_EXPECT_EQ(run_at(guest, 7, &op_invvpid), VMXR_SUCCEED);
	KTAP_EXPECT_EQ(run_at(guest, 0, &op_invvpid), VMXR_FAIL_VALID);
	guest->regs.gpr[VMXR_RAX] = 4;
	KTAP_EXPECT_EQ(run_at(guest, 7, &op_invvpid), VMXR_FAIL_VALID);
	free(guest);
}

static void vm_entry_fails_and_is_a_gap(void)
{
	struct guest *guest = with_vmcs();

	KTAP_EXPECT_EQ(guest_run(guest, &op_vmlaunch), VMXR_FAIL_VALID);
	KTAP_EXPECT_EQ(error_number(guest), VMXR_ERR_ENTRY_CONTROLS);
	KTAP_EXPECT_EQ(guest->gaps, 1);
	free(guest);
}

static void movdir64b_copies_one_line(void)
{
	struct guest *guest = guest_new();

	for (unsigned int i = 0; i < 64; i++)
		guest->ram[0x100 + i] = (uint8_t)(i + 1);
	guest->regs.gpr[VMXR_RSI] = 0x100;
	guest->regs.gpr[VMXR_RDI] = 0x240;
	KTAP_EXPECT_EQ(guest_run(guest, &op_movdir64b), VMXR_DONE);
	KTAP_EXPECT(!memcmp(guest->ram + 0x100, guest->ram + 0x240, 64));
	KTAP_EXPECT_EQ(guest->ram[0x280], 0);
	guest->regs.gpr[VMXR_RDI] = 0x248;
	KTAP_EXPECT_EQ(guest_run(guest, &op_movdir64b), VMXR_GP);
	guest->regs.gpr[VMXR_RDI] = GUEST_RAM_SIZE;
	KTAP_EXPECT_EQ(guest_run(guest, &op_movdir64b), VMXR_FAULT);
	free(guest);
}

#define CASE(name)                      \
	{                               \
		"vmxr.vmx." #name, name \
	}

static const struct ktap_case cases[] = {
	CASE(outside_of_vmx_everything_is_undefined),
	CASE(vmxon_without_vmxe_is_undefined),
	CASE(vmxon_with_bad_region_fails),
	CASE(vmxon_twice_fails),
	CASE(vmxoff_forgets_the_vmcs),
	CASE(vmptrld_refusals),
	CASE(vmclear_refusals),
	CASE(vmclear_of_the_current_vmcs_leaves_none),
	CASE(vmptrst_tells_the_current_vmcs),
	CASE(fields_belong_to_their_vmcs),
	CASE(every_field_keeps_its_width),
	CASE(field_table_is_sorted),
	CASE(high_half_of_a_64bit_field),
	CASE(unknown_field_fails_and_is_a_gap),
	CASE(memory_forms_of_vmread_and_vmwrite),
	CASE(invalidations_check_type_and_descriptor),
	CASE(vm_entry_fails_and_is_a_gap),
	CASE(movdir64b_copies_one_line),
};

KTAP_MAIN(cases)
