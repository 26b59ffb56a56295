// SPDX-License-Identifier: GPL-2.0-only
/* VMCS fields by encoding. Width, access and the high half follow from the encoding. */
#include <assert.h>

#include "cpu/vmcs.h"

static const struct vmxr_field fields[] = {
	/* 16-bit control */
	{ 0x0000, "VPID" },
	{ 0x0002, "posted-interrupt notification vector" },
	{ 0x0004, "EPTP index" },
	{ 0x0006, "HLAT prefix size" },
	{ 0x0008, "last PID-pointer index" },
	/* 16-bit guest state */
	{ 0x0800, "guest ES selector" },
	{ 0x0802, "guest CS selector" },
	{ 0x0804, "guest SS selector" },
	{ 0x0806, "guest DS selector" },
	{ 0x0808, "guest FS selector" },
	{ 0x080a, "guest GS selector" },
	{ 0x080c, "guest LDTR selector" },
	{ 0x080e, "guest TR selector" },
	{ 0x0810, "guest interrupt status" },
	{ 0x0812, "PML index" },
	{ 0x0814, "guest UINV" },
	/* 16-bit host state */
	{ 0x0c00, "host ES selector" },
	{ 0x0c02, "host CS selector" },
	{ 0x0c04, "host SS selector" },
	{ 0x0c06, "host DS selector" },
	{ 0x0c08, "host FS selector" },
	{ 0x0c0a, "host GS selector" },
	{ 0x0c0c, "host TR selector" },
	/* 64-bit control */
	{ 0x2000, "I/O bitmap A" },
	{ 0x2002, "I/O bitmap B" },
	{ 0x2004, "MSR bitmaps" },
	{ 0x2006, "VM-exit MSR-store address" },
	{ 0x2008, "VM-exit MSR-load address" },
	{ 0x200a, "VM-entry MSR-load address" },
	{ 0x200c, "executive-VMCS pointer" },
	{ 0x200e, "PML address" },
	{ 0x2010, "TSC offset" },
	{ 0x2012, "virtual-APIC address" },
	{ 0x2014, "APIC-access address" },
	{ 0x2016, "posted-interrupt descriptor address" },
	{ 0x2018, "VM-function controls" },
	{ 0x201a, "EPT pointer" },
	{ 0x201c, "EOI-exit bitmap 0" },
	{ 0x201e, "EOI-exit bitmap 1" },
	{ 0x2020, "EOI-exit bitmap 2" },
	{ 0x2022, "EOI-exit bitmap 3" },
	{ 0x2024, "EPTP-list address" },
	{ 0x2026, "VMREAD-bitmap address" },
	{ 0x2028, "VMWRITE-bitmap address" },
	{ 0x202a, "virtualization-exception information address" },
	{ 0x202c, "XSS-exiting bitmap" },
	{ 0x202e, "ENCLS-exiting bitmap" },
	{ 0x2030, "sub-page-permission-table pointer" },
	{ 0x2032, "TSC multiplier" },
	{ 0x2034, "tertiary processor-based controls" },
	{ 0x2036, "ENCLV-exiting bitmap" },
	{ 0x2038, "low PASID directory address" },
	{ 0x203a, "high PASID directory address" },
	{ 0x203c, "shared EPT pointer" },
	{ 0x203e, "PCONFIG-exiting bitmap" },
	{ 0x2040, "HLAT pointer" },
	{ 0x2042, "PID-pointer table address" },
	{ 0x2044, "secondary VM-exit controls" },
	{ 0x204a, "IA32_SPEC_CTRL mask" },
	{ 0x204c, "IA32_SPEC_CTRL shadow" },
	/* 64-bit read-only */
	{ 0x2400, "guest-physical address" },
	/* 64-bit guest state */
	{ 0x2800, "VMCS link pointer" },
	{ 0x2802, "guest IA32_DEBUGCTL" },
	{ 0x2804, "guest IA32_PAT" },
	{ 0x2806, "guest IA32_EFER" },
	{ 0x2808, "guest IA32_PERF_GLOBAL_CTRL" },
	{ 0x280a, "guest PDPTE0" },
	{ 0x280c, "guest PDPTE1" },
	{ 0x280e, "guest PDPTE2" },
	{ 0x2810, "guest PDPTE3" },
	{ 0x2812, "guest IA32_BNDCFGS" },
	{ 0x2814, "guest IA32_RTIT_CTL" },
	{ 0x2816, "guest IA32_LBR_CTL" },
	{ 0x2818, "guest IA32_PKRS" },
	/* 64-bit host state */
	{ 0x2c00, "host IA32_PAT" },
	{ 0x2c02, "host IA32_EFER" },
	{ 0x2c04, "host IA32_PERF_GLOBAL_CTRL" },
	{ 0x2c06, "host IA32_PKRS" },
	/* 32-bit control */
	{ 0x4000, "pin-based controls" },
	{ 0x4002, "primary processor-based controls" },
	{ 0x4004, "exception bitmap" },
	{ 0x4006, "page-fault error-code mask" },
	{ 0x4008, "page-fault error-code match" },
	{ 0x400a, "CR3-target count" },
	{ 0x400c, "primary VM-exit controls" },
	{ 0x400e, "VM-exit MSR-store count" },
	{ 0x4010, "VM-exit MSR-load count" },
	{ 0x4012, "VM-entry controls" },
	{ 0x4014, "VM-entry MSR-load count" },
	{ 0x4016, "VM-entry interruption information" },
	{ 0x4018, "VM-entry exception error code" },
	{ 0x401a, "VM-entry instruction length" },
	{ 0x401c, "TPR threshold" },
	{ 0x401e, "secondary processor-based controls" },
	{ 0x4020, "PLE gap" },
	{ 0x4022, "PLE window" },
	{ 0x4024, "notify window" },
	/* 32-bit read-only */
	{ 0x4400, "VM-instruction error" },
	{ 0x4402, "exit reason" },
	{ 0x4404, "VM-exit interruption information" },
	{ 0x4406, "VM-exit interruption error code" },
	{ 0x4408, "IDT-vectoring information" },
	{ 0x440a, "IDT-vectoring error code" },
	{ 0x440c, "VM-exit instruction length" },
	{ 0x440e, "VM-exit instruction information" },
	/* 32-bit guest state */
	{ 0x4800, "guest ES limit" },
	{ 0x4802, "guest CS limit" },
	{ 0x4804, "guest SS limit" },
	{ 0x4806, "guest DS limit" },
	{ 0x4808, "guest FS limit" },
	{ 0x480a, "guest GS limit" },
	{ 0x480c, "guest LDTR limit" },
	{ 0x480e, "guest TR limit" },
	{ 0x4810, "guest GDTR limit" },
	{ 0x4812, "guest IDTR limit" },
	{ 0x4814, "guest ES access rights" },
	{ 0x4816, "guest CS access rights" },
	{ 0x4818, "guest SS access rights" },
	{ 0x481a, "guest DS access rights" },
	{ 0x481c, "guest FS access rights" },
	{ 0x481e, "guest GS access rights" },
	{ 0x4820, "guest LDTR access rights" },
	{ 0x4822, "guest TR access rights" },
	{ 0x4824, "guest interruptibility state" },
	{ 0x4826, "guest activity state" },
	{ 0x4828, "guest SMBASE" },
	{ 0x482a, "guest IA32_SYSENTER_CS" },
	{ 0x482e, "VMX-preemption timer value" },
	/* 32-bit host state */
	{ 0x4c00, "host IA32_SYSENTER_CS" },
	/* natural-width control */
	{ 0x6000, "CR0 guest/host mask" },
	{ 0x6002, "CR4 guest/host mask" },
	{ 0x6004, "CR0 read shadow" },
	{ 0x6006, "CR4 read shadow" },
	{ 0x6008, "CR3-target value 0" },
	{ 0x600a, "CR3-target value 1" },
	{ 0x600c, "CR3-target value 2" },
	{ 0x600e, "CR3-target value 3" },
	/* natural-width read-only */
	{ 0x6400, "exit qualification" },
	{ 0x6402, "I/O RCX" },
	{ 0x6404, "I/O RSI" },
	{ 0x6406, "I/O RDI" },
	{ 0x6408, "I/O RIP" },
	{ 0x640a, "guest-linear address" },
	/* natural-width guest state */
	{ 0x6800, "guest CR0" },
	{ 0x6802, "guest CR3" },
	{ 0x6804, "guest CR4" },
	{ 0x6806, "guest ES base" },
	{ 0x6808, "guest CS base" },
	{ 0x680a, "guest SS base" },
	{ 0x680c, "guest DS base" },
	{ 0x680e, "guest FS base" },
	{ 0x6810, "guest GS base" },
	{ 0x6812, "guest LDTR base" },
	{ 0x6814, "guest TR base" },
	{ 0x6816, "guest GDTR base" },
	{ 0x6818, "guest IDTR base" },
	{ 0x681a, "guest DR7" },
	{ 0x681c, "guest RSP" },
	{ 0x681e, "guest RIP" },
	{ 0x6820, "guest RFLAGS" },
	{ 0x6822, "guest pending debug exceptions" },
	{ 0x6824, "guest IA32_SYSENTER_ESP" },
	{ 0x6826, "guest IA32_SYSENTER_EIP" },
	{ 0x6828, "guest IA32_S_CET" },
	{ 0x682a, "guest SSP" },
	{ 0x682c, "guest IA32_INTERRUPT_SSP_TABLE_ADDR" },
	/* natural-width host state */
	{ 0x6c00, "host CR0" },
	{ 0x6c02, "host CR3" },
	{ 0x6c04, "host CR4" },
	{ 0x6c06, "host FS base" },
	{ 0x6c08, "host GS base" },
	{ 0x6c0a, "host TR base" },
	{ 0x6c0c, "host GDTR base" },
	{ 0x6c0e, "host IDTR base" },
	{ 0x6c10, "host IA32_SYSENTER_ESP" },
	{ 0x6c12, "host IA32_SYSENTER_EIP" },
	{ 0x6c14, "host RSP" },
	{ 0x6c16, "host RIP" },
	{ 0x6c18, "host IA32_S_CET" },
	{ 0x6c1a, "host SSP" },
	{ 0x6c1c, "host IA32_INTERRUPT_SSP_TABLE_ADDR" },
};

#define NR_FIELDS (sizeof(fields) / sizeof(fields[0]))

static_assert(VMXR_VMCS_FIELDS_OFFSET + 8 * NR_FIELDS <= VMXR_VMCS_SIZE,
	      "the fields fit into a VMCS region");

/*
 * Encoding: bit 0 high half of a 64-bit field, bits 9:1 index, bits 11:10 type,
 * bits 14:13 width.
 */
static bool is_64bit(uint32_t encoding)
{
	return ((encoding >> 13) & 3) == 1;
}

static bool is_high_half(uint32_t encoding)
{
	return is_64bit(encoding) && (encoding & 1);
}

size_t vmxr_nr_fields(void)
{
	return NR_FIELDS;
}

const struct vmxr_field *vmxr_field(size_t index)
{
	return &fields[index];
}

int vmxr_field_find(uint32_t encoding)
{
	size_t low = 0, high = NR_FIELDS;
	uint32_t wanted = is_high_half(encoding) ? encoding & ~1U : encoding;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (fields[mid].encoding == wanted)
			return (int)mid;
		if (fields[mid].encoding < wanted)
			low = mid + 1;
		else
			high = mid;
	}
	return -1;
}

unsigned int vmxr_field_width(uint32_t encoding)
{
	static const unsigned int widths[] = { 16, 64, 32, 64 };

	return is_high_half(encoding) ? 32 : widths[(encoding >> 13) & 3];
}

bool vmxr_field_is_read_only(uint32_t encoding)
{
	return ((encoding >> 10) & 3) == 1;
}

static uint64_t field_hpa(uint64_t vmcs, int index, uint32_t encoding)
{
	return vmcs + VMXR_VMCS_FIELDS_OFFSET + 8 * (uint64_t)index +
	       (is_high_half(encoding) ? 4 : 0);
}

bool vmxr_vmcs_read(uint64_t vmcs, int index, uint32_t encoding, uint64_t *value,
		    const struct vmxr_ops *ops, void *opaque)
{
	*value = 0;
	return ops->phys_read(opaque, field_hpa(vmcs, index, encoding), value,
			      vmxr_field_width(encoding) / 8);
}

bool vmxr_vmcs_write(uint64_t vmcs, int index, uint32_t encoding, uint64_t value,
		     const struct vmxr_ops *ops, void *opaque)
{
	return ops->phys_write(opaque, field_hpa(vmcs, index, encoding), &value,
			       vmxr_field_width(encoding) / 8);
}
