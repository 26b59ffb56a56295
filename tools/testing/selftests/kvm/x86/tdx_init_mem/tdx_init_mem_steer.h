/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A TD that is known to the emulated host by name, and what the host says of it and of
 * the rules by which it is steered.
 */
#ifndef TDX_INIT_MEM_STEER_H
#define TDX_INIT_MEM_STEER_H

#include "tdx_init_mem.h"

/* A held call keeps its CPU from running anything but interrupts. */
#define TEST_CPU 0
#define HELD_CPU 1

static inline const char *steer_lacks(void)
{
	if (tdx_emul_lacks())
		return tdx_emul_lacks();

	if (sysconf(_SC_NPROCESSORS_ONLN) <= HELD_CPU)
		return "one CPU only, which a held call keeps busy";

	return NULL;
}

/* A TD, and its name at the host. */
static inline u64 steer_create(struct td *td)
{
	struct tdx_emul_td newest;
	int r;

	td_create(td);
	r = tdx_emul_newest_td(&newest);
	TEST_ASSERT(!r, "The host does not know the TD: %s", tdx_errno_name(r));
	return newest.tdr;
}

static inline void steer_expect_rule(struct __test_metadata *_metadata, u64 rule,
				     struct tdx_emul_rule_state want)
{
	struct tdx_emul_rule_state got;

	EXPECT_RESULT(0, tdx_emul_rule_state(rule, &got));
	EXPECT_TRUE(!memcmp(&got, &want, sizeof(got)))
	{
		TH_LOG("rule: want %lu held, %lu matches, %lu hits, %lu timeouts", want.held,
		       want.matches, want.hits, want.timeouts);
		TH_LOG("      got  %lu held, %lu matches, %lu hits, %lu timeouts", got.held,
		       got.matches, got.hits, got.timeouts);
	}
}

static inline void steer_expect_page(struct __test_metadata *_metadata, u64 tdr, unsigned int page,
				     unsigned int want)
{
	struct tdx_emul_sept sept;

	EXPECT_RESULT(0, tdx_emul_sept(tdr, td_gpa(page), 0, &sept));
	EXPECT_EQ(want, sept.state)
	{
		TH_LOG("page %u: S-EPT level %u, state %u", page, sept.level, sept.state);
	}
}

#endif /* TDX_INIT_MEM_STEER_H */
