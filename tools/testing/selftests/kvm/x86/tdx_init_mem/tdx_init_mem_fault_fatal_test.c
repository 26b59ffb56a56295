// SPDX-License-Identifier: GPL-2.0-only
/*
 * SEAMCALLs that fail where KVM has no answer: it warns, once, and mostly gives up on
 * the VM.  User space is told -EIO, by this ioctl and by every later one, and closing
 * the VM leaves nothing behind.
 *
 * In a program of its own, since a kernel that has warned is not trusted any more.
 *
 * Not here is what leaves something behind by design, as the module refuses to give
 * back what KVM has lent it.  All of it warns on all kernels:
 *
 * TDH.MEM.RANGE.BLOCK, MEM.PAGE.REMOVE, PHYMEM.PAGE.WBINVD
 *	Up to 6.18 the page stays with the TD, pinned.  Since 6.19 it is freed all the
 *	same, with the TD still the owner, and whoever gets it next is in trouble: see
 *	tdx_init_mem_busy_fatal_test.c.
 * TDH.MEM.TRACK
 *	PAGE.REMOVE fails in consequence.
 * TDH.VP.FLUSH, MNG.VPFLUSHDONE, PHYMEM.CACHE.WB, MNG.KEY.FREEID
 *	The KeyID stays in use, with all pages of the TD; they are leaked on purpose.
 * TDH.PHYMEM.PAGE.RECLAIM
 *	So is the one page, and with it the TDR.
 *
 * A charge that is refused is here because KVM's answer to it may warn as well.
 */
#include <sys/stat.h>

#include "tdx_init_mem_fault.h"

#define KVM_TDX_SOURCE "vmx/tdx.c:"

FIXTURE(fatal)
{
	struct fault f;
};

/*
 * @step:	who is told
 * @errs:	what
 * @first:	which call of @leaf fails first
 * @nr:		how many do
 * @warns:	kernels since then warn; until then they do not, and the VM lives
 * @dies:	kernels since then give up on the VM
 */
FIXTURE_VARIANT(fatal)
{
	unsigned int step;
	unsigned int leaf;
	u64 status;
	u64 first;
	u64 nr;
	struct tdx_errno errs[TDX_ERRNO_MAX];
	unsigned int warns;
	unsigned int dies;
};

#define FATAL(_name) FIXTURE_VARIANT_ADD(fatal, _name)

/* clang-format off */
#define EIO_ALWAYS { TDX_ERRNO(EIO) }
#define NO_ERROR { TDX_ERRNO(TDX_NO_ERROR) }
#define ALWAYS 0
/* TDX_BUG_ON() of every status, be the VM finished or not. */
#define SINCE_6_19 TDX_KERNEL(6, 19)

FATAL(mng_create_invalid)
	{ STEP_INIT_VM, TDH_MNG_CREATE, INVALID(RCX), 1, 1, EIO_ALWAYS, ALWAYS, SINCE_6_19 };
FATAL(first_addcx_invalid)
	{ STEP_INIT_VM, TDH_MNG_ADDCX, INVALID(RCX), 1, 1, EIO_ALWAYS, ALWAYS, SINCE_6_19 };
FATAL(last_addcx_invalid)
	{ STEP_INIT_VM, TDH_MNG_ADDCX, INVALID(RCX), 6, 1, EIO_ALWAYS, ALWAYS, SINCE_6_19 };
FATAL(mng_init_busy)
	{ STEP_INIT_VM, TDH_MNG_INIT, BUSY(RCX), 1, 1, EIO_ALWAYS, ALWAYS, SINCE_6_19 };
FATAL(key_generation_failed)
	{ STEP_INIT_VM, TDH_MNG_KEY_CONFIG, TDX_KEY_GENERATION_FAILED, 1, 1, EIO_ALWAYS, ALWAYS,
	  ALWAYS };
FATAL(vp_create_busy)
	{ STEP_INIT_VCPU, TDH_VP_CREATE, BUSY(RDX), 1, 1, EIO_ALWAYS, ALWAYS, ALWAYS };
FATAL(first_vp_addcx_invalid)
	{ STEP_INIT_VCPU, TDH_VP_ADDCX, INVALID(RCX), 1, 1, EIO_ALWAYS, ALWAYS, ALWAYS };
FATAL(second_vp_addcx_invalid)
	{ STEP_INIT_VCPU, TDH_VP_ADDCX, INVALID(RCX), 2, 1, EIO_ALWAYS, ALWAYS, ALWAYS };
FATAL(vp_init_busy)
	{ STEP_INIT_VCPU, TDH_VP_INIT, BUSY(RCX), 1, 1, EIO_ALWAYS, ALWAYS, ALWAYS };
/* Nobody looks at what it returns: the next ioctl will tell. */
FATAL(vp_wr_invalid)
	{ STEP_INIT_VCPU, TDH_VP_WR, INVALID(RDX), 1, 1, NO_ERROR, ALWAYS, ALWAYS };
FATAL(sept_add_invalid)
	{ STEP_ADD, TDH_MEM_SEPT_ADD, INVALID(RCX), 2, 1, EIO_ALWAYS, ALWAYS, ALWAYS };
FATAL(page_add_invalid)
	{ STEP_ADD, TDH_MEM_PAGE_ADD, INVALID(RDX), 2, 1, EIO_ALWAYS, SINCE_6_19, SINCE_6_19 };
FATAL(mr_extend_busy)
	{ STEP_ADD, TDH_MR_EXTEND, BUSY(RDX), 2, 1, EIO_ALWAYS, SINCE_6_19, SINCE_6_19 };
FATAL(mr_finalize_invalid)
	{ STEP_FINALIZE, TDH_MR_FINALIZE, INVALID(RCX), 1, 1, EIO_ALWAYS, ALWAYS, ALWAYS };
/* clang-format on */

FIXTURE_SETUP(fatal)
{
	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	fault_create(&self->f);
	ASSERT_TRUE(tdx_audit_warn_again());
	tdx_audit_expect(KVM_TDX_SOURCE);
}

FIXTURE_TEARDOWN(fatal)
{
	tdx_emul_reset();
	fault_close(&self->f);
	fault_audit(_metadata, &self->f);
}

static bool fatal_since(unsigned int kernel)
{
	return tdx_host_kernel() >= kernel;
}

TD_TEST_F(fatal, says_so_and_leaves_nothing)
{
	struct tdx_audit_report report;
	struct fault *f = &self->f;
	u64 rule;

	rule = fault_arm(_metadata, variant->leaf, variant->status, variant->first, variant->nr);
	ASSERT_EQ(0, fault_live(_metadata, f, 0, variant->step));
	fault_expect(_metadata, f, variant->step, variant->errs, fault_try(f, variant->step));
	fault_expect_hits(_metadata, rule, variant->nr);
	EXPECT_EQ(fatal_since(variant->dies), vm_tdx_is_dead(f->td.vm))
	{
		TH_LOG("after that status the VM is to be %s",
		       fatal_since(variant->dies) ? "dead" : "as alive as before");
	}
	if (vm_tdx_is_dead(f->td.vm))
		EXPECT_RESULT(-EIO, fault_finalize(f));

	fault_close(f);
	tdx_audit_scan(&report);
	td_audit_expect(_metadata, &report);
	EXPECT_EQ(fatal_since(variant->warns), report.expected)
	{
		TH_LOG("the kernel complained %u times of " KVM_TDX_SOURCE, report.expected);
	}
}

/*
 * The misc controller refuses a TD beyond the limit of the cgroup, however often.  As of
 * 7.3 KVM gives back what it was not charged for: each refusal lifts the limit by one.
 */
FIXTURE(limit)
{
	struct kvm_vm *vm;
	struct kvm_vm *excess;
	char cgroup[64];
};

#define CGROUP_ROOT "/sys/fs/cgroup"
#define REFUSALS 3

static bool limit_write(const char *directory, const char *file, const char *text)
{
	char path[128];
	bool good;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return good;
}

/* TDs that the cgroup is charged for, -1 where that cannot be told. */
static int limit_current(const char *directory)
{
	char path[128], name[32];
	int value, current = -1;
	FILE *file;

	snprintf(path, sizeof(path), "%s/misc.current", directory);
	file = fopen(path, "re");
	while (file && fscanf(file, "%31s %d", name, &value) == 2) {
		if (!strcmp(name, "tdx"))
			current = value;
	}
	if (file)
		fclose(file);
	return current;
}

FIXTURE_SETUP(limit)
{
	limit_write(CGROUP_ROOT, "cgroup.subtree_control", "+misc");
	snprintf(self->cgroup, sizeof(self->cgroup), CGROUP_ROOT "/tdx_init_mem.misc.%d", getpid());
	if (mkdir(self->cgroup, 0755))
		SKIP(return, "no cgroup to be had: errno %d", errno);
	if (!limit_write(self->cgroup, "misc.max", "tdx 1") ||
	    !limit_write(self->cgroup, "cgroup.procs", "0")) {
		rmdir(self->cgroup);
		SKIP(return, "no misc controller that counts TDs (CONFIG_CGROUP_MISC)");
	}

	self->vm = vm_tdx_create();
	self->excess = vm_tdx_create_uninit();
}

FIXTURE_TEARDOWN(limit)
{
	kvm_vm_free(self->excess);
	kvm_vm_free(self->vm);
	EXPECT_TRUE(limit_write(CGROUP_ROOT, "cgroup.procs", "0"));
	rmdir(self->cgroup);
	td_audit(_metadata);
}

TD_TEST_F(limit, refusal_changes_nothing)
{
	unsigned int i;

	EXPECT_EQ(1, limit_current(self->cgroup));
	for (i = 0; i < REFUSALS; i++) {
		ASSERT_EQ(-1, __vm_tdx_init_vm(self->excess))
		{
			TH_LOG("a TD beyond the limit of the cgroup, after %u refusals", i);
		}
		EXPECT_EQ(EBUSY, errno);
		EXPECT_EQ(1, limit_current(self->cgroup))
		{
			TH_LOG("refusal %u: want 1 TD charged, got %d", i,
			       limit_current(self->cgroup));
		}
	}
}

#define TD_DISRUPTS "kernels up to 7.3 lose count of TDs"
#include "tdx_init_mem_main.h"
