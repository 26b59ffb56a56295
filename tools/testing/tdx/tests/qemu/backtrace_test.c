// SPDX-License-Identifier: GPL-2.0-only
/* Callers are told from what earlier calls left on the stack. */
#include "qemu/backtrace.h"
#include "qemu/tdxq.h"
#include "tests/ktap.h"

#define TEXT UINT64_C(0xffffffff81000000)
#define STACK UINT64_C(0xffffc90000003f00) /* 32 words up to its end */
#define STACK_WORDS 32
#define FUNCTION(n) (TEXT + ((uint64_t)(n) << 16)) /* too far apart to be mistaken */
#define MAX_PCS 8

static uint8_t text[0x100000];
static uint64_t stack[STACK_WORDS];
static struct tdxq q;
static uint64_t regs[VMXR_NR_GPRS + 1]; /* as QEMU keeps them, RIP last */

static bool virt_read(void *opaque, uint64_t gva, void *buf, size_t len)
{
	(void)opaque;
	if (gva >= TEXT && gva - TEXT <= sizeof(text) - len)
		memcpy(buf, text + (gva - TEXT), len);
	else if (gva >= STACK && gva - STACK <= sizeof(stack) - len)
		memcpy(buf, (uint8_t *)stack + (gva - STACK), len);
	else
		return false;
	return true;
}

const struct vmxr_ops tdxq_cpu_ops = { .virt_read = virt_read };

uint64_t tdxq_read_gpr(struct tdxq_vcpu *vcpu, enum vmxr_gpr gpr)
{
	(void)vcpu;
	return regs[gpr];
}

uint64_t tdxq_read_reg(struct tdxq_vcpu *vcpu, enum tdxq_reg reg)
{
	(void)vcpu;
	return reg == TDXQ_REG_RIP ? regs[VMXR_NR_GPRS] : 0;
}

/* In caller, a CALL of callee, or through a register if that is 0; where it returns to. */
static uint64_t call(unsigned int caller, unsigned int offset, unsigned int callee)
{
	uint64_t pc = FUNCTION(caller) + offset;
	uint8_t *insn = text + (pc - TEXT);

	if (callee) {
		int32_t displacement = (int32_t)(FUNCTION(callee) - pc);

		insn[-5] = 0xe8;
		memcpy(&insn[-4], &displacement, sizeof(displacement));
	} else {
		insn[-2] = 0xff;
		insn[-1] = 0xd0;
	}
	return pc;
}

static void start(unsigned int function)
{
	memset(text, 0x90, sizeof(text));
	memset(stack, 0, sizeof(stack));
	for (unsigned int i = 0; i < VMXR_NR_GPRS; i++)
		regs[i] = UINT64_C(0x1234567800000000) + i;
	regs[VMXR_RSP] = STACK;
	regs[VMXR_NR_GPRS] = FUNCTION(function) + 0x10;
}

static void expect(const uint64_t *want, size_t n)
{
	uint64_t pc[MAX_PCS];
	uint64_t *state = regs; /* as in a frame of QEMU's */
	size_t got;

	__asm__ volatile("" : : "r"(&state) : "memory");
	tdxq_backtrace_prepare(&q, 0);
	for (unsigned int at_access = 0; at_access < 2; at_access++) {
		got = at_access ? tdxq_backtrace_at_access(&q, pc, MAX_PCS) :
				  tdxq_backtrace(&q, pc, MAX_PCS);
		KTAP_EXPECT_EQ(got, n);
		for (size_t i = 0; i < got && i < n; i++)
			KTAP_EXPECT_EQ(pc[i], want[i]);
	}
}

static void direct_calls_are_followed(void)
{
	start(1);
	stack[2] = call(2, 0x20, 1);
	stack[9] = call(3, 0x30, 2);
	expect((uint64_t[]) { FUNCTION(1) + 0x10, stack[2], stack[9] }, 3);
}

static void leftovers_are_dropped(void)
{
	start(1);
	stack[1] = call(7, 0x40, 8);
	stack[2] = call(2, 0x20, 1);
	stack[5] = call(8, 0x50, 9);
	stack[9] = call(3, 0x30, 2);
	expect((uint64_t[]) { FUNCTION(1) + 0x10, stack[2], stack[9] }, 3);
}

static void indirect_call_is_a_caller(void)
{
	start(1);
	stack[2] = call(2, 0x20, 0);
	stack[4] = call(7, 0x40, 8);
	stack[9] = call(3, 0x30, 2);
	expect((uint64_t[]) { FUNCTION(1) + 0x10, stack[2], stack[9] }, 3);
}

static void chain_goes_on_behind_a_tail_call(void)
{
	start(1);
	/* 2 calls 5, which jumps to 1. */
	stack[2] = call(2, 0x20, 5);
	stack[6] = call(3, 0x30, 2);
	stack[9] = call(4, 0x30, 3);
	expect((uint64_t[]) { FUNCTION(1) + 0x10, stack[2], stack[6], stack[9] }, 4);
}

static void data_is_no_return_address(void)
{
	start(1);
	stack[2] = FUNCTION(2) + 0x20;
	stack[3] = 0xffff888000001000;
	expect((uint64_t[]) { FUNCTION(1) + 0x10 }, 1);
}

static void innermost_fit_into_little_room(void)
{
	uint64_t pc[2];

	start(1);
	stack[2] = call(2, 0x20, 1);
	stack[9] = call(3, 0x30, 2);
	KTAP_EXPECT_EQ(tdxq_backtrace(&q, pc, 2), 2);
	KTAP_EXPECT_EQ(pc[1], stack[2]);
}

static const struct ktap_case cases[] = {
	{ "direct_calls_are_followed", direct_calls_are_followed },
	{ "leftovers_are_dropped", leftovers_are_dropped },
	{ "indirect_call_is_a_caller", indirect_call_is_a_caller },
	{ "chain_goes_on_behind_a_tail_call", chain_goes_on_behind_a_tail_call },
	{ "data_is_no_return_address", data_is_no_return_address },
	{ "innermost_fit_into_little_room", innermost_fit_into_little_room },
};
KTAP_MAIN(cases)
