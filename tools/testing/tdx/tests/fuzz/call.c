// SPDX-License-Identifier: GPL-2.0-only
/* One SEAMCALL and the properties of each. */
#include "tests/fuzz/call.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "module/leaf_status.h"
#include "tests/fuzz/books.h"

#define OUT(reg) (1u << offsetof(struct tdxm_regs, reg) / sizeof(uint64_t))
#define OUT_MEM (OUT(rcx) | OUT(rdx))
#define OUT_PAGE (OUT_MEM | OUT(r8) | OUT(r9) | OUT(r10) | OUT(r11))
#define OUT_ALL (~0u)
/* Digests are most of the time of a call; of routine ones, one in so many has them. */
#define ROUTINE_SAMPLE 16
#define NR_REGS (sizeof(struct tdxm_regs) / sizeof(uint64_t))

/* Registers besides RAX that a leaf may write; all others come back as they were. */
static const uint32_t outputs[] = {
	[TDH_MEM_PAGE_ADD] = OUT_MEM,
	[TDH_MEM_SEPT_ADD] = OUT_MEM,
	[TDH_MEM_PAGE_AUG] = OUT_MEM,
	[TDH_MEM_RANGE_BLOCK] = OUT_MEM,
	[TDH_MEM_PAGE_REMOVE] = OUT_MEM,
	[TDH_MR_EXTEND] = OUT_MEM,
	[TDH_MNG_INIT] = OUT(rcx),
	[TDH_MNG_RD] = OUT(rdx) | OUT(r8),
	[TDH_VP_RD] = OUT(rdx) | OUT(r8),
	[TDH_VP_WR] = OUT(r8),
	[TDH_PHYMEM_PAGE_RDMD] = OUT_PAGE,
	[TDH_PHYMEM_PAGE_RECLAIM] = OUT_PAGE,
	[TDH_SYS_INIT] = OUT_MEM | OUT(r8) | OUT(r9) | OUT(r10),
	[TDH_SYS_LP_INIT] = OUT_MEM | OUT(r8),
	[TDH_SYS_RD] = OUT(rdx) | OUT(r8),
	[TDH_SYS_TDMR_INIT] = OUT(rdx),
};

static unsigned int leaf_of(const struct tdxm_regs *regs)
{
	return regs->rax & TDX_RAX_LEAF_MASK;
}

static void show(const char *what, unsigned int slot, const struct tdxm_regs *regs)
{
	fprintf(stderr,
		"# %s context %u rax 0x%" PRIx64 " rcx 0x%" PRIx64 " rdx 0x%" PRIx64
		" r8 0x%" PRIx64 " r9 0x%" PRIx64 "\n",
		what, slot, regs->rax, regs->rcx, regs->rdx, regs->r8, regs->r9);
}

static _Noreturn void broken(const struct tdxm_regs *in, const struct tdxm_regs *out,
			     const char *why)
{
	show("in: ", 0, in);
	show("out:", 0, out);
	world_broken("%s: %s: %s", tdxm_leaf_name(leaf_of(in)), tdxm_status_name(out->rax), why);
}

/* An exit of VP.ENTER; every other success is 0. */
static bool is_success(const struct tdxm_regs *in, const struct tdxm_regs *out)
{
	return !out->rax || (leaf_of(in) == TDH_VP_ENTER && !(out->rax >> 32));
}

static void check_outputs(const struct tdxm_regs *in, const struct tdxm_regs *out)
{
	unsigned int leaf = leaf_of(in), i;
	uint32_t may = leaf < ARRAY_LEN(outputs) ? outputs[leaf] : 0;
	const uint64_t *before = (const uint64_t *)in, *after = (const uint64_t *)out;

	if (leaf == TDH_VP_ENTER && is_success(in, out))
		may = OUT_ALL;
	for (i = 1; i < NR_REGS; i++) {
		if (before[i] != after[i] && !(may & 1u << i))
			broken(in, out, "changed a register that it does not name");
	}
}

/* The table of statuses is what the documentation is made of: it must be complete. */
static void check_declared(const struct tdxm_regs *in, const struct tdxm_regs *out)
{
	if (!tdxm_leaf_status_declared(leaf_of(in), out->rax) &&
	    !tdxm_leaf_status_declared(TDXM_LEAF_ANY, out->rax))
		broken(in, out, "a status that is not declared for this leaf");
}

#define PAIR_BITS 14

/* New pairs of leaf and status are worth as much as new code. */
__attribute__((section("__libfuzzer_extra_counters"),
	       used)) static uint8_t pair_seen[1 << PAIR_BITS];

static void count_pair(const struct tdxm_regs *in, const struct tdxm_regs *out)
{
	/* An operand id is news, the number of a TDMR is not. */
	bool is_number = (out->rax >> 40 & 0xff) == (TDX_INVALID_TDMR >> 40 & 0xff);
	uint64_t operand = is_number ? 0 : out->rax & 0xff;
	uint64_t pair = out->rax >> 32 ^ operand << 32 ^ (uint64_t)leaf_of(in) << 40;

	/* What any leaf answers is no news either. */
	if (tdxm_leaf_status_declared(TDXM_LEAF_ANY, out->rax))
		return;
	pair_seen[pair * 0x9e3779b97f4a7c15ULL >> (64 - PAIR_BITS)] = 1;
}

static void note_transcript(struct world *w, const struct tdxm_regs *out)
{
	const uint64_t *word = (const uint64_t *)out;
	unsigned int i;

	for (i = 0; i < NR_REGS; i++)
		w->transcript = (w->transcript ^ word[i]) * 0xc2b2ae3d27d4eb4fULL + 1;
}

void fuzz_check_result(const struct tdxm_regs *in, const struct tdxm_regs *out)
{
	count_pair(in, out);
	check_outputs(in, out);
	check_declared(in, out);
}

void fuzz_expect_unchanged(struct world *w, const char *what)
{
	uint64_t digest = w->digest, assoc = w->assoc;

	if (!w->has_digest)
		return;
	w->digest = books_digest(w, &w->assoc);
	if (digest != w->digest || assoc != w->assoc)
		world_broken("%s changed something", what);
}

static bool may_associate(unsigned int leaf)
{
	return leaf == TDH_VP_RD || leaf == TDH_VP_WR || leaf == TDH_VP_ENTER;
}

/* Whether this call is compared; if so, knows what there was before it. */
static bool wants_digest(struct world *w)
{
	if (w->routine && w->nr_calls % ROUTINE_SAMPLE)
		return false;
	if (!w->has_digest)
		w->digest = books_digest(w, &w->assoc);
	return true;
}

/* One execution of the instruction, the first or a later one. */
static uint64_t step(struct world *w, unsigned int slot, struct tdxm_regs *regs)
{
	const struct tdxm_regs in = *regs;
	struct pending *pending = &w->pending[slot];
	bool looked = wants_digest(w), quiet = !w->nr_pending, changed;
	uint64_t digest = w->digest, assoc = w->assoc;
	unsigned int writes = w->writes;
	enum tdxm_outcome outcome;

	w->nr_calls++;
	w->clock += 1000;
	w->injected = false;
	if (w->verbose)
		show("call", slot, &in);
	outcome = tdxm_seamcall(w->m, slot % WORLD_NR_LPS, slot + 1, regs);
	if (w->verbose)
		show(outcome == TDXM_DONE ? tdxm_status_name(regs->rax) : "(no result)", slot,
		     regs);

	w->nr_pending += (outcome == TDXM_AGAIN) - pending->used;
	pending->used = outcome == TDXM_AGAIN;
	if (outcome == TDXM_DONE && is_success(&in, regs) && !w->injected)
		books_note(w, &in, regs);
	note_transcript(w, regs);
	if (looked)
		w->digest = books_digest(w, &w->assoc);
	w->has_digest = looked;
	if (outcome != TDXM_DONE) {
		if (memcmp(&in, regs, sizeof(in)))
			broken(&in, regs, "changed a register, and has no result");
		if (digest != w->digest || writes != w->writes)
			broken(&in, regs, "changed something, and has no result");
		pending->regs = in;
		return CALL_HELD;
	}

	count_pair(&in, regs);
	check_outputs(&in, regs);
	if (is_success(&in, regs) && !w->injected)
		return regs->rax;
	changed = digest != w->digest || writes != w->writes;
	/* A held VP.INIT has its index already. */
	if (quiet && !w->nr_pending && !may_associate(leaf_of(&in)))
		changed |= assoc != w->assoc;
	if (changed)
		broken(&in, regs, "failed, and changed something");
	if (!w->injected)
		check_declared(&in, regs);
	return regs->rax;
}

uint64_t fuzz_call(struct world *w, unsigned int lp, struct tdxm_regs *regs)
{
	unsigned int slot = lp;

	/* An interrupt came, and the LP makes a call while it is in the middle of one. */
	if (w->pending[slot].used)
		slot += WORLD_NR_LPS;
	if (w->pending[slot].used)
		return CALL_HELD;
	return step(w, slot, regs);
}

uint64_t fuzz_call4(struct world *w, unsigned int lp, uint64_t leaf, uint64_t rcx, uint64_t rdx,
		    uint64_t r8, uint64_t r9)
{
	/* What is not an operand has a value that would be missed. */
	struct tdxm_regs regs = {
		.rax = leaf,
		.rbx = 0xb,
		.rcx = rcx,
		.rdx = rdx,
		.rsi = 0x51,
		.rdi = 0xd1,
		.rbp = 0xb9,
		.r8 = r8,
		.r9 = r9,
		.r10 = 10,
		.r11 = 11,
		.r12 = 12,
		.r13 = 13,
		.r14 = 14,
		.r15 = 15,
	};

	return fuzz_call(w, lp, &regs);
}

void fuzz_resume(struct world *w, unsigned int slot)
{
	struct tdxm_regs regs = w->pending[slot].regs;

	if (w->pending[slot].used)
		step(w, slot, &regs);
}
