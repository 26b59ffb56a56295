/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ways to keep a page missing, for tdx_park.c alone: what each of them does
 * behind the call of the same name in tdx_park.h.
 */
#ifndef SELFTEST_KVM_TDX_PARK_WAY_H
#define SELFTEST_KVM_TDX_PARK_WAY_H

#include "tdx/tdx_park.h"

struct tdx_park_way {
	const char *name; /* as in TDX_INIT_MEM_PARK */

	/* Why it does not work here, or NULL. */
	const char *(*lacks)(void);

	/* @park->mem is all there and filled: makes @park->page a missing one. */
	void (*open)(struct tdx_park *park);

	/* False, silently, after the common deadline. */
	bool (*wait)(struct tdx_park *park);

	/* At most one of them, once; nobody need be waiting. */
	void (*release)(struct tdx_park *park);
	void (*abandon)(struct tdx_park *park);

	/* After one of them, with @park->mem unmapped. */
	void (*destroy)(struct tdx_park *park);
};

extern const struct tdx_park_way tdx_park_uffd; /* the system call userfaultfd */
extern const struct tdx_park_way tdx_park_dev;	/* the same by /dev/userfaultfd */
extern const struct tdx_park_way tdx_park_fuse; /* the only page of a file */

#endif /* SELFTEST_KVM_TDX_PARK_WAY_H */
