/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What machine is this: emulated or silicon, which kernel, which variant.
 */
#ifndef SELFTEST_KVM_TDX_HOST_H
#define SELFTEST_KVM_TDX_HOST_H

#include <linux/types.h>
#include <stdbool.h>

/* Version code of a kernel release, comparable with tdx_host_kernel(). */
#define TDX_KERNEL(major, minor) (((major) << 8) | (minor))

bool tdx_host_is_emulated(void);
unsigned int tdx_host_kernel(void);

/*
 * Why no TD can be created here, or NULL.  A reason names the machine's lack,
 * never a bug of KVM.
 */
const char *tdx_host_lacks(void);

/*
 * Strictness is the runner's choice, since a kernel cannot be asked which
 * series it carries: TDX_INIT_MEM_SHARED_LOCK=1 and TDX_INIT_MEM_DECOUPLED=1.
 */
bool tdx_host_has_shared_lock(void);
bool tdx_host_is_decoupled(void);

/*
 * Why not to do here what others on this machine, or later tests, may come to harm by,
 * or NULL if TDX_INIT_MEM_DISRUPT=1 says that there are none.
 */
const char *tdx_host_forbids_disruption(void);

/*
 * All time limits of the library derive from this one, in milliseconds; a slow
 * machine raises it by TDX_INIT_MEM_DEADLINE_MS.
 */
unsigned int tdx_host_deadline_ms(void);

/* Where random tests start from: TDX_INIT_MEM_SEED, or always the same. */
u64 tdx_host_seed(void);

/*
 * To be called first in main(): prints what the machine is, opens the audit,
 * and leaves with a KTAP skip where no TD can be created.
 */
void tdx_test_begin(void);

/* Next in main(), of a program that does that all the time: @what it does. */
void tdx_test_disrupts(const char *what);

#endif /* SELFTEST_KVM_TDX_HOST_H */
