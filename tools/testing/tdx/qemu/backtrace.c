// SPDX-License-Identifier: GPL-2.0-only
/* The guest kernel's backtrace, in a callback and in the middle of a store. */
#include "qemu/backtrace.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "qemu/tdxq.h"

/*
 * QEMU's state of a vCPU starts with the general purpose registers, in the
 * order of the instruction set. RIP follows, behind those that only some CPUs
 * have.
 */
#define STATE_WORDS 64

#define STACK_SIZE UINT64_C(0x4000) /* of a task or an interrupt, aligned to it */
#define KERNEL_TEXT UINT64_C(0xffffffff80000000)
#define KERNEL_TEXT_END UINT64_C(0xffffffffff000000)
#define MAX_FUNCTION UINT64_C(0x4000)
#define MAX_CANDIDATES 128
#define CALL_LEN 7 /* of the longest CALL */
/* Words of the thread's stack among which a pointer to the state must be. */
#define SEARCHED_WORDS 1024

static __thread int this_lp = TDXM_NO_LP;
static __thread const uint64_t *this_state, *this_rip;

int tdxq_this_lp(void)
{
	return this_lp;
}

static bool peek(int memory, uint64_t addr, uint64_t *words, size_t n)
{
	return pread(memory, words, n * sizeof(*words), (off_t)addr) ==
	       (ssize_t)(n * sizeof(*words));
}

/* The plugin interface has no registers outside of callbacks. So learn in one where they are. */
static const uint64_t *find_state(int memory, const uint64_t regs[VMXR_NR_GPRS])
{
	uint64_t *at = __builtin_frame_address(0), addr, words[STATE_WORDS];

	for (size_t i = 0; i < SEARCHED_WORDS && peek(memory, (uintptr_t)&at[i], &addr, 1); i++) {
		if (!(addr % sizeof(addr)) && peek(memory, addr, words, STATE_WORDS) &&
		    !memcmp(words, regs, VMXR_NR_GPRS * sizeof(*regs)))
			return (const uint64_t *)(uintptr_t)addr;
	}
	return NULL;
}

static const uint64_t *find_rip(const uint64_t *state, uint64_t rip)
{
	for (size_t i = VMXR_NR_GPRS; i < STATE_WORDS; i++) {
		if (state[i] == rip)
			return &state[i];
	}
	return NULL;
}

void tdxq_backtrace_prepare(struct tdxq *q, unsigned int vcpu_index)
{
	struct tdxq_vcpu *vcpu = &q->vcpu[vcpu_index];
	uint64_t regs[VMXR_NR_GPRS];
	int memory;

	if (this_lp != TDXM_NO_LP)
		return;
	this_lp = (int)vcpu_index;
	memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	if (memory >= 0) {
		for (size_t i = 0; i < VMXR_NR_GPRS; i++)
			regs[i] = tdxq_read_gpr(vcpu, (enum vmxr_gpr)i);
		this_state = find_state(memory, regs);
		close(memory);
	}
	if (this_state)
		this_rip = find_rip(this_state, tdxq_read_reg(vcpu, TDXQ_REG_RIP));
	if (!this_rip)
		fprintf(stderr, "tdx-host: no backtraces of stores on vCPU %u\n", vcpu_index);
}

/*
 * A word on the stack that may be a return address.
 * @target:	of the CALL in front of it, 0 if that is indirect
 * @score:	of the best chain of callers from pc[0] up to here
 * @callee:	the one before it in that chain
 */
struct candidate {
	uint64_t pc;
	uint64_t target;
	int score;
	unsigned int callee;
};

/* CALL rel32, or CALL through a register or memory. */
static bool follows_call(struct tdxq *q, struct candidate *c)
{
	uint8_t code[CALL_LEN];
	int32_t displacement;

	if (!tdxq_cpu_ops.virt_read(q, c->pc - CALL_LEN, code, CALL_LEN))
		return false;
	if (code[CALL_LEN - 5] == 0xe8) {
		memcpy(&displacement, &code[CALL_LEN - 4], sizeof(displacement));
		c->target = c->pc + (uint64_t)(int64_t)displacement;
		return true;
	}
	c->target = 0;
	for (size_t len = 2; len <= CALL_LEN; len++) {
		const uint8_t *insn = &code[CALL_LEN - len];

		if (insn[0] == 0xff && (insn[1] & 0x38) == 0x10)
			return true;
	}
	return false;
}

static unsigned int collect(struct tdxq *q, uint64_t rsp, struct candidate *c, unsigned int n)
{
	uint64_t words[STACK_SIZE / sizeof(uint64_t)];
	uint64_t len = STACK_SIZE - rsp % STACK_SIZE;

	if (rsp % sizeof(words[0]) || !tdxq_cpu_ops.virt_read(q, rsp, words, len))
		return n;
	for (uint64_t i = 0; i < len / sizeof(words[0]) && n < MAX_CANDIDATES; i++) {
		c[n].pc = words[i];
		if (words[i] >= KERNEL_TEXT && words[i] < KERNEL_TEXT_END && follows_call(q, &c[n]))
			n++;
	}
	return n;
}

/*
 * How well caller fits. A direct CALL names the function that the callee must
 * be in. It does not if that one jumped to the callee instead, or if one of
 * them is left over on the stack from an earlier call.
 */
static int fit(const struct candidate *caller, const struct candidate *callee)
{
	if (!caller->target)
		return 1;
	return callee->pc >= caller->target && callee->pc - caller->target < MAX_FUNCTION ? 2 : -3;
}

/* The chain of callers that fits best; its outermost member. */
static unsigned int best_chain(struct candidate *c, unsigned int n)
{
	unsigned int best = 0;

	c[0].score = 0;
	for (unsigned int i = 1; i < n; i++) {
		c[i].score = INT_MIN;
		for (unsigned int j = 0; j < i; j++) {
			int score = c[j].score + fit(&c[i], &c[j]);

			if (score > c[i].score) {
				c[i].score = score;
				c[i].callee = j;
			}
		}
		if (c[i].score >= c[best].score)
			best = i;
	}
	return best;
}

static size_t unwind(struct tdxq *q, uint64_t rip, uint64_t rsp, uint64_t *pc, size_t max)
{
	struct candidate c[MAX_CANDIDATES];
	unsigned int last, i;
	size_t depth = 1, at;

	c[0].pc = rip;
	last = best_chain(c, collect(q, rsp, c, 1));
	for (i = last; i; i = c[i].callee)
		depth++;
	for (i = last, at = depth; at--; i = c[i].callee) {
		if (at < max)
			pc[at] = c[i].pc;
	}
	return MIN(depth, max);
}

size_t tdxq_backtrace(void *opaque, uint64_t *pc, size_t max)
{
	struct tdxq *q = opaque;
	struct tdxq_vcpu *vcpu;

	if (this_lp == TDXM_NO_LP)
		return 0;
	vcpu = &q->vcpu[this_lp];
	return unwind(q, tdxq_read_reg(vcpu, TDXQ_REG_RIP), tdxq_read_gpr(vcpu, VMXR_RSP), pc, max);
}

size_t tdxq_backtrace_at_access(struct tdxq *q, uint64_t *pc, size_t max)
{
	return this_rip ? unwind(q, *this_rip, this_state[VMXR_RSP], pc, max) : 0;
}
