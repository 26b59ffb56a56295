// SPDX-License-Identifier: GPL-2.0-only
/* Decoding: which instructions are found, which are not, and their operands. */
#include "cpu/vmxr.h"
#include "tests/ktap.h"

struct sample {
	const char *text;
	uint8_t bytes[VMXR_MAX_INSN_LEN];
	uint8_t len;
	enum vmxr_kind kind;
};

/* As compilers and the kernel encode them, with and without prefixes. */
static const struct sample samples[] = {
	{ "cpuid", { 0x0f, 0xa2 }, 2, VMXR_CPUID },
	{ "rdmsr", { 0x0f, 0x32 }, 2, VMXR_RDMSR },
	{ "wrmsr", { 0x0f, 0x30 }, 2, VMXR_WRMSR },
	{ "mov %rdi,%cr4", { 0x0f, 0x22, 0xe7 }, 3, VMXR_MOV_TO_CR4 },
	{ "mov %r12,%cr4", { 0x41, 0x0f, 0x22, 0xe4 }, 4, VMXR_MOV_TO_CR4 },
	{ "mov %cr4,%rax", { 0x0f, 0x20, 0xe0 }, 3, VMXR_MOV_FROM_CR4 },
	{ "movdir64b (%rsi),%rdi", { 0x66, 0x0f, 0x38, 0xf8, 0x3e }, 5, VMXR_MOVDIR64B },
	{ "vmxon 8(%rsp)", { 0xf3, 0x0f, 0xc7, 0x74, 0x24, 0x08 }, 6, VMXR_VMXON },
	{ "vmxoff", { 0x0f, 0x01, 0xc4 }, 3, VMXR_VMXOFF },
	{ "vmclear (%rsp)", { 0x66, 0x0f, 0xc7, 0x34, 0x24 }, 5, VMXR_VMCLEAR },
	{ "vmptrld (%rsp)", { 0x0f, 0xc7, 0x34, 0x24 }, 4, VMXR_VMPTRLD },
	{ "vmptrst (%rax)", { 0x0f, 0xc7, 0x38 }, 3, VMXR_VMPTRST },
	{ "vmread %rdx,%rax", { 0x0f, 0x78, 0xd0 }, 3, VMXR_VMREAD },
	{ "vmwrite %rax,%rdx", { 0x0f, 0x79, 0xd0 }, 3, VMXR_VMWRITE },
	{ "vmwrite (%r9),%r8", { 0x45, 0x0f, 0x79, 0x01 }, 4, VMXR_VMWRITE },
	{ "invept (%rsp),%rax", { 0x66, 0x0f, 0x38, 0x80, 0x04, 0x24 }, 6, VMXR_INVEPT },
	{ "invvpid (%rsp),%rax", { 0x66, 0x0f, 0x38, 0x81, 0x04, 0x24 }, 6, VMXR_INVVPID },
	{ "vmcall", { 0x0f, 0x01, 0xc1 }, 3, VMXR_VMCALL },
	{ "vmlaunch", { 0x0f, 0x01, 0xc2 }, 3, VMXR_VMLAUNCH },
	{ "vmresume", { 0x0f, 0x01, 0xc3 }, 3, VMXR_VMRESUME },
	{ "seamcall", { 0x66, 0x0f, 0x01, 0xcf }, 4, VMXR_SEAMCALL },
	/* the neighbours */
	{ "nop", { 0x90 }, 1, VMXR_NOT_OURS },
	{ "encls", { 0x0f, 0x01, 0xcf }, 3, VMXR_NOT_OURS },
	{ "tdcall", { 0x66, 0x0f, 0x01, 0xcc }, 4, VMXR_NOT_OURS },
	{ "swapgs", { 0x0f, 0x01, 0xf8 }, 3, VMXR_NOT_OURS },
	{ "mov %cr3,%rax", { 0x0f, 0x20, 0xd8 }, 3, VMXR_NOT_OURS },
	{ "mov %rax,%cr0", { 0x0f, 0x22, 0xc0 }, 3, VMXR_NOT_OURS },
	{ "rdrand %rax", { 0x48, 0x0f, 0xc7, 0xf0 }, 4, VMXR_NOT_OURS },
	{ "cmpxchg16b (%rsi)", { 0x48, 0x0f, 0xc7, 0x0e }, 4, VMXR_NOT_OURS },
	{ "crc32b %al,%eax", { 0xf2, 0x0f, 0x38, 0xf0, 0xc0 }, 5, VMXR_NOT_OURS },
	{ "movdiri %eax,(%rdx)", { 0x0f, 0x38, 0xf9, 0x02 }, 4, VMXR_NOT_OURS },
};

#define NR_SAMPLES (sizeof(samples) / sizeof(samples[0]))

static void every_sample_decodes_to_its_kind(void)
{
	struct vmxr_insn insn;

	for (size_t i = 0; i < NR_SAMPLES; i++) {
		const struct sample *s = &samples[i];

		vmxr_decode(s->bytes, s->len, &insn);
		if (!KTAP_EXPECT_EQ(insn.kind, s->kind) ||
		    (s->kind != VMXR_NOT_OURS && !KTAP_EXPECT_EQ(insn.len, s->len)))
			printf("#   in %s\n", s->text);
	}
}

static void prefilter_passes_every_kind_even_when_cut(void)
{
	for (size_t i = 0; i < NR_SAMPLES; i++) {
		const struct sample *s = &samples[i];
		size_t opcode = 0;

		if (s->kind == VMXR_NOT_OURS)
			continue;
		while (s->bytes[opcode] != 0x0f)
			opcode++;
		/* TCG needs the byte behind the escape to find an instruction illegal */
		for (size_t len = opcode + 2; len <= s->len; len++) {
			if (!KTAP_EXPECT(vmxr_prefilter(s->bytes, len)))
				printf("#   in %zu bytes of %s\n", len, s->text);
		}
	}
}

static void prefilter_stops_hot_neighbours(void)
{
	static const uint8_t inc_eax_32bit[] = { 0x40 };

	KTAP_EXPECT(!vmxr_prefilter(inc_eax_32bit, sizeof(inc_eax_32bit)));
	for (size_t i = 0; i < NR_SAMPLES; i++) {
		const struct sample *s = &samples[i];

		/* ENCLS differs from SEAMCALL by its prefix alone; Zydis tells them apart */
		if (s->kind == VMXR_NOT_OURS && strcmp(s->text, "encls"))
			KTAP_EXPECT(!vmxr_prefilter(s->bytes, s->len));
	}
}

static void cut_instruction_is_not_ours(void)
{
	struct vmxr_insn insn;

	for (size_t i = 0; i < NR_SAMPLES; i++) {
		for (size_t len = 0; len < samples[i].len; len++) {
			vmxr_decode(samples[i].bytes, len, &insn);
			/* a prefix may make another instruction, but none may come from nothing */
			if (insn.kind != VMXR_NOT_OURS)
				KTAP_EXPECT(insn.len <= len);
		}
	}
}

static void vmread_to_register(void)
{
	static const uint8_t bytes[] = { 0x41, 0x0f, 0x78, 0xd4 }; /* vmread %rdx,%r12 */
	struct vmxr_insn insn;

	vmxr_decode(bytes, sizeof(bytes), &insn);
	KTAP_EXPECT_EQ(insn.reg, VMXR_RDX);
	KTAP_EXPECT(!insn.rm_is_mem);
	KTAP_EXPECT_EQ(insn.rm, VMXR_R12);
}

static void movdir64b_names_destination_and_source(void)
{
	static const uint8_t bytes[] = { 0x66, 0x44, 0x0f, 0x38, 0xf8, 0x0e }; /* (%rsi),%r9 */
	struct vmxr_insn insn;

	vmxr_decode(bytes, sizeof(bytes), &insn);
	KTAP_EXPECT_EQ(insn.kind, VMXR_MOVDIR64B);
	KTAP_EXPECT_EQ(insn.reg, VMXR_R9);
	KTAP_EXPECT(insn.rm_is_mem);
	KTAP_EXPECT_EQ(insn.mem.base, VMXR_RSI);
}

static void memory_operand_address(void)
{
	/* vmptrld 0x10(%rax,%rcx,8); vmptrld 0x20(%rip); vmptrld %gs:0x30 */
	static const uint8_t sib[] = { 0x0f, 0xc7, 0x74, 0xc8, 0x10 };
	static const uint8_t rip[] = { 0x0f, 0xc7, 0x35, 0x20, 0x00, 0x00, 0x00 };
	static const uint8_t gs[] = { 0x65, 0x0f, 0xc7, 0x34, 0x25, 0x30, 0x00, 0x00, 0x00 };
	struct vmxr_regs regs = { .rip = 0x4000, .fs_base = 0x1000000, .gs_base = 0x2000000 };
	struct vmxr_insn insn;

	regs.gpr[VMXR_RAX] = 0x100000;
	regs.gpr[VMXR_RCX] = 3;
	vmxr_decode(sib, sizeof(sib), &insn);
	KTAP_EXPECT_EQ(vmxr_mem_addr(&insn, &regs), 0x100000 + 3 * 8 + 0x10);
	vmxr_decode(rip, sizeof(rip), &insn);
	KTAP_EXPECT_EQ(vmxr_mem_addr(&insn, &regs), 0x4000 + sizeof(rip) + 0x20);
	vmxr_decode(gs, sizeof(gs), &insn);
	KTAP_EXPECT_EQ(vmxr_mem_addr(&insn, &regs), 0x2000000 + 0x30);
}

static void negative_displacement_wraps(void)
{
	static const uint8_t bytes[] = { 0x0f, 0xc7, 0x75, 0xf8 }; /* vmptrld -8(%rbp) */
	struct vmxr_regs regs = { .rip = 0 };
	struct vmxr_insn insn;

	regs.gpr[VMXR_RBP] = 0x1000;
	vmxr_decode(bytes, sizeof(bytes), &insn);
	KTAP_EXPECT_EQ(vmxr_mem_addr(&insn, &regs), 0xff8);
}

/* xorshift64: the same bytes in every run */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Prefixes and an opcode that may be ours, then noise. */
static void random_insn(uint64_t *state, uint8_t bytes[VMXR_MAX_INSN_LEN])
{
	static const uint8_t prefixes[] = { 0x66, 0xf2, 0xf3, 0x2e, 0x64, 0x65, 0x67, 0x48, 0x41 };
	static const uint8_t opcodes[] = { 0x01, 0x20, 0x22, 0x30, 0x32,
					   0x38, 0x78, 0x79, 0xa2, 0xc7 };
	size_t i = 0, nr_prefixes = next_random(state) % 4;

	for (size_t k = 0; k < VMXR_MAX_INSN_LEN; k++)
		bytes[k] = (uint8_t)next_random(state);
	while (i < nr_prefixes)
		bytes[i++] = prefixes[next_random(state) % sizeof(prefixes)];
	bytes[i++] = 0x0f;
	bytes[i] = opcodes[next_random(state) % sizeof(opcodes)];
}

static void prefilter_misses_nothing_that_decodes(void)
{
	uint64_t state = 0x9e3779b97f4a7c15;
	unsigned int found = 0;

	for (unsigned int i = 0; i < 300000; i++) {
		uint8_t bytes[VMXR_MAX_INSN_LEN];
		struct vmxr_consumer consumer;
		struct vmxr_insn insn;

		random_insn(&state, bytes);
		vmxr_decode(bytes, sizeof(bytes), &insn);
		vmxr_decode_consumer(bytes, sizeof(bytes), &consumer);
		if (insn.kind == VMXR_NOT_OURS)
			continue;
		found++;
		KTAP_EXPECT(vmxr_prefilter(bytes, insn.len));
		KTAP_EXPECT(insn.len && insn.len <= sizeof(bytes));
		KTAP_EXPECT(insn.rm_is_mem || insn.rm <= VMXR_NO_REG);
	}
	/* the sample was worth it */
	KTAP_EXPECT(found > 10000);
}

static void every_kind_has_a_name(void)
{
	for (int kind = 0; kind < VMXR_NR_KINDS; kind++)
		KTAP_EXPECT(vmxr_kind_name((enum vmxr_kind)kind));
}

static const struct ktap_case cases[] = {
	{ "vmxr.insn.every_sample_decodes_to_its_kind", every_sample_decodes_to_its_kind },
	{ "vmxr.insn.prefilter_passes_every_kind_even_when_cut",
	  prefilter_passes_every_kind_even_when_cut },
	{ "vmxr.insn.prefilter_stops_hot_neighbours", prefilter_stops_hot_neighbours },
	{ "vmxr.insn.cut_instruction_is_not_ours", cut_instruction_is_not_ours },
	{ "vmxr.insn.vmread_to_register", vmread_to_register },
	{ "vmxr.insn.movdir64b_names_destination_and_source",
	  movdir64b_names_destination_and_source },
	{ "vmxr.insn.memory_operand_address", memory_operand_address },
	{ "vmxr.insn.negative_displacement_wraps", negative_displacement_wraps },
	{ "vmxr.insn.prefilter_misses_nothing_that_decodes",
	  prefilter_misses_nothing_that_decodes },
	{ "vmxr.insn.every_kind_has_a_name", every_kind_has_a_name },
};

KTAP_MAIN(cases)
