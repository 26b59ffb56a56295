// SPDX-License-Identifier: GPL-2.0-only
/* The table of metadata fields, and access to them. */
#include "module/metadata.h"

#include "module/model.h"

#define ID_CODE(id) ((uint32_t)(MASK_U64(23, 0) & (id)))
#define ID_CLASS(id) ((unsigned int)((id) >> 56 & 0x3f))
#define ID_RESERVED (MASK_U64(31, 24) | MASK_U64(49, 47) | BIT_U64(55) | BIT_U64(62))
/* Lists and sequences are for RDALL and migration. */
#define ID_MULTIPLE MASK_U64(46, 34)
#define ID_NON_ARCH BIT_U64(63)
#define ID_NONE (~0ULL)

/*
 * struct tdxm_field - a row: codes @code to @code + @last
 * @size:	log2 of the bytes
 * @debug_only:	NOT_READABLE unless the TD is a debug one
 * @sparse:	codes in the range may be missing; "next" skips the range
 * @first:	offset of the first one that is there
 * @td_preserving: of a module that can be updated; absent, yet nothing to complain
 *		about, in another one
 * @read:	status, and the value of element @i; NULL for @constant
 * @write_mask:	bits that VP.WR may change, 0 for none
 * @valid:	status for a new value; NULL if any will do
 * @storage:	offset into struct tdxm_vcpu of a plain field
 */
struct tdxm_field {
	uint8_t space; /* enum tdxm_field_space */
	uint8_t class;
	uint32_t code;
	uint32_t last;
	uint8_t size;
	bool non_arch;
	bool debug_only;
	bool sparse;
	uint32_t first;
	bool td_preserving;
	uint64_t constant;
	uint64_t (*read)(const struct tdxm_call *call, uint32_t i, uint64_t *value);
	uint64_t write_mask;
	uint64_t (*valid)(struct tdxm_call *call, uint64_t value);
	size_t storage;
};

static uint64_t *storage_of(const struct tdxm_call *call, const struct tdxm_field *field)
{
	return (uint64_t *)((char *)call->vcpu + field->storage);
}

static uint64_t pair(uint32_t low, uint32_t high)
{
	return low | (uint64_t)high << 32;
}

static uint64_t half(const struct tdx_cpuid_value *value, unsigned int element)
{
	return element ? pair(value->ecx, value->edx) : pair(value->eax, value->ebx);
}

static uint64_t read_features0(const struct tdxm_call *call, uint32_t i, uint64_t *value)
{
	(void)i;
	*value = tdxm_features0(call->m);
	return TDX_SUCCESS;
}

static uint64_t read_cpuid_leaf(const struct tdxm_call *call, uint32_t i, uint64_t *value)
{
	(void)call;
	*value = pair(tdxm_cpuid_config[i].leaf, tdxm_cpuid_config[i].subleaf);
	return TDX_SUCCESS;
}

static uint64_t read_cpuid_bits(const struct tdxm_call *call, uint32_t i, uint64_t *value)
{
	(void)call;
	*value = half(&tdxm_cpuid_config[i / 2].bits, i % 2);
	return TDX_SUCCESS;
}

/* Code: leaf bit 31 in 16, leaf 6:0 in 15:9, "no sub-leaf" in 8, sub-leaf in 7:1, half in 0. */
static uint64_t read_cpuid_value(const struct tdxm_call *call, uint32_t i, uint64_t *value)
{
	uint32_t leaf = (i >> 16 & 1) << 31 | (i >> 9 & 0x7f);
	uint32_t subleaf = i >> 1 & 0x7f;
	struct tdx_cpuid_value regs;

	if (i >> 8 & 1) {
		if (subleaf != 0x7f)
			return TDX_METADATA_FIELD_ID_INCORRECT;
		subleaf = TDXM_CPUID_NO_SUBLEAF;
	}
	if (!tdxm_cpuid_value(&call->m->platform, call->td, leaf, subleaf, &regs))
		return TDX_METADATA_FIELD_ID_INCORRECT;
	*value = half(&regs, i & 1);
	return TDX_SUCCESS;
}

#define TD_READER(name, expression)                                                     \
	static uint64_t name(const struct tdxm_call *call, uint32_t i, uint64_t *value) \
	{                                                                               \
		(void)i;                                                                \
		*value = (expression);                                                  \
		return TDX_SUCCESS;                                                     \
	}

TD_READER(read_tsc_offset, call->td->tsc_offset)
TD_READER(read_tsc_multiplier, call->td->tsc_multiplier)
TD_READER(read_chldcnt, call->td->chldcnt)
TD_READER(read_lifecycle, call->td->lifecycle)
TD_READER(read_hkid, call->td->hkid)
TD_READER(read_num_vcpus, call->td->num_vcpus)
TD_READER(read_num_assoc_vcpus, call->td->num_assoc_vcpus)
TD_READER(read_op_state, call->td->op_state)
TD_READER(read_epoch, call->td->epoch)
TD_READER(read_refcount, pair(call->td->refcount[0], call->td->refcount[1]))

static uint64_t read_mrtd(const struct tdxm_call *call, uint32_t i, uint64_t *value)
{
	__builtin_memcpy(value, call->td->mrtd + i * sizeof(*value), sizeof(*value));
	return TDX_SUCCESS;
}

static uint64_t valid_pi_vector(struct tdxm_call *call, uint64_t value)
{
	(void)call;
	return value > 255 ? TDX_METADATA_FIELD_VALUE_NOT_VALID : TDX_SUCCESS;
}

/* Host memory that the CPU will use: never a page that a TD owns. */
static uint64_t valid_shared_hpa(struct tdxm_call *call, uint64_t hpa, uint64_t align,
				 const char *what)
{
	if (tdxm_shared_hpa_check(call, hpa, align, OP_R8))
		return TDX_METADATA_FIELD_VALUE_NOT_VALID;
	hpa &= BIT_U64(call->m->keyid_shift) - 1;
	if (tdxm_pamt_td_owned(call->m, hpa))
		tdxm_sanitizer(call, SAN_SOURCE_OWNED_BY_TD, hpa & ~(TDX_PAGE_SIZE - 1),
			       "%s: %s at 0x%llx", call->leaf->name, what, (unsigned long long)hpa);
	return TDX_SUCCESS;
}

static uint64_t valid_pi_desc(struct tdxm_call *call, uint64_t value)
{
	return valid_shared_hpa(call, value, 64, "posted-interrupt descriptor");
}

static uint64_t valid_shared_eptp(struct tdxm_call *call, uint64_t value)
{
	return valid_shared_hpa(call, value, TDX_PAGE_SIZE, "shared EPT root");
}

#define VMCS_PI_VECTOR 0x0002
#define VMCS_PI_DESC 0x2016
#define VMCS_SHARED_EPTP 0x203c
#define VMCS_PIN_CONTROLS 0x4000
#define VMCS_SECONDARY_CONTROLS 0x401e
#define VMCS_NOTIFY_WINDOW 0x4024

static uint64_t valid_pin_controls(struct tdxm_call *call, uint64_t value)
{
	if (!value)
		return TDX_SUCCESS;
	if (call->vcpu->pi_vector == TDXM_NO_PI_VECTOR)
		return TDX_TD_VMCS_FIELD_NOT_INITIALIZED + VMCS_PI_VECTOR;
	if (call->vcpu->pi_desc == ~0ULL)
		return TDX_TD_VMCS_FIELD_NOT_INITIALIZED + VMCS_PI_DESC;
	return TDX_SUCCESS;
}

/* clang-format off */
#define FIELD(space_, class_, code_, size_, ...)				\
	{ .space = (space_), .class = (class_), .code = (code_), \
	  .size = (size_), __VA_ARGS__ }
/* clang-format on */
#define SYS(class, code, size, ...) FIELD(TDXM_SYS_FIELDS, class, code, size, __VA_ARGS__)
#define TD(class, code, size, ...) FIELD(TDXM_TD_FIELDS, class, code, size, __VA_ARGS__)
#define VCPU(class, code, size, member, mask, ...)                       \
	FIELD(TDXM_VCPU_FIELDS, class, code, size, .write_mask = (mask), \
	      .storage = offsetof(struct tdxm_vcpu, member), __VA_ARGS__)
#define DEBUG_TD(class, code, size, ...) \
	TD(class, code, size, .non_arch = true, .debug_only = true, __VA_ARGS__)
#define CONST(v) .constant = (v)

/* Ascending by class and code within a space, as a walk by "next" has it. */
static const struct tdxm_field fields[] = {
	SYS(0x08, 3, 1, CONST(5)), /* version: minor, major, update */
	SYS(0x08, 4, 1, CONST(1)),
	SYS(0x08, 5, 1, CONST(24)),
	SYS(0x09, 0, 1, .non_arch = true, .td_preserving = true, CONST(TDX_MODULE_HV)),
	SYS(0x0a, 8, 3, .read = read_features0),
	SYS(0x11, 0x08, 1, .non_arch = true, CONST(TDX_MAX_TDMRS)),
	SYS(0x11, 0x09, 1, .non_arch = true, CONST(TDX_MAX_RESERVED_PER_TDMR)),
	SYS(0x11, 0x10, 1, .non_arch = true, CONST(TDX_PAMT_ENTRY_SIZE), .last = 2),
	SYS(0x18, 0x000, 1, .non_arch = true, CONST(TDX_PAGE_SIZE)), /* TDR, TDCS, TDVPS */
	SYS(0x18, 0x100, 1, .non_arch = true, CONST(TDX_TDCS_SIZE)),
	SYS(0x18, 0x200, 1, .non_arch = true, CONST(TDX_TDVPS_SIZE)),
	SYS(0x19, 0x000, 3, CONST(TDX_ATTRIBUTES_FIXED0)),
	SYS(0x19, 0x001, 3, CONST(TDX_ATTRIBUTES_FIXED1)),
	SYS(0x19, 0x002, 3, CONST(TDX_XFAM_FIXED0)),
	SYS(0x19, 0x003, 3, CONST(TDX_XFAM_FIXED1)),
	SYS(0x19, 0x004, 1, .non_arch = true, CONST(TDXM_NUM_CPUID_CONFIG)),
	SYS(0x19, 0x008, 1, .non_arch = true, CONST(TDX_MAX_VCPUS_PER_TD)),
	SYS(0x19, 0x400, 3, .non_arch = true, .last = TDXM_NUM_CPUID_CONFIG - 1,
	    .read = read_cpuid_leaf),
	SYS(0x19, 0x500, 3, .non_arch = true, .last = 2 * TDXM_NUM_CPUID_CONFIG - 1,
	    .read = read_cpuid_bits),

	DEBUG_TD(0x00, 4, 3, .read = read_chldcnt),
	DEBUG_TD(0x00, 5, 2, .read = read_lifecycle),
	DEBUG_TD(0x01, 1, 1, .read = read_hkid),
	DEBUG_TD(0x10, 1, 2, .read = read_num_vcpus),
	DEBUG_TD(0x10, 2, 2, .read = read_num_assoc_vcpus),
	DEBUG_TD(0x10, 4, 2, .read = read_op_state),
	TD(0x11, 10, 3, .read = read_tsc_offset),
	TD(0x11, 11, 3, .read = read_tsc_multiplier),
	DEBUG_TD(0x12, 0, 3, .read = read_epoch),
	DEBUG_TD(0x12, 1, 3, .read = read_refcount),
	TD(0x13, 0, 3, .last = SHA384_DIGEST_SIZE / 8 - 1, .debug_only = true, .read = read_mrtd),
	/* CPUID_VALUES. MODEL: of no leaf that would fault, hence none is NOT_READABLE. */
	TD(0x14, 0, 3, .last = (1 << 17) - 1, .non_arch = true, .sparse = true, .first = 0x1fe,
	   .read = read_cpuid_value),

	VCPU(0x00, VMCS_PI_VECTOR, 1, pi_vector, 0xffff, .valid = valid_pi_vector),
	VCPU(0x00, VMCS_PI_DESC, 3, pi_desc, ~0ULL, .valid = valid_pi_desc),
	VCPU(0x00, VMCS_SHARED_EPTP, 3, shared_eptp, MASK_U64(51, 12), .valid = valid_shared_eptp),
	VCPU(0x00, VMCS_PIN_CONTROLS, 2, pin_controls, BIT_U64(7), .valid = valid_pin_controls),
	VCPU(0x00, VMCS_SECONDARY_CONTROLS, 2, secondary_controls, MASK_U64(31, 30)),
	VCPU(0x00, VMCS_NOTIFY_WINDOW, 2, notify_window, MASK_U64(31, 0)),
	VCPU(0x11, 0x100, 3, state_details, 0, .non_arch = true),
	VCPU(0x20, 11, 0, pend_nmi, BIT_U64(0)),
};

static const struct tdxm_field *find_field(enum tdxm_field_space space, uint64_t id)
{
	uint32_t code = ID_CODE(id);
	unsigned int i;

	if (id & (ID_RESERVED | ID_MULTIPLE))
		return NULL;
	for (i = 0; i < ARRAY_LEN(fields); i++) {
		const struct tdxm_field *field = &fields[i];

		if (field->space == space && field->class == ID_CLASS(id) && code >= field->code &&
		    code - field->code <= field->last)
			return field;
	}
	return NULL;
}

static uint64_t field_id(const struct tdxm_field *field, uint32_t index)
{
	return (field->non_arch ? ID_NON_ARCH : 0) | (uint64_t)field->class << 56 |
	       (uint64_t)field->space << 52 | (uint64_t)field->size << 32 | (field->code + index);
}

static bool is_absent(const struct tdxm *m, const struct tdxm_field *field)
{
	return field->td_preserving && !m->platform.td_preserving;
}

/* Id of the element behind @index of @field, or the first one of @space for NULL. */
static uint64_t next_id(const struct tdxm *m, enum tdxm_field_space space,
			const struct tdxm_field *field, uint32_t index)
{
	const struct tdxm_field *row;

	if (field && !field->sparse && index < field->last)
		return field_id(field, index + 1);
	for (row = field ? field + 1 : fields; row < fields + ARRAY_LEN(fields); row++) {
		if (row->space == space && !is_absent(m, row))
			return field_id(row, row->first);
	}
	return ID_NONE;
}

static uint64_t unknown_field(struct tdxm_call *call, const struct tdxm_field *field, uint64_t id)
{
	if (!field)
		tdxm_unimplemented(call->m, "%s: field 0x%llx", call->leaf->name,
				   (unsigned long long)id);
	return TDX_METADATA_FIELD_ID_INCORRECT;
}

static uint64_t read_element(const struct tdxm_call *call, const struct tdxm_field *field,
			     uint32_t index, uint64_t *value)
{
	if (field->debug_only && !(call->td->params.attributes & TDX_ATTR_DEBUG))
		return TDX_METADATA_FIELD_NOT_READABLE;
	if (field->read)
		return field->read(call, index, value);
	*value = field->space == TDXM_VCPU_FIELDS ? *storage_of(call, field) : field->constant;
	return TDX_SUCCESS;
}

uint64_t tdxm_metadata_read(struct tdxm_call *call, enum tdxm_field_space space, uint64_t id,
			    bool next_in_rdx)
{
	const struct tdxm_field *field;
	uint64_t status, value;

	call->out.r8 = 0;
	if (next_in_rdx && id == ID_NONE) {
		call->out.rdx = next_id(call->m, space, NULL, 0);
		return TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT;
	}
	field = find_field(space, id);
	if (!field || is_absent(call->m, field))
		return unknown_field(call, field, id);
	status = read_element(call, field, ID_CODE(id) - field->code, &value);
	if (status)
		return status;
	call->out.r8 = value;
	if (next_in_rdx)
		call->out.rdx = next_id(call->m, space, field, ID_CODE(id) - field->code);
	return TDX_SUCCESS;
}

uint64_t tdxm_metadata_prepare_write(struct tdxm_call *call, uint64_t id, uint64_t value,
				     uint64_t mask)
{
	const struct tdxm_field *field = find_field(TDXM_VCPU_FIELDS, id);
	uint64_t old, effective;

	if (!field)
		return unknown_field(call, field, id);
	old = *storage_of(call, field);
	effective = field->write_mask & mask;
	if (!effective)
		return TDX_METADATA_FIELD_NOT_WRITABLE;
	if ((value ^ old) & mask & ~effective)
		return TDX_METADATA_FIELD_VALUE_NOT_VALID;

	call->field = field;
	call->value = (old & ~effective) | (value & effective);
	return field->valid ? field->valid(call, call->value) : TDX_SUCCESS;
}

void tdxm_metadata_write(struct tdxm_call *call)
{
	uint64_t *storage = storage_of(call, call->field);

	call->out.r8 = *storage;
	*storage = call->value;
}
