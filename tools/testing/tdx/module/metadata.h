/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Metadata fields: one table for SYS.RD, MNG.RD, VP.RD and VP.WR. Fields are
 * found by class and code; size and context in an id are not looked at, since
 * KVM leaves them zero.
 */
#ifndef TDXM_METADATA_H
#define TDXM_METADATA_H

#include <stdbool.h>
#include <stdint.h>

struct tdxm_call;

enum tdxm_field_space {
	TDXM_SYS_FIELDS,
	TDXM_TD_FIELDS,
	TDXM_VCPU_FIELDS
};

/*
 * Read field @id into R8. With @next_in_rdx, RDX becomes the id of the next
 * field, or all ones behind the last, and an id of all ones asks for the first.
 */
uint64_t tdxm_metadata_read(struct tdxm_call *call, enum tdxm_field_space space, uint64_t id,
			    bool next_in_rdx);
/* Find the VCPU field of a VP.WR and compute its new value, without writing. */
uint64_t tdxm_metadata_prepare_write(struct tdxm_call *call, uint64_t id, uint64_t value,
				     uint64_t mask);
/* Write what was prepared. */
void tdxm_metadata_write(struct tdxm_call *call);

#endif /* TDXM_METADATA_H */
