// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers by name, as QEMU lists them for a debugger. Handles are looked up
 * once per vCPU.
 */
#include <string.h>

#include "qemu/tdxq.h"

#define EFER_LMA (UINT64_C(1) << 10)

static const char *const gpr_names[VMXR_NR_GPRS] = {
	[VMXR_RAX] = "rax", [VMXR_RCX] = "rcx", [VMXR_RDX] = "rdx", [VMXR_RBX] = "rbx",
	[VMXR_RSP] = "rsp", [VMXR_RBP] = "rbp", [VMXR_RSI] = "rsi", [VMXR_RDI] = "rdi",
	[VMXR_R8] = "r8",   [VMXR_R9] = "r9",	[VMXR_R10] = "r10", [VMXR_R11] = "r11",
	[VMXR_R12] = "r12", [VMXR_R13] = "r13", [VMXR_R14] = "r14", [VMXR_R15] = "r15",
};

static const char *const reg_names[TDXQ_NR_REGS] = {
	[TDXQ_REG_RIP] = "rip",		[TDXQ_REG_CS] = "cs",	[TDXQ_REG_FS_BASE] = "fs_base",
	[TDXQ_REG_GS_BASE] = "gs_base", [TDXQ_REG_CR4] = "cr4", [TDXQ_REG_EFER] = "efer",
};

static struct qemu_plugin_register *find(const GArray *list, const char *name)
{
	for (guint i = 0; i < list->len; i++) {
		const qemu_plugin_reg_descriptor *desc =
			&g_array_index(list, qemu_plugin_reg_descriptor, i);

		if (!strcmp(desc->name, name))
			return desc->handle;
	}
	fprintf(stderr, "tdx-host: QEMU has no register %s\n", name);
	return NULL;
}

bool tdxq_regs_init(struct tdxq_vcpu *vcpu)
{
	GArray *list = qemu_plugin_get_registers();
	bool ok = true;

	vcpu->buf = g_byte_array_sized_new(16);
	for (size_t i = 0; i < VMXR_NR_GPRS; i++) {
		vcpu->gpr[i] = find(list, gpr_names[i]);
		ok = ok && vcpu->gpr[i];
	}
	for (size_t i = 0; i < TDXQ_NR_REGS; i++) {
		vcpu->reg[i] = find(list, reg_names[i]);
		ok = ok && vcpu->reg[i];
	}
	g_array_free(list, TRUE);
	return ok;
}

/* Reading appends to the buffer as many bytes as the register has. */
static uint64_t read_handle(struct tdxq_vcpu *vcpu, struct qemu_plugin_register *handle)
{
	uint64_t value = 0;

	g_byte_array_set_size(vcpu->buf, 0);
	if (!qemu_plugin_read_register(handle, vcpu->buf))
		g_error("tdx-host: a register cannot be read");
	memcpy(&value, vcpu->buf->data, MIN(vcpu->buf->len, sizeof(value)));
	return value;
}

uint64_t tdxq_read_gpr(struct tdxq_vcpu *vcpu, enum vmxr_gpr gpr)
{
	return read_handle(vcpu, vcpu->gpr[gpr]);
}

static void write_handle(struct tdxq_vcpu *vcpu, struct qemu_plugin_register *handle,
			 uint64_t value)
{
	g_byte_array_set_size(vcpu->buf, sizeof(value));
	memcpy(vcpu->buf->data, &value, sizeof(value));
	if (!qemu_plugin_write_register(handle, vcpu->buf))
		g_error("tdx-host: a register cannot be written");
}

void tdxq_write_gpr(struct tdxq_vcpu *vcpu, enum vmxr_gpr gpr, uint64_t value)
{
	write_handle(vcpu, vcpu->gpr[gpr], value);
}

uint64_t tdxq_read_reg(struct tdxq_vcpu *vcpu, enum tdxq_reg reg)
{
	return read_handle(vcpu, vcpu->reg[reg]);
}

void tdxq_write_reg(struct tdxq_vcpu *vcpu, enum tdxq_reg reg, uint64_t value)
{
	write_handle(vcpu, vcpu->reg[reg], value);
}

bool tdxq_in_long_mode(struct tdxq_vcpu *vcpu)
{
	return tdxq_read_reg(vcpu, TDXQ_REG_EFER) & EFER_LMA;
}

unsigned int tdxq_cpl(struct tdxq_vcpu *vcpu)
{
	return tdxq_read_reg(vcpu, TDXQ_REG_CS) & 3;
}
