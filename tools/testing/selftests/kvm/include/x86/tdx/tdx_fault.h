/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Allocations of the kernel that fail on demand: the n-th one that the calling
 * thread makes from now on, from slab or of pages (/proc/thread-self/fail-nth), or all
 * from slab as soon as it has had so many bytes (failslab).  Those that may not fail
 * don't.
 */
#ifndef SELFTEST_KVM_TDX_FAULT_H
#define SELFTEST_KVM_TDX_FAULT_H

#include <stdbool.h>

/* Why allocations cannot be made to fail here, or NULL. */
const char *tdx_fault_lacks(void);

/*
 * From here on allocations that may sleep count, too, and nothing is logged when one
 * fails.  The settings are the machine's: tdx_fault_end() puts them back.
 */
void tdx_fault_begin(void);
void tdx_fault_end(void);

/* The @nth allocation from here on fails, 1 is the next; one in all. */
void tdx_fault_arm(unsigned int nth);

/*
 * After @bytes from slab there are no more, until disarmed.  What the kernel tries twice,
 * the nodes of an xarray for one, fails in no other way.
 */
void tdx_fault_arm_after(unsigned int bytes);

/* No more of either; true if an allocation has failed. */
bool tdx_fault_disarm(void);

#endif /* SELFTEST_KVM_TDX_FAULT_H */
