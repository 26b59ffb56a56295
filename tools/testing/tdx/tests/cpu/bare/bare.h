/* SPDX-License-Identifier: GPL-2.0-only */
/* Freestanding support for the tests: console, KTAP, faults, instructions. */
#ifndef BARE_H
#define BARE_H

#include <stdbool.h>
#include <stdint.h>

#define VECTOR_UD 6
#define VECTOR_GP 13

/* The last fault, filled in by start.S. */
struct bare_fault {
	uint64_t vector, rip, rax, rcx;
};

extern struct bare_fault bare_fault;
extern uint64_t bare_resume, bare_steps;

/* Entry points of start.S, and the one it calls. */
void bare_db(void);
void bare_ud(void);
void bare_gp(void);
void bare_pf(void);
void bare_main(void);

void bare_print(const char *text);
void bare_print_hex(uint64_t value);
void bare_expect(uint64_t got, uint64_t want, const char *what);

#define EXPECT_EQ(got, want) bare_expect((uint64_t)(got), (uint64_t)(want), #got)

/*
 * Execute instructions that may fault at the first of them. RAX, RCX and RDX
 * are in and out; bare_fault.vector is 0 without a fault.
 */
#define TRY(code, rax, rcx, rdx)                                                   \
	do {                                                                       \
		bare_fault.vector = 0;                                             \
		asm volatile("leaq 2f(%%rip), %%r11\n\t"                           \
			     "movq %%r11, bare_resume(%%rip)\n\t"                  \
			     "leaq 1f(%%rip), %%r11\n\t"                           \
			     "movq %%r11, %[at]\n"                                 \
			     "1:\t" code "\n"                                      \
			     "2:"                                                  \
			     : "+a"(rax), "+c"(rcx), "+d"(rdx), [at] "=m"(bare_at) \
			     :                                                     \
			     : "r11", "memory", "cc");                             \
	} while (0)

extern uint64_t bare_at;

#endif /* BARE_H */
