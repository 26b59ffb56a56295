// SPDX-License-Identifier: GPL-2.0-only
/*
 * Errno by kernel, see include/x86/tdx/tdx_errno.h.
 */
#include <errno.h>
#include <limits.h>
#include <linux/kernel.h>
#include <stdlib.h>

#include "tdx/tdx_errno.h"

static int tdx_errno_at(const struct tdx_errno *errs, unsigned int kernel)
{
	int err = errs[0].err;
	unsigned int i;

	for (i = 1; i < TDX_ERRNO_MAX && errs[i].err; i++) {
		if (kernel >= errs[i].since)
			err = errs[i].err;
	}

	return err == TDX_NO_ERROR ? 0 : err;
}

int tdx_errno_wanted(const struct tdx_errno *errs)
{
	return tdx_errno_at(errs, tdx_host_kernel());
}

bool tdx_errno_allows(const struct tdx_errno *errs, int err)
{
	return err == tdx_errno_wanted(errs) ||
	       (tdx_host_is_decoupled() && err == tdx_errno_at(errs, UINT_MAX));
}

const char *tdx_errno_name(int err)
{
	static const char *const names[] = {
		[0] = "success",
		[E2BIG] = "E2BIG",
		[EAGAIN] = "EAGAIN",
		[EBADF] = "EBADF",
		[EBUSY] = "EBUSY",
		[EEXIST] = "EEXIST",
		[EFAULT] = "EFAULT",
		[EHWPOISON] = "EHWPOISON",
		[EINTR] = "EINTR",
		[EINVAL] = "EINVAL",
		[EIO] = "EIO",
		[EMFILE] = "EMFILE",
		[ENODEV] = "ENODEV",
		[ENOENT] = "ENOENT",
		[ENOMEM] = "ENOMEM",
		[ENOSPC] = "ENOSPC",
		[ENOTTY] = "ENOTTY",
		[EOPNOTSUPP] = "EOPNOTSUPP",
		[EOVERFLOW] = "EOVERFLOW",
		[EPERM] = "EPERM",
	};

	err = abs(err);
	return err < (int)ARRAY_SIZE(names) && names[err] ? names[err] : "an unlisted errno";
}
