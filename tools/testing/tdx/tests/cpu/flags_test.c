// SPDX-License-Identifier: GPL-2.0-only
/* The instruction behind an emulated one: does it read the flags, and what then? */
#include "cpu/vmxr.h"
#include "tests/ktap.h"

#define DECODE(consumer, ...)                                         \
	do {                                                          \
		static const uint8_t bytes[] = { __VA_ARGS__ };       \
		vmxr_decode_consumer(bytes, sizeof(bytes), consumer); \
	} while (0)

static void short_and_near_branches(void)
{
	struct vmxr_consumer next;

	DECODE(&next, 0x72, 0x10); /* jc +0x10, behind SEAMCALL */
	KTAP_EXPECT_EQ(next.kind, VMXR_BRANCHES);
	KTAP_EXPECT_EQ(next.len, 2);
	KTAP_EXPECT_EQ(next.disp, 0x10);
	KTAP_EXPECT(vmxr_cond_holds(next.cond, VMXR_FLAG_CF));
	KTAP_EXPECT(!vmxr_cond_holds(next.cond, VMXR_FLAG_ZF));

	DECODE(&next, 0x0f, 0x86, 0xf0, 0xff, 0xff, 0xff); /* jna -0x10 */
	KTAP_EXPECT_EQ(next.kind, VMXR_BRANCHES);
	KTAP_EXPECT_EQ(next.len, 6);
	KTAP_EXPECT_EQ(next.disp, (uint64_t)-0x10);
}

static void branch_hints_are_part_of_the_branch(void)
{
	struct vmxr_consumer next;

	DECODE(&next, 0x2e, 0x76, 0x20); /* jna, not taken: KVM's vmx_asm1() up to 6.x */
	KTAP_EXPECT_EQ(next.kind, VMXR_BRANCHES);
	KTAP_EXPECT_EQ(next.len, 3);
	KTAP_EXPECT(vmxr_cond_holds(next.cond, VMXR_FLAG_CF));
	KTAP_EXPECT(vmxr_cond_holds(next.cond, VMXR_FLAG_ZF));
	KTAP_EXPECT(!vmxr_cond_holds(next.cond, 0));

	DECODE(&next, 0x3e, 0x77, 0x20); /* ja, taken: VMREAD without asm goto outputs */
	KTAP_EXPECT_EQ(next.kind, VMXR_BRANCHES);
	KTAP_EXPECT(vmxr_cond_holds(next.cond, 0));
	KTAP_EXPECT(!vmxr_cond_holds(next.cond, VMXR_FLAG_ZF));
}

static void setcc_on_register(void)
{
	struct vmxr_consumer next;

	DECODE(&next, 0x41, 0x0f, 0x96, 0xc5); /* setna %r13b */
	KTAP_EXPECT_EQ(next.kind, VMXR_SETS_BYTE);
	KTAP_EXPECT_EQ(next.rm, VMXR_R13);
	KTAP_EXPECT(vmxr_cond_holds(next.cond, VMXR_FLAG_ZF));
}

static void other_readers_are_told(void)
{
	struct vmxr_consumer next;

	DECODE(&next, 0x48, 0x0f, 0x42, 0xc1); /* cmovc %rcx,%rax */
	KTAP_EXPECT_EQ(next.kind, VMXR_READS_FLAGS);
	DECODE(&next, 0x48, 0x83, 0xd0, 0x00); /* adc $0,%rax */
	KTAP_EXPECT_EQ(next.kind, VMXR_READS_FLAGS);
	DECODE(&next, 0x0f, 0x92, 0x00); /* setc (%rax) */
	KTAP_EXPECT_EQ(next.kind, VMXR_READS_FLAGS);
	DECODE(&next, 0x0f, 0x92, 0xc4); /* setc %ah */
	KTAP_EXPECT_EQ(next.kind, VMXR_READS_FLAGS);
}

static void the_rest_is_left_alone(void)
{
	struct vmxr_consumer next;

	DECODE(&next, 0x9c); /* pushf: the kernel saves IF */
	KTAP_EXPECT_EQ(next.kind, VMXR_IGNORES_FLAGS);
	DECODE(&next, 0x31, 0xc0); /* xor %eax,%eax */
	KTAP_EXPECT_EQ(next.kind, VMXR_IGNORES_FLAGS);
	DECODE(&next, 0xe3, 0x10); /* jrcxz */
	KTAP_EXPECT_EQ(next.kind, VMXR_IGNORES_FLAGS);
	DECODE(&next, 0xeb, 0x10); /* jmp */
	KTAP_EXPECT_EQ(next.kind, VMXR_IGNORES_FLAGS);
	DECODE(&next, 0x0f); /* not an instruction, as far as it can be read */
	KTAP_EXPECT_EQ(next.kind, VMXR_READS_FLAGS);
}

/* Each pair of conditions, by its definition in the flags. */
static void every_condition_by_definition(void)
{
	for (uint32_t i = 0; i < 32; i++) {
		bool cf = i & 1, zf = i & 2, sf = i & 4, of = i & 8, pf = i & 16;
		uint32_t flags = (cf ? VMXR_FLAG_CF : 0) | (zf ? VMXR_FLAG_ZF : 0) |
				 (sf ? VMXR_FLAG_SF : 0) | (of ? VMXR_FLAG_OF : 0) |
				 (pf ? VMXR_FLAG_PF : 0);
		const bool holds[8] = { of, cf, zf, cf || zf, sf, pf, sf != of, zf || sf != of };

		for (uint8_t cond = 0; cond < 16; cond++)
			KTAP_EXPECT_EQ(vmxr_cond_holds(cond, flags), holds[cond / 2] != (cond % 2));
	}
}

static void outcomes_set_one_flag_or_none(void)
{
	KTAP_EXPECT_EQ(vmxr_outcome_flags(VMXR_SUCCEED), 0);
	KTAP_EXPECT_EQ(vmxr_outcome_flags(VMXR_FAIL_INVALID), VMXR_FLAG_CF);
	KTAP_EXPECT_EQ(vmxr_outcome_flags(VMXR_FAIL_VALID), VMXR_FLAG_ZF);
}

static const struct ktap_case cases[] = {
	{ "vmxr.flags.short_and_near_branches", short_and_near_branches },
	{ "vmxr.flags.branch_hints_are_part_of_the_branch", branch_hints_are_part_of_the_branch },
	{ "vmxr.flags.setcc_on_register", setcc_on_register },
	{ "vmxr.flags.other_readers_are_told", other_readers_are_told },
	{ "vmxr.flags.the_rest_is_left_alone", the_rest_is_left_alone },
	{ "vmxr.flags.every_condition_by_definition", every_condition_by_definition },
	{ "vmxr.flags.outcomes_set_one_flag_or_none", outcomes_set_one_flag_or_none },
};

KTAP_MAIN(cases)
