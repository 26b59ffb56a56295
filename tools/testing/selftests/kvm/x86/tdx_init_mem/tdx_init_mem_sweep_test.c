// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every ioctl and every capability of KVM on a TD, whether it makes sense or not: with
 * zeroes, with ones, with noise, and with what KVM itself said before.  Each may be
 * refused, what is about the state of the guest must be; none may warn, give up on the
 * VM, or leave something behind.
 *
 *	TDX_INIT_MEM_SEED=7 ./tdx_init_mem_sweep_test	# other noise
 */
#include <sys/ioctl.h>

#include "tdx_init_mem.h"

/* As large as any argument, and room for its array. */
#define ARGUMENT_SIZE (4 * PAGE_SIZE)

/* How often each is tried with noise. */
#define NOISE 4

/* Past the last capability there is, and how many are tried between two looks. */
#define NR_CAPS 320
#define CAPS_AT_ONCE 16

struct request {
	const char *name;
	unsigned long ioctl;
	bool fd;     /* success is a file descriptor */
	bool hidden; /* it is about what only the guest knows: never a success */
};

#define REQUEST(_ioctl)                       \
	{                                     \
#_ioctl, _ioctl, false, false \
	}
#define REQUEST_FD(_ioctl)                   \
	{                                    \
#_ioctl, _ioctl, true, false \
	}
#define REQUEST_HIDDEN(_ioctl)               \
	{                                    \
#_ioctl, _ioctl, false, true \
	}

/*
 * Not KVM_RUN: there is nothing to run.  What tdx_init_mem_nested_test.c has is left to
 * it, since nothing can be told of a kernel whose memory was corrupted.
 */
static const struct request vcpu_requests[] = {
	REQUEST_HIDDEN(KVM_GET_REGS),
	REQUEST_HIDDEN(KVM_SET_REGS),
	REQUEST_HIDDEN(KVM_GET_SREGS),
	REQUEST_HIDDEN(KVM_SET_SREGS),
	REQUEST(KVM_GET_SREGS2),
	REQUEST(KVM_SET_SREGS2),
	REQUEST(KVM_TRANSLATE),
	REQUEST(KVM_INTERRUPT),
	REQUEST(KVM_GET_MSRS),
	REQUEST(KVM_SET_MSRS),
	REQUEST(KVM_SET_CPUID),
	REQUEST(KVM_GET_CPUID2),
	REQUEST(KVM_GET_FPU),
	REQUEST(KVM_SET_FPU),
	REQUEST_HIDDEN(KVM_GET_LAPIC),
	REQUEST_HIDDEN(KVM_SET_LAPIC),
	REQUEST(KVM_TPR_ACCESS_REPORTING),
	REQUEST(KVM_SET_VAPIC_ADDR),
	REQUEST(KVM_GET_MP_STATE),
	REQUEST(KVM_SET_MP_STATE),
	REQUEST(KVM_NMI),
	REQUEST(KVM_SMI),
	REQUEST_HIDDEN(KVM_SET_GUEST_DEBUG),
	REQUEST(KVM_X86_SETUP_MCE),
	REQUEST(KVM_X86_SET_MCE),
	REQUEST(KVM_GET_VCPU_EVENTS),
	REQUEST_HIDDEN(KVM_GET_DEBUGREGS),
	REQUEST_HIDDEN(KVM_SET_DEBUGREGS),
	REQUEST(KVM_ENABLE_CAP),
	REQUEST(KVM_GET_XSAVE),
	REQUEST(KVM_GET_XSAVE2),
	REQUEST(KVM_SET_XSAVE),
	REQUEST_HIDDEN(KVM_GET_XCRS),
	REQUEST_HIDDEN(KVM_SET_XCRS),
	REQUEST(KVM_SET_TSC_KHZ),
	REQUEST(KVM_GET_TSC_KHZ),
	REQUEST(KVM_KVMCLOCK_CTRL),
	REQUEST(KVM_GET_SUPPORTED_HV_CPUID),
	REQUEST(KVM_SET_DEVICE_ATTR),
	REQUEST(KVM_GET_DEVICE_ATTR),
	REQUEST(KVM_HAS_DEVICE_ATTR),
	REQUEST(KVM_XEN_VCPU_GET_ATTR),
	REQUEST(KVM_XEN_VCPU_SET_ATTR),
	REQUEST(KVM_GET_ONE_REG),
	REQUEST(KVM_SET_ONE_REG),
	REQUEST(KVM_MEMORY_ENCRYPT_OP),
	REQUEST(KVM_PRE_FAULT_MEMORY),
	REQUEST_FD(KVM_GET_STATS_FD),
};

static const struct request vm_requests[] = {
	REQUEST(KVM_GET_DIRTY_LOG),
	REQUEST(KVM_CLEAR_DIRTY_LOG),
	REQUEST(KVM_RESET_DIRTY_RINGS),
	REQUEST(KVM_SET_NR_MMU_PAGES),
	REQUEST(KVM_GET_NR_MMU_PAGES),
	REQUEST(KVM_SET_USER_MEMORY_REGION),
	REQUEST(KVM_SET_USER_MEMORY_REGION2),
	REQUEST(KVM_SET_MEMORY_ATTRIBUTES),
	REQUEST(KVM_SET_TSS_ADDR),
	REQUEST(KVM_SET_IDENTITY_MAP_ADDR),
	REQUEST(KVM_CREATE_IRQCHIP),
	REQUEST(KVM_IRQ_LINE),
	REQUEST(KVM_IRQ_LINE_STATUS),
	REQUEST(KVM_GET_IRQCHIP),
	REQUEST(KVM_SET_IRQCHIP),
	REQUEST(KVM_CREATE_PIT2),
	REQUEST(KVM_GET_PIT2),
	REQUEST(KVM_SET_PIT2),
	REQUEST(KVM_REINJECT_CONTROL),
	REQUEST(KVM_SET_GSI_ROUTING),
	REQUEST(KVM_IRQFD),
	REQUEST(KVM_IOEVENTFD),
	REQUEST(KVM_SET_BOOT_CPU_ID),
	REQUEST(KVM_XEN_HVM_CONFIG),
	REQUEST(KVM_XEN_HVM_GET_ATTR),
	REQUEST(KVM_XEN_HVM_EVTCHN_SEND),
	REQUEST(KVM_SET_CLOCK),
	REQUEST(KVM_GET_CLOCK),
	REQUEST(KVM_SET_TSC_KHZ),
	REQUEST(KVM_GET_TSC_KHZ),
	REQUEST(KVM_SIGNAL_MSI),
	REQUEST(KVM_SET_PMU_EVENT_FILTER),
	REQUEST(KVM_X86_SET_MSR_FILTER),
	REQUEST(KVM_MEMORY_ENCRYPT_OP),
	REQUEST(KVM_MEMORY_ENCRYPT_REG_REGION),
	REQUEST(KVM_MEMORY_ENCRYPT_UNREG_REGION),
	REQUEST(KVM_SET_DEVICE_ATTR),
	REQUEST(KVM_GET_DEVICE_ATTR),
	REQUEST(KVM_HAS_DEVICE_ATTR),
	REQUEST(KVM_ENABLE_CAP),
	REQUEST_FD(KVM_CREATE_DEVICE),
	REQUEST_FD(KVM_CREATE_GUEST_MEMFD),
	REQUEST_FD(KVM_GET_STATS_FD),
};

enum stage {
	STAGE_VCPU_CREATED,
	STAGE_POPULATED,
	STAGE_FINALIZED,
};

FIXTURE(sweep)
{
	struct td td;
	struct kvm_vcpu *vcpu;
	u8 *argument;
	u64 random;
	unsigned int accepted;
	unsigned int exposed; /* of those, what is hidden */
};

FIXTURE_VARIANT(sweep)
{
	enum stage stage;
};

FIXTURE_VARIANT_ADD(sweep, vcpu_created) { STAGE_VCPU_CREATED };
FIXTURE_VARIANT_ADD(sweep, populated) { STAGE_POPULATED };
FIXTURE_VARIANT_ADD(sweep, finalized) { STAGE_FINALIZED };

FIXTURE_SETUP(sweep)
{
	td_create(&self->td);
	self->argument = td_mmap(ARGUMENT_SIZE);
	self->random = tdx_host_seed();
	self->vcpu = vm_tdx_vcpu_add_uninit(self->td.vm, 1);
	if (variant->stage >= STAGE_POPULATED) {
		vm_tdx_init_vcpu(self->vcpu);
		ASSERT_EQ(0, td_add(&self->td, 0, TD_NR_PAGES));
	}
	if (variant->stage >= STAGE_FINALIZED)
		vm_tdx_finalize(self->td.vm);
}

FIXTURE_TEARDOWN(sweep)
{
	printf("# %u requests were accepted\n", self->accepted);
	td_destroy(&self->td);
	munmap(self->argument, ARGUMENT_SIZE);
	td_audit(_metadata);
}

static void sweep_try(FIXTURE_DATA(sweep) * self, int fd, const struct request *request)
{
	int r = ioctl(fd, request->ioctl, self->argument);

	self->accepted += r >= 0;
	self->exposed += r >= 0 && request->hidden;
	if (r >= 0 && request->fd)
		close(r);
}

/* Says who it was: what KVM says is in the kernel log only. */
static void sweep_look(struct __test_metadata *_metadata, FIXTURE_DATA(sweep) * self,
		       const char *name, const char *with)
{
	struct tdx_audit_report report;

	tdx_audit_scan(&report);
	EXPECT_TRUE(tdx_audit_is_clean(&report))
	{
		TH_LOG("%s with %s: %s", name, with, report.first);
	}
	EXPECT_FALSE(vm_tdx_is_dead(self->td.vm))
	{
		TH_LOG("%s with %s: KVM gave up on the VM", name, with);
	}
	EXPECT_EQ(0, self->exposed)
	{
		TH_LOG("%s with %s: a success, though no state of the guest is KVM's", name, with);
	}
}

static void fill_noise(FIXTURE_DATA(sweep) * self)
{
	unsigned int i;

	/* Sparse: most reserved bits are zero, and lists short. */
	for (i = 0; i < ARGUMENT_SIZE / sizeof(u64); i++) {
		u64 value = td_random(&self->random);

		((u64 *)self->argument)[i] = value & td_random(&self->random) &
					     (i % 3 ? 0x0000000f0000000full : ~0ull);
	}
}

static void sweep(struct __test_metadata *_metadata, FIXTURE_DATA(sweep) * self, int fd,
		  const struct request *requests, unsigned int nr)
{
	unsigned int i, n;

	for (i = 0; i < nr && !_metadata->exit_code; i++) {
		memset(self->argument, 0, ARGUMENT_SIZE);
		sweep_try(self, fd, &requests[i]);
		memset(self->argument, 0xff, ARGUMENT_SIZE);
		sweep_try(self, fd, &requests[i]);
		for (n = 0; n < NOISE; n++) {
			fill_noise(self);
			sweep_try(self, fd, &requests[i]);
		}
		sweep_look(_metadata, self, requests[i].name, "anything");
	}

	/* A request that reads is followed by the one that writes the same. */
	memset(self->argument, 0, ARGUMENT_SIZE);
	for (i = 0; i < nr && !_metadata->exit_code; i++) {
		sweep_try(self, fd, &requests[i]);
		sweep_look(_metadata, self, requests[i].name, "the former answer");
	}
}

TD_TEST_F(sweep, vcpu_requests_are_survived)
{
	sweep(_metadata, self, self->vcpu->fd, vcpu_requests, ARRAY_SIZE(vcpu_requests));
}

TD_TEST_F(sweep, vm_requests_are_survived)
{
	sweep(_metadata, self, self->td.vm->fd, vm_requests, ARRAY_SIZE(vm_requests));
}

static void sweep_caps(struct __test_metadata *_metadata, FIXTURE_DATA(sweep) * self, int fd)
{
	struct kvm_enable_cap *cap = (struct kvm_enable_cap *)self->argument;
	static const struct request request = REQUEST(KVM_ENABLE_CAP);
	static const u64 args[] = { 0, 1, 2, ~0ull };
	unsigned int i, number;
	char with[32];

	for (number = 1; number < NR_CAPS && !_metadata->exit_code; number++) {
		for (i = 0; i < ARRAY_SIZE(args); i++) {
			*cap = (struct kvm_enable_cap) { .cap = number, .args = { args[i] } };
			sweep_try(self, fd, &request);
		}
		if (number % CAPS_AT_ONCE)
			continue;
		snprintf(with, sizeof(with), "capability %u to %u", number - CAPS_AT_ONCE + 1,
			 number);
		sweep_look(_metadata, self, request.name, with);
	}
}

TD_TEST_F(sweep, vcpu_capabilities_are_survived)
{
	sweep_caps(_metadata, self, self->vcpu->fd);
}

TD_TEST_F(sweep, vm_capabilities_are_survived)
{
	sweep_caps(_metadata, self, self->td.vm->fd);
}

#define TD_DISRUPTS "no kernel is known to survive all ioctls"
#include "tdx_init_mem_main.h"
