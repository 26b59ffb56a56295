// SPDX-License-Identifier: GPL-2.0-only
/*
 * Life of the module that serves TDs: kvm_intel goes and comes back, and the
 * TDX module, which stays, serves it as before.
 */
#include <sys/syscall.h>

#include "tdx_init_mem.h"

/* Where the emulated machine has it; elsewhere modprobe knows. */
#define MODULE_FILE "/modules/kvm-intel.ko"
#define RELOADS 3

static int module_unload(void)
{
	return syscall(SYS_delete_module, "kvm_intel", O_NONBLOCK) ? -errno : 0;
}

static int module_load(void)
{
	int r, fd = open(MODULE_FILE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return system("modprobe kvm_intel tdx=1") ? -ENOEXEC : 0;

	r = syscall(SYS_finit_module, fd, "tdx=1", 0) ? -errno : 0;
	close(fd);
	return r;
}

FIXTURE(module) {};

FIXTURE_SETUP(module)
{
}

FIXTURE_TEARDOWN(module)
{
	td_audit(_metadata);
}

/* From creation to the end, with pages added, removed and added again. */
static void live(struct __test_metadata *_metadata)
{
	struct td td;

	td_create(&td);
	EXPECT_EQ(0, td_add(&td, 0, TD_NR_PAGES));
	EXPECT_EQ(0, td_punch(&td, 0, TD_NR_PAGES / 2));
	td_complete(_metadata, &td);
	td_destroy(&td);
}

/* A VM that is there keeps the module in. */
TD_TEST_F(module, stays_while_a_td_lives)
{
	struct td td;

	td_create(&td);
	EXPECT_EQ(-EAGAIN, module_unload());
	EXPECT_EQ(0, td_add(&td, 0, 1));
	td_destroy(&td);
}

TD_TEST_F(module, reloads_and_serves_tds_as_before)
{
	unsigned int i;
	int r;

	for (i = 0; i < RELOADS; i++) {
		live(_metadata);
		r = module_unload();
		if (r == -EAGAIN || r == -EWOULDBLOCK)
			SKIP(return, "kvm_intel is in use by somebody else");
		if (r == -ENOENT)
			SKIP(return, "kvm_intel is built in");
		ASSERT_EQ(0, r);
		EXPECT_FALSE(is_tdx_enabled());
		ASSERT_EQ(0, module_load());
		ASSERT_TRUE(is_tdx_enabled());
	}
	live(_metadata);
}

#include "tdx_init_mem_main.h"
