// SPDX-License-Identifier: GPL-2.0-only
/*
 * A TD's vCPU has no nested VMX, and no SMM.  Requests for them have to be refused: what
 * KVM keeps of an ordinary vCPU for these is not there, and who looks takes other memory
 * for it.
 *
 *	scripts/tdx-init-mem run --kernel v7.3 --test nested
 *
 * The last cases corrupt memory of a kernel that has the bug.
 */
#include <sys/ioctl.h>

#include "tdx_init_mem.h"

#define NESTED_SIZE (sizeof(struct kvm_nested_state) + sizeof(struct kvm_vmx_nested_state_data))

FIXTURE(nested)
{
	struct td td;
	struct kvm_nested_state *state;
};

FIXTURE_SETUP(nested)
{
	td_create(&self->td);
	self->state = calloc(1, NESTED_SIZE);
	ASSERT_NE(NULL, self->state);
}

FIXTURE_TEARDOWN(nested)
{
	free(self->state);
	td_destroy(&self->td);
	td_audit(_metadata);
}

/* Success, or an answer about a VMCS, is one about somebody else's memory. */
TD_TEST_F(nested, state_cannot_be_read)
{
	self->state->size = sizeof(*self->state);
	EXPECT_ERRNO(EINVAL, __vcpu_ioctl(self->td.vcpu, KVM_GET_NESTED_STATE, self->state));
	self->state->size = NESTED_SIZE;
	EXPECT_ERRNO(EINVAL, __vcpu_ioctl(self->td.vcpu, KVM_GET_NESTED_STATE, self->state));
	EXPECT_FALSE(vm_tdx_is_dead(self->td.vm));
}

static void nested_off(struct kvm_nested_state *state)
{
	state->size = sizeof(*state);
	state->format = KVM_STATE_NESTED_FORMAT_VMX;
	state->hdr.vmx.vmxon_pa = -1ull;
	state->hdr.vmx.vmcs12_pa = -1ull;
}

/* Even the state of a vCPU that never was in VMX operation, by which migration starts. */
TD_TEST_F(nested, state_cannot_be_written)
{
	nested_off(self->state);
	EXPECT_ERRNO(EINVAL, __vcpu_ioctl(self->td.vcpu, KVM_SET_NESTED_STATE, self->state));
	EXPECT_FALSE(vm_tdx_is_dead(self->td.vm));
}

/* To enter SMM is to leave nested VMX. Needs CONFIG_KVM_SMM, else KVM has no SMM to enter. */
TD_TEST_F(nested, smm_cannot_be_entered)
{
	struct kvm_vcpu_events events = {
		.flags = KVM_VCPUEVENT_VALID_SMM,
		.smi.smm = 1,
	};

	EXPECT_ERRNO(EINVAL, __vcpu_ioctl(self->td.vcpu, KVM_SET_VCPU_EVENTS, &events));
	EXPECT_FALSE(vm_tdx_is_dead(self->td.vm));
}

#define TD_DISRUPTS "kernels up to 7.3 write to memory of others"
#include "tdx_init_mem_main.h"
