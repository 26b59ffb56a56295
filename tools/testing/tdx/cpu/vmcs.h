/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VMCS: which fields exist, and where their values live.
 *
 * The values are kept in the VMCS region itself, in guest memory, as a real
 * processor may. So a VMCS needs no bookkeeping, and one that the kernel frees
 * while it is still current corrupts its next owner as it would on hardware.
 */
#ifndef VMXR_VMCS_H
#define VMXR_VMCS_H

#include "cpu/vmxr.h"

struct vmxr_field {
	uint16_t encoding;
	const char *name;
};

/* Layout of a VMCS region, in bytes. The first two words are architectural. */
#define VMXR_VMCS_REVISION_OFFSET 0
#define VMXR_VMCS_LAUNCHED_OFFSET 8
#define VMXR_VMCS_FIELDS_OFFSET 64
#define VMXR_VMCS_SIZE 4096

/* Table of all fields, full-width encodings only, in ascending order. */
size_t vmxr_nr_fields(void);
const struct vmxr_field *vmxr_field(size_t index);

/* vmxr_field_find - index of a field by full or high encoding, or -1 */
int vmxr_field_find(uint32_t encoding);

/* Width in bits, and whether the field is VM-exit information. */
unsigned int vmxr_field_width(uint32_t encoding);
bool vmxr_field_is_read_only(uint32_t encoding);

/* vmxr_vmcs_read/write - one field of the VMCS at vmcs; false when the region is not RAM */
bool vmxr_vmcs_read(uint64_t vmcs, int index, uint32_t encoding, uint64_t *value,
		    const struct vmxr_ops *ops, void *opaque);
bool vmxr_vmcs_write(uint64_t vmcs, int index, uint32_t encoding, uint64_t value,
		     const struct vmxr_ops *ops, void *opaque);

#endif /* VMXR_VMCS_H */
