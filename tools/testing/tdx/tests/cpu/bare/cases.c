// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the plugin promises to the code that runs on it, and what it relies on
 * in QEMU: skipping instructions, writing registers, branches taken in place
 * of flags, CPUID corrected wherever it lies, and faults at the right place.
 */
#include "bare.h"
#include "cases.h"

#define CR4_VMXE 0x2000
#define MSR_FEAT_CTL 0x3a
#define MSR_VMX_BASIC 0x480
#define ALIAS 0x40000000 /* second mapping of physical memory */

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs[4096] __attribute__((aligned(4096)));
static uint8_t code[8192] __attribute__((aligned(4096)));

static uint32_t cpuid(uint32_t leaf, uint32_t subleaf, char reg)
{
	uint32_t a = leaf, b, c = subleaf, d;

	asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return reg == 'a' ? a : reg == 'b' ? b : reg == 'c' ? c : d;
}

static uint64_t rdmsr(uint32_t index)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return (uint64_t)high << 32 | low;
}

static uint64_t read_cr4(void)
{
	uint64_t value;

	asm volatile("mov %%cr4, %0" : "=r"(value));
	return value;
}

static void write_cr4(uint64_t value)
{
	asm volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

/* VMXON, with a current VMCS if so wanted. */
static void enter_vmx(bool with_vmcs)
{
	uint64_t region = (uint64_t)vmxon_region, current = (uint64_t)vmcs;

	*(uint32_t *)vmxon_region = (uint32_t)rdmsr(MSR_VMX_BASIC);
	*(uint32_t *)vmcs = (uint32_t)rdmsr(MSR_VMX_BASIC);
	write_cr4(read_cr4() | CR4_VMXE);
	asm volatile("vmxon %0" : : "m"(region) : "cc", "memory");
	if (with_vmcs)
		asm volatile("vmptrld %0" : : "m"(current) : "cc", "memory");
}

static void leave_vmx(void)
{
	asm volatile("vmxoff" : : : "cc", "memory");
	write_cr4(read_cr4() & ~(uint64_t)CR4_VMXE);
}

static void cpuid_shows_a_tdx_capable_cpu(void)
{
	EXPECT_EQ(cpuid(1, 0, 'c') >> 5 & 1, 1);
	EXPECT_EQ(cpuid(1, 0, 'd') >> 27 & 1, 1);
	EXPECT_EQ(cpuid(7, 0, 'c') >> 28 & 1, 1);
	EXPECT_EQ(cpuid(0x80000008, 0, 'a') & 0xff, 52);
	EXPECT_EQ(cpuid(0x5ea00000, 0, 'b'), 0x49584454);
	/* what is not ours is TCG's */
	EXPECT_EQ(cpuid(0, 0, 'b'), 0x756e6547);
}

/* Copy CPUID and what follows it to an offset in two pages, and call it there. */
static uint64_t cpuid_at(unsigned int offset, bool long_successor)
{
	static const uint8_t cpuid_ret[] = { 0x0f, 0xa2, 0xc3 };
	/* cpuid; movabs $0, %r8; ret */
	static const uint8_t cpuid_mov[] = { 0x0f, 0xa2, 0x49, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xc3 };
	const uint8_t *from = long_successor ? cpuid_mov : cpuid_ret;
	unsigned int len = long_successor ? sizeof(cpuid_mov) : sizeof(cpuid_ret);
	uint64_t rbx, rax = 0x5ea00000, rcx = 0;

	for (unsigned int i = 0; i < len; i++)
		code[offset + i] = from[i];
	asm volatile("call *%[at]"
		     : "=b"(rbx), "+a"(rax), "+c"(rcx)
		     : [at] "r"(code + offset)
		     : "rdx", "r8", "memory", "cc");
	return rbx;
}

static void cpuid_is_corrected_at_every_page_offset(void)
{
	for (unsigned int offset = 0xfc0; offset < 0x1040; offset++) {
		EXPECT_EQ(cpuid_at(offset, false), 0x49584454);
		EXPECT_EQ(cpuid_at(offset, true), 0x49584454);
	}
}

static void cpuid_is_corrected_when_single_stepped(void)
{
	uint64_t rbx, rax = 0x5ea00000, rcx = 0;

	bare_steps = 0;
	asm volatile("pushfq\n\t"
		     "orq $0x100, (%%rsp)\n\t"
		     "popfq\n\t"
		     "cpuid\n\t"
		     "movq %%rbx, %%r8\n\t"
		     "pushfq\n\t"
		     "andq $~0x100, (%%rsp)\n\t"
		     "popfq"
		     : "+a"(rax), "=b"(rbx), "+c"(rcx)
		     :
		     : "rdx", "r8", "memory", "cc");
	EXPECT_EQ(rbx, 0x49584454);
	EXPECT_EQ(bare_steps > 3, 1);
}

static void msr_is_read_and_refuses_writes(void)
{
	uint64_t rax = 0x1234, rcx = MSR_FEAT_CTL, rdx = 0x5678;

	EXPECT_EQ(rdmsr(MSR_FEAT_CTL), 5);
	TRY("wrmsr", rax, rcx, rdx);
	EXPECT_EQ(bare_fault.vector, VECTOR_GP);
	EXPECT_EQ(bare_fault.rip, bare_at);
	EXPECT_EQ(bare_fault.rcx, MSR_FEAT_CTL);
	EXPECT_EQ(rcx, MSR_FEAT_CTL);
	EXPECT_EQ(rdx, 0x5678);
	EXPECT_EQ(rdmsr(MSR_FEAT_CTL), 5);
}

static void cr4_holds_vmxe(void)
{
	uint64_t old = read_cr4();

	EXPECT_EQ(old & CR4_VMXE, 0);
	write_cr4(old | CR4_VMXE);
	EXPECT_EQ(read_cr4(), old | CR4_VMXE);
	write_cr4(old);
	EXPECT_EQ(read_cr4(), old);
}

static void cr4_refuses_reserved_bits(void)
{
	uint64_t old = read_cr4(), bad = old | CR4_VMXE | 1ULL << 40, rcx = 0, rdx = 0;

	TRY("mov %%rax, %%cr4", bad, rcx, rdx);
	EXPECT_EQ(bare_fault.vector, VECTOR_GP);
	EXPECT_EQ(bare_fault.rax, old | CR4_VMXE | 1ULL << 40);
	EXPECT_EQ(read_cr4(), old);
}

static void vmxe_is_fixed_in_vmx_operation(void)
{
	uint64_t off, on, rcx = 0, rdx = 0;

	enter_vmx(false);
	on = read_cr4();
	off = on & ~(uint64_t)CR4_VMXE;
	TRY("mov %%rax, %%cr4", off, rcx, rdx);
	EXPECT_EQ(bare_fault.vector, VECTOR_GP);
	EXPECT_EQ(bare_fault.rip, bare_at);
	EXPECT_EQ(bare_fault.rax, on & ~(uint64_t)CR4_VMXE);
	EXPECT_EQ(read_cr4(), on);
	leave_vmx();
}

static void vmx_and_seamcall_are_undefined_outside(void)
{
	uint64_t rax = 0x6800, rcx = 0, rdx = 0;

	TRY("vmread %%rax, %%rcx", rax, rcx, rdx);
	EXPECT_EQ(bare_fault.vector, VECTOR_UD);
	EXPECT_EQ(bare_fault.rip, bare_at);
	TRY("vmxoff", rax, rcx, rdx);
	EXPECT_EQ(bare_fault.vector, VECTOR_UD);
	TRY(".byte 0x66, 0x0f, 0x01, 0xcf", rax, rcx, rdx);
	EXPECT_EQ(bare_fault.vector, VECTOR_UD);
}

/* Which way do the branches behind VMREAD go? Bit per condition taken. */
static uint64_t branches_after_vmread(uint64_t field)
{
	uint64_t taken = 0;

	asm volatile("vmread %1, %%rcx\n\t"
		     "jna 1f\n\t"
		     "jmp 2f\n"
		     "1:\torq $1, %0\n"
		     "2:\tvmread %1, %%rcx\n\t"
		     ".byte 0x2e\n\t"
		     "jc 1f\n\t"
		     "jmp 2f\n"
		     "1:\torq $2, %0\n"
		     "2:\tvmread %1, %%rcx\n\t"
		     ".byte 0x3e\n\t"
		     "ja 1f\n\t"
		     "jmp 2f\n"
		     "1:\torq $4, %0\n"
		     "2:\tvmread %1, %%rcx\n\t"
		     "setz %%cl\n\t"
		     "movzbq %%cl, %%rcx\n\t"
		     "shlq $3, %%rcx\n\t"
		     "orq %%rcx, %0"
		     : "+&r"(taken)
		     : "r"(field)
		     : "rcx", "cc");
	return taken;
}

static void flags_steer_the_next_instruction(void)
{
	enter_vmx(false);
	EXPECT_EQ(branches_after_vmread(0x6800), 1 | 2); /* VMfailInvalid */
	leave_vmx();
	enter_vmx(true);
	EXPECT_EQ(branches_after_vmread(0x6800), 4); /* VMsucceed */
	leave_vmx();
}

static void vmcs_fields_keep_their_values(void)
{
	uint64_t value;

	enter_vmx(true);
	asm volatile("vmwrite %1, %0" : : "r"(0x681eULL), "r"(0x123456789abcdefULL) : "cc");
	asm volatile("vmread %1, %0" : "=r"(value) : "r"(0x681eULL) : "cc");
	EXPECT_EQ(value, 0x123456789abcdefULL);
	/* a read-only field: VMfailValid(13) */
	asm volatile("vmwrite %1, %0" : : "r"(0x4402ULL), "r"(1ULL) : "cc");
	asm volatile("vmread %1, %0" : "=r"(value) : "r"(0x4400ULL) : "cc");
	EXPECT_EQ(value, 13);
	leave_vmx();
}

/* vmread %rdx, %rax; jna +2; movb $1, %cl; ret: the branch skips the MOV */
static const uint8_t vmread_jna[] = { 0x0f, 0x78, 0xd0, 0x76, 0x02, 0xb1, 0x01, 0xc3 };

static void vmx_works_at_every_page_offset(void)
{
	uint64_t rax, rcx, rdx = 0x6800;

	enter_vmx(true);
	for (unsigned int offset = 0xff0; offset < 0x1010; offset++) {
		for (unsigned int i = 0; i < sizeof(vmread_jna); i++)
			code[offset + i] = vmread_jna[i];
		rcx = 0;
		asm volatile("call *%[at]"
			     : "=a"(rax), "+c"(rcx)
			     : [at] "r"(code + offset), "d"(rdx)
			     : "memory", "cc");
		EXPECT_EQ(rcx, 1);
	}
	leave_vmx();
}

static void code_may_be_mapped_twice(void)
{
	uint64_t low, high, rax, rcx = 0;

	enter_vmx(true);
	for (unsigned int i = 0; i < sizeof(vmread_jna); i++)
		code[i] = vmread_jna[i];
	for (unsigned int i = 0; i < 3; i++) {
		asm volatile("call *%[at]"
			     : "=a"(rax), "+c"(rcx)
			     : [at] "r"(code), "d"(0x6800ULL)
			     : "memory", "cc");
		asm volatile("call *%[at]"
			     : "=a"(rax), "+c"(rcx)
			     : [at] "r"(code + ALIAS), "d"(0x6800ULL)
			     : "memory", "cc");
	}
	EXPECT_EQ(rcx, 1);
	leave_vmx();

	/* rdmsr; lea (%rip), %rax; ret: where does it believe to be? */
	static const uint8_t where[] = { 0x0f, 0x32, 0x48, 0x8d, 0x05, 0, 0, 0, 0, 0xc3 };

	for (unsigned int i = 0; i < sizeof(where); i++)
		code[i] = where[i];
	asm volatile("call *%[at]" : "=a"(low) : [at] "r"(code), "c"(MSR_FEAT_CTL) : "rdx");
	asm volatile("call *%[at]"
		     : "=a"(high)
		     : [at] "r"(code + ALIAS), "c"(MSR_FEAT_CTL)
		     : "rdx");
	EXPECT_EQ(low, (uint64_t)code + 9);
	EXPECT_EQ(high, (uint64_t)code + ALIAS + 9);
}

static void seamcall_reaches_the_module(void)
{
	uint64_t rax = 33, rcx = 0, rdx = 7, failed = 0; /* TDH.SYS.INIT */

	enter_vmx(false);
	asm volatile(".byte 0x66, 0x0f, 0x01, 0xcf\n\t"
		     "jc 1f\n\t"
		     "jmp 2f\n"
		     "1:\tmovq $1, %3\n"
		     "2:"
		     : "+a"(rax), "+c"(rcx), "+d"(rdx), "+r"(failed)
		     :
		     : "r8", "r9", "r10", "r11", "memory", "cc");
	EXPECT_EQ(failed, 0);
	EXPECT_EQ(rax, 0);
	EXPECT_EQ(rdx, 0);
	leave_vmx();
}

static void movdir64b_moves_64_bytes(void)
{
	static uint8_t from[64] __attribute__((aligned(64))), to[128] __attribute__((aligned(64)));

	for (unsigned int i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i + 1);
	/* movdir64b (%rsi), %rdi */
	asm volatile(".byte 0x66, 0x0f, 0x38, 0xf8, 0x3e" : : "S"(from), "D"(to) : "memory");
	EXPECT_EQ(to[0], 1);
	EXPECT_EQ(to[63], 64);
	EXPECT_EQ(to[64], 0);
}

const struct bare_case bare_cases[] = {
	{ "cpuid_shows_a_tdx_capable_cpu", cpuid_shows_a_tdx_capable_cpu },
	{ "cpuid_is_corrected_at_every_page_offset", cpuid_is_corrected_at_every_page_offset },
	{ "cpuid_is_corrected_when_single_stepped", cpuid_is_corrected_when_single_stepped },
	{ "msr_is_read_and_refuses_writes", msr_is_read_and_refuses_writes },
	{ "cr4_holds_vmxe", cr4_holds_vmxe },
	{ "cr4_refuses_reserved_bits", cr4_refuses_reserved_bits },
	{ "vmxe_is_fixed_in_vmx_operation", vmxe_is_fixed_in_vmx_operation },
	{ "vmx_and_seamcall_are_undefined_outside", vmx_and_seamcall_are_undefined_outside },
	{ "flags_steer_the_next_instruction", flags_steer_the_next_instruction },
	{ "vmcs_fields_keep_their_values", vmcs_fields_keep_their_values },
	{ "vmx_works_at_every_page_offset", vmx_works_at_every_page_offset },
	{ "code_may_be_mapped_twice", code_may_be_mapped_twice },
	{ "seamcall_reaches_the_module", seamcall_reaches_the_module },
	{ "movdir64b_moves_64_bytes", movdir64b_moves_64_bytes },
	{ 0 },
};
