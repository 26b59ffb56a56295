// SPDX-License-Identifier: GPL-2.0-only
/*
 * Recognise the instructions that TCG lacks or answers wrongly.
 *
 * Zydis does the decoding proper. The prefilter before it sees every
 * instruction that TCG translates and must cost next to nothing.
 */
#include <string.h>

#include <Zydis/Zydis.h>

#include "cpu/vmxr.h"

static const struct {
	ZydisMnemonic mnemonic;
	enum vmxr_kind kind;
} kinds[] = {
	{ ZYDIS_MNEMONIC_CPUID, VMXR_CPUID },	    { ZYDIS_MNEMONIC_RDMSR, VMXR_RDMSR },
	{ ZYDIS_MNEMONIC_WRMSR, VMXR_WRMSR },	    { ZYDIS_MNEMONIC_MOVDIR64B, VMXR_MOVDIR64B },
	{ ZYDIS_MNEMONIC_VMXON, VMXR_VMXON },	    { ZYDIS_MNEMONIC_VMXOFF, VMXR_VMXOFF },
	{ ZYDIS_MNEMONIC_VMCLEAR, VMXR_VMCLEAR },   { ZYDIS_MNEMONIC_VMPTRLD, VMXR_VMPTRLD },
	{ ZYDIS_MNEMONIC_VMPTRST, VMXR_VMPTRST },   { ZYDIS_MNEMONIC_VMREAD, VMXR_VMREAD },
	{ ZYDIS_MNEMONIC_VMWRITE, VMXR_VMWRITE },   { ZYDIS_MNEMONIC_INVEPT, VMXR_INVEPT },
	{ ZYDIS_MNEMONIC_INVVPID, VMXR_INVVPID },   { ZYDIS_MNEMONIC_VMLAUNCH, VMXR_VMLAUNCH },
	{ ZYDIS_MNEMONIC_VMRESUME, VMXR_VMRESUME }, { ZYDIS_MNEMONIC_VMCALL, VMXR_VMCALL },
	{ ZYDIS_MNEMONIC_SEAMCALL, VMXR_SEAMCALL },
};

static const char *const kind_names[VMXR_NR_KINDS] = {
	[VMXR_NOT_OURS] = "other",	  [VMXR_CPUID] = "CPUID",
	[VMXR_RDMSR] = "RDMSR",		  [VMXR_WRMSR] = "WRMSR",
	[VMXR_MOV_TO_CR4] = "MOV to CR4", [VMXR_MOV_FROM_CR4] = "MOV from CR4",
	[VMXR_MOVDIR64B] = "MOVDIR64B",	  [VMXR_VMXON] = "VMXON",
	[VMXR_VMXOFF] = "VMXOFF",	  [VMXR_VMCLEAR] = "VMCLEAR",
	[VMXR_VMPTRLD] = "VMPTRLD",	  [VMXR_VMPTRST] = "VMPTRST",
	[VMXR_VMREAD] = "VMREAD",	  [VMXR_VMWRITE] = "VMWRITE",
	[VMXR_INVEPT] = "INVEPT",	  [VMXR_INVVPID] = "INVVPID",
	[VMXR_VMLAUNCH] = "VMLAUNCH",	  [VMXR_VMRESUME] = "VMRESUME",
	[VMXR_VMCALL] = "VMCALL",	  [VMXR_SEAMCALL] = "SEAMCALL",
};

const char *vmxr_kind_name(enum vmxr_kind kind)
{
	return kind < VMXR_NR_KINDS ? kind_names[kind] : "invalid";
}

static bool is_prefix(uint8_t byte)
{
	switch (byte) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e: /* segment overrides, branch hints */
	case 0x64:
	case 0x65:
	case 0x66:
	case 0x67:
	case 0xf2:
	case 0xf3:
	case 0x40 ... 0x4f: /* REX */
		return true;
	}
	return false;
}

/* 0F 01 with a register form: VMCALL .. VMXOFF (C1 - C4) and SEAMCALL (CF). */
static bool group7_is_ours(uint8_t modrm)
{
	return (modrm >= 0xc1 && modrm <= 0xc4) || modrm == 0xcf;
}

bool vmxr_prefilter(const uint8_t *bytes, size_t len)
{
	size_t i = 0;

	while (i < len && is_prefix(bytes[i]))
		i++;
	/* Nothing but prefixes: INC and DEC of 16-bit and 32-bit firmware, which is hot. */
	if (i >= len || bytes[i] != 0x0f)
		return false;
	if (i + 1 >= len)
		return true;

	bool cut = i + 2 >= len;
	uint8_t third = cut ? 0 : bytes[i + 2];

	switch (bytes[i + 1]) {
	case 0x30:
	case 0x32:
	case 0xa2: /* WRMSR, RDMSR, CPUID */
	case 0x78:
	case 0x79: /* VMREAD, VMWRITE */
		return true;
	case 0x01:
		return cut || group7_is_ours(third);
	case 0x20:
	case 0x22: /* MOV CR4, no REX.R */
		return cut || ((third >> 3) & 7) == 4;
	case 0x38: /* INVEPT, INVVPID, MOVDIR64B */
		return cut || third == 0x80 || third == 0x81 || third == 0xf8;
	case 0xc7: /* VMPTRLD, VMCLEAR, VMXON, VMPTRST: memory forms of /6 and /7 */
		return cut || ((third >> 6) != 3 && ((third >> 3) & 7) >= 6);
	}
	return false;
}

static enum vmxr_gpr gpr_of(ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return VMXR_NO_REG;
	if (reg == ZYDIS_REGISTER_RIP)
		return VMXR_RIP;

	reg = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);

	ZyanI8 id = ZydisRegisterGetId(reg);

	return id >= 0 && id < VMXR_NR_GPRS ? (enum vmxr_gpr)id : VMXR_NO_REG;
}

static enum vmxr_segment segment_of(ZydisRegister reg)
{
	switch (reg) {
	case ZYDIS_REGISTER_FS:
		return VMXR_SEG_FS;
	case ZYDIS_REGISTER_GS:
		return VMXR_SEG_GS;
	default:
		return VMXR_SEG_FLAT;
	}
}

static void set_rm(struct vmxr_insn *insn, const ZydisDecodedOperand *op)
{
	if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
		insn->rm = gpr_of(op->reg.value);
		return;
	}
	insn->rm_is_mem = true;
	insn->mem.segment = segment_of(op->mem.segment);
	insn->mem.base = gpr_of(op->mem.base);
	insn->mem.index = gpr_of(op->mem.index);
	insn->mem.scale = op->mem.scale;
	insn->mem.disp = op->mem.disp.value;
}

static bool decode(const uint8_t *bytes, size_t len, ZydisDecodedInstruction *insn,
		   ZydisDecodedOperand *ops)
{
	ZydisDecoder decoder;

	if (len > VMXR_MAX_INSN_LEN)
		len = VMXR_MAX_INSN_LEN;
	return ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64,
					     ZYDIS_STACK_WIDTH_64)) &&
	       ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, len, insn, ops));
}

static enum vmxr_kind kind_of(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *ops)
{
	if (insn->mnemonic == ZYDIS_MNEMONIC_MOV && insn->operand_count_visible == 2) {
		if (ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ops[0].reg.value == ZYDIS_REGISTER_CR4)
			return VMXR_MOV_TO_CR4;
		if (ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ops[1].reg.value == ZYDIS_REGISTER_CR4)
			return VMXR_MOV_FROM_CR4;
		return VMXR_NOT_OURS;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].mnemonic == insn->mnemonic)
			return kinds[i].kind;
	}
	return VMXR_NOT_OURS;
}

void vmxr_decode(const uint8_t *bytes, size_t len, struct vmxr_insn *out)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;

	memset(out, 0, sizeof(*out));
	out->reg = VMXR_NO_REG;
	out->rm = VMXR_NO_REG;
	if (!decode(bytes, len, &insn, ops))
		return;

	out->kind = kind_of(&insn, ops);
	out->len = insn.length;
	switch (out->kind) {
	case VMXR_MOV_TO_CR4:
		out->reg = gpr_of(ops[1].reg.value);
		break;
	case VMXR_MOV_FROM_CR4:
		out->reg = gpr_of(ops[0].reg.value);
		break;
	case VMXR_VMREAD: /* VMREAD r/m64, field */
		out->reg = gpr_of(ops[1].reg.value);
		set_rm(out, &ops[0]);
		break;
	case VMXR_VMWRITE: /* VMWRITE field, r/m64 */
	case VMXR_INVEPT:
	case VMXR_INVVPID:
		out->reg = gpr_of(ops[0].reg.value);
		set_rm(out, &ops[1]);
		break;
	case VMXR_MOVDIR64B: /* the address register is a hidden memory operand in Zydis */
		out->reg = gpr_of(ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER ? ops[0].reg.value :
									       ops[0].mem.base);
		set_rm(out, &ops[1]);
		break;
	case VMXR_VMXON:
	case VMXR_VMCLEAR:
	case VMXR_VMPTRLD:
	case VMXR_VMPTRST:
		set_rm(out, &ops[0]);
		break;
	default:
		break;
	}
}

uint64_t vmxr_mem_addr(const struct vmxr_insn *insn, const struct vmxr_regs *regs)
{
	const struct vmxr_mem *mem = &insn->mem;
	uint64_t addr = (uint64_t)mem->disp;

	if (mem->segment == VMXR_SEG_FS)
		addr += regs->fs_base;
	else if (mem->segment == VMXR_SEG_GS)
		addr += regs->gs_base;

	if (mem->base == VMXR_RIP)
		addr += regs->rip + insn->len;
	else if (mem->base != VMXR_NO_REG)
		addr += regs->gpr[mem->base];
	if (mem->index != VMXR_NO_REG)
		addr += regs->gpr[mem->index] * mem->scale;
	return addr;
}

#define ARITHMETIC_FLAGS \
	(VMXR_FLAG_CF | VMXR_FLAG_PF | VMXR_FLAG_AF | VMXR_FLAG_ZF | VMXR_FLAG_SF | VMXR_FLAG_OF)

/* PUSHF is no reader: the kernel saves the interrupt flag by it. */
static bool tests_flags(const ZydisDecodedInstruction *insn)
{
	return insn->meta.category != ZYDIS_CATEGORY_PUSH && insn->cpu_flags &&
	       (insn->cpu_flags->tested & ARITHMETIC_FLAGS);
}

void vmxr_decode_consumer(const uint8_t *bytes, size_t len, struct vmxr_consumer *out)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;

	memset(out, 0, sizeof(*out));
	out->rm = VMXR_NO_REG;
	if (!decode(bytes, len, &insn, ops)) {
		/* It may well read the flags: whoever asks must not go on silently. */
		out->kind = VMXR_READS_FLAGS;
		return;
	}

	bool two_byte = insn.opcode_map == ZYDIS_OPCODE_MAP_0F;
	uint8_t row = insn.opcode & 0xf0;

	out->len = insn.length;
	out->cond = insn.opcode & 0x0f;
	if ((insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && row == 0x70) ||
	    (two_byte && row == 0x80)) {
		out->kind = VMXR_BRANCHES;
		out->disp = ops[0].imm.value.s;
	} else if (two_byte && row == 0x90 && ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		   !(ops[0].reg.value >= ZYDIS_REGISTER_AH &&
		     ops[0].reg.value <= ZYDIS_REGISTER_BH)) {
		out->kind = VMXR_SETS_BYTE;
		out->rm = gpr_of(ops[0].reg.value);
	} else if (tests_flags(&insn)) {
		out->kind = VMXR_READS_FLAGS;
	}
}

bool vmxr_cond_holds(uint8_t cond, uint32_t flags)
{
	bool less = !(flags & VMXR_FLAG_SF) != !(flags & VMXR_FLAG_OF);
	bool holds = false;

	switch (cond >> 1) {
	case 0: /* O */
		holds = flags & VMXR_FLAG_OF;
		break;
	case 1: /* B, C */
		holds = flags & VMXR_FLAG_CF;
		break;
	case 2: /* E, Z */
		holds = flags & VMXR_FLAG_ZF;
		break;
	case 3: /* BE, NA */
		holds = flags & (VMXR_FLAG_CF | VMXR_FLAG_ZF);
		break;
	case 4: /* S */
		holds = flags & VMXR_FLAG_SF;
		break;
	case 5: /* P */
		holds = flags & VMXR_FLAG_PF;
		break;
	case 6: /* L */
		holds = less;
		break;
	case 7: /* LE */
		holds = less || (flags & VMXR_FLAG_ZF);
		break;
	}
	return holds != (cond & 1);
}
