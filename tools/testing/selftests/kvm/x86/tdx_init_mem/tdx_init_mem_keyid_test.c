// SPDX-License-Identifier: GPL-2.0-only
/*
 * A host has so many private KeyIDs, and each TD takes one: when they are used up the
 * next TD is refused, without harm to the others nor to itself, and each TD that is
 * gone makes room for exactly one.
 */
#include <sys/resource.h>

#include "tdx_init_mem.h"

#define CAPACITY_FILE "/sys/fs/cgroup/misc.capacity"

/* File descriptors of one VM of the library, and of everything else. */
#define FDS_PER_VM 4
#define FDS_BESIDES 64

/* More TDs than that take longer than a test may. */
#define MAX_KEYIDS 512

/* How many KeyIDs the host has, for everybody; 0 if it does not say. */
static unsigned int keyid_capacity(void)
{
	FILE *file = fopen(CAPACITY_FILE, "re");
	unsigned int capacity = 0;
	char line[64];

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "tdx %u", &capacity);
	if (file)
		fclose(file);
	return capacity;
}

static bool allow_files(unsigned int nr)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return false;
	if (limit.rlim_cur >= nr)
		return true;

	limit.rlim_cur = nr;
	if (limit.rlim_max < nr)
		limit.rlim_max = nr;
	return !setrlimit(RLIMIT_NOFILE, &limit);
}

FIXTURE(keyids)
{
	struct kvm_vm *vms[MAX_KEYIDS + 1];
	unsigned int nr_vms; /* with a KeyID each */
};

FIXTURE_SETUP(keyids)
{
	unsigned int capacity = keyid_capacity();

	if (capacity > MAX_KEYIDS)
		SKIP(return, "%u KeyIDs are too many to be used up", capacity);
	if (!allow_files(FDS_PER_VM * ((capacity ?: MAX_KEYIDS) + 1) + FDS_BESIDES))
		SKIP(return, "not enough file descriptors for %u TDs", capacity);
}

FIXTURE_TEARDOWN(keyids)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(self->vms); i++) {
		if (self->vms[i])
			kvm_vm_free(self->vms[i]);
	}
	td_audit(_metadata);
}

/* TDs until one is refused, which remains as vms[nr_vms], without a KeyID. */
static int use_up(FIXTURE_DATA(keyids) * self)
{
	while (self->nr_vms <= MAX_KEYIDS) {
		struct kvm_vm *vm = vm_tdx_create_uninit();

		self->vms[self->nr_vms] = vm;
		if (__vm_tdx_init_vm(vm))
			return -errno;
		self->nr_vms++;
	}

	return 0;
}

/* An image of one page, by the usual way. */
static void expect_works(struct __test_metadata *_metadata, struct kvm_vm *vm)
{
	struct td td = { .vm = vm };
	struct td_slot slot;

	td.source = td_mmap(PAGE_SIZE);
	td.vcpu = vm_tdx_vcpu_add(vm, 0);
	td_slot_create(&slot, &td, TD_SLOT, TD_GPA, 1);
	EXPECT_RESULT(0, td_add(&td, 0, 1));
	EXPECT_ERRNO(0, __vm_tdx_finalize(vm));
	td_slot_free(&slot);
	munmap(td.source, PAGE_SIZE);
}

TD_TEST_F(keyids, used_up_then_one_for_one)
{
	unsigned int capacity = keyid_capacity();
	struct kvm_vm *refused;
	int r = use_up(self);

	printf("# %u TDs, capacity %u\n", self->nr_vms, capacity);
	ASSERT_LT(1, self->nr_vms);
	EXPECT_EQ(-ENOSPC, r)
	{
		TH_LOG("INIT_VM without a KeyID: want ENOSPC, got %s", tdx_errno_name(r));
	}
	/* Others may have some on a host in use. */
	EXPECT_TRUE(!capacity || tdx_emul_lacks() || capacity == self->nr_vms)
	{
		TH_LOG("%u KeyIDs are for %u TDs", capacity, self->nr_vms);
	}

	/* No vCPU before INIT_VM succeeded; the refusal is repeatable. */
	refused = self->vms[self->nr_vms];
	EXPECT_EQ(-1, __vm_ioctl(refused, KVM_CREATE_VCPU, (void *)0ul));
	EXPECT_ERRNO(ENOSPC, __vm_tdx_init_vm(refused));

	/* The others do not notice. */
	expect_works(_metadata, self->vms[self->nr_vms - 1]);

	kvm_vm_free(self->vms[0]);
	self->vms[0] = vm_tdx_create_uninit();
	EXPECT_EQ(0, __vm_tdx_init_vm(refused))
	{
		TH_LOG("one TD is gone: want room for one, got %s", tdx_errno_name(errno));
	}
	EXPECT_ERRNO(ENOSPC, __vm_tdx_init_vm(self->vms[0]));
	expect_works(_metadata, refused);
}

#define TD_DISRUPTS "all KeyIDs are used up"
#include "tdx_init_mem_main.h"
