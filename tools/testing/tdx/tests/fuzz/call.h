/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One SEAMCALL, and what must hold for each: only the named outputs change, a
 * call that fails has changed nothing, a lock is held only while a call is.
 */
#ifndef TESTS_FUZZ_CALL_H
#define TESTS_FUZZ_CALL_H

#include "tests/fuzz/world.h"

/* Returns RAX; ~0 when a rule holds the call, or the LP is too deep in held ones. */
uint64_t fuzz_call(struct world *w, unsigned int lp, struct tdxm_regs *regs);
#define CALL_HELD (~0ULL)
/* Only RAX, RCX, RDX, R8 and R9 matter to most. */
uint64_t fuzz_call4(struct world *w, unsigned int lp, uint64_t leaf, uint64_t rcx, uint64_t rdx,
		    uint64_t r8, uint64_t r9);
/* Execute once again what is held in @slot. */
void fuzz_resume(struct world *w, unsigned int slot);
/* Since the last call that was looked at. */
void fuzz_expect_unchanged(struct world *w, const char *what);
/* The parts that need no books: outputs, and what is new to libFuzzer. */
void fuzz_check_result(const struct tdxm_regs *in, const struct tdxm_regs *out);

#endif /* TESTS_FUZZ_CALL_H */
