/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Errno that changed from one kernel to the next without being a bug.
 *
 * A list names the errno of the oldest kernel first, then each change with the
 * release that brought it, for example since 7.0 -EIO instead of -EEXIST:
 *
 *	{ TDX_ERRNO(EEXIST), TDX_ERRNO_SINCE(7, 0, EIO) }
 */
#ifndef SELFTEST_KVM_TDX_ERRNO_H
#define SELFTEST_KVM_TDX_ERRNO_H

#include <stdbool.h>

#include "tdx/tdx_host.h"

struct tdx_errno {
	unsigned int since;
	int err;
};

/* Success as a member of a list; zero ends the list. */
#define TDX_NO_ERROR (-1)

#define TDX_ERRNO_MAX 3
/* clang-format off */
#define TDX_ERRNO(_err) { 0, _err }
#define TDX_ERRNO_SINCE(_major, _minor, _err) { TDX_KERNEL(_major, _minor), _err }
/* clang-format on */

/* The errno of the running kernel, 0 for success. */
int tdx_errno_wanted(const struct tdx_errno *errs);

/*
 * Whether the running kernel may answer with @err.  A decoupled older kernel
 * may also behave as the newest one, since the series brings changes along.
 */
bool tdx_errno_allows(const struct tdx_errno *errs, int err);

/* "EINVAL" for 22 or -22, "success" for 0. */
const char *tdx_errno_name(int err);

#endif /* SELFTEST_KVM_TDX_ERRNO_H */
