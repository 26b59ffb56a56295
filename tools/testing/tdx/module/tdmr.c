// SPDX-License-Identifier: GPL-2.0-only
/* TDMR_INFO: the checks of TDH.SYS.CONFIG, in their order. */
#include "module/tdmr.h"

#include "module/status.h"

struct range {
	uint64_t base, size;
};

static const uint64_t pamt_page_size[3] = { TDX_1G, TDX_2M, TDX_PAGE_SIZE };

static bool overlap(struct range a, struct range b)
{
	return a.size && b.size && a.base < b.base + b.size && b.base < a.base + a.size;
}

static bool has_bad_bits(struct range r, uint64_t align, unsigned int keyid_shift)
{
	uint64_t limit = BIT_U64(keyid_shift < 52 ? keyid_shift : 52);

	return (r.base | r.size) & (align - 1) || r.base >= limit || r.size > limit - r.base;
}

/* CMRs ascend; neighbours that touch count as one. */
static bool in_cmrs(const struct tdxm_platform *platform, struct range r)
{
	uint64_t at = r.base, end = r.base + r.size;
	unsigned int i;

	for (i = 0; i < platform->nr_cmrs && at < end; i++) {
		const struct tdxm_cmr *cmr = &platform->cmr[i];

		if (at >= cmr->base && at < cmr->base + cmr->size)
			at = cmr->base + cmr->size;
	}
	return at >= end;
}

static struct range pamt_range(const struct tdx_tdmr_info *tdmr, unsigned int k)
{
	return (struct range) { tdmr->pamt[k].base, tdmr->pamt[k].size };
}

/* The k-th stretch of a TDMR between reserved areas; false behind the last. */
static bool usable_range(const struct tdx_tdmr_info *tdmr, unsigned int k, struct range *r)
{
	const struct tdx_reserved_area *area = tdmr->reserved;
	uint64_t start, end;

	if (k > TDX_MAX_RESERVED_PER_TDMR || (k && !area[k - 1].size))
		return false;
	start = k ? area[k - 1].offset + area[k - 1].size : 0;
	end = k < TDX_MAX_RESERVED_PER_TDMR && area[k].size ? area[k].offset : tdmr->size;
	*r = (struct range) { tdmr->base + start, end - start };
	return true;
}

static bool overlaps_usable(const struct tdx_tdmr_info *tdmr, struct range r)
{
	struct range usable;
	unsigned int k;

	for (k = 0; usable_range(tdmr, k, &usable); k++) {
		if (overlap(usable, r))
			return true;
	}
	return false;
}

static uint64_t check_base(const struct tdx_tdmr_info *list, unsigned int i,
			   unsigned int keyid_shift)
{
	const struct tdx_tdmr_info *tdmr = &list[i];

	if (tdmr->base + tdmr->size < tdmr->base)
		return TDX_INVALID_TDMR + i;
	if (i && tdmr->base < list[i - 1].base + list[i - 1].size)
		return TDX_NON_ORDERED_TDMR + i;
	if (!tdmr->size ||
	    has_bad_bits((struct range) { tdmr->base, tdmr->size }, TDX_1G, keyid_shift))
		return TDX_INVALID_TDMR + i;
	return TDX_SUCCESS;
}

static uint64_t check_reserved(const struct tdx_tdmr_info *tdmr, unsigned int i)
{
	uint64_t end = 0;
	bool closed = false;
	unsigned int j;

	for (j = 0; j < TDX_MAX_RESERVED_PER_TDMR; j++) {
		const struct tdx_reserved_area *area = &tdmr->reserved[j];

		if (!area->size) {
			/* Unused is (0, 0), and only at the end. */
			if (area->offset)
				return TDX_INVALID_RESERVED_IN_TDMR + i + (j << 8);
			closed = true;
			continue;
		}
		if (closed || area->offset < end)
			return TDX_NON_ORDERED_RESERVED_IN_TDMR + i + (j << 8);
		if ((area->offset | area->size) & (TDX_PAGE_SIZE - 1) ||
		    area->offset > tdmr->size || area->size > tdmr->size - area->offset)
			return TDX_INVALID_RESERVED_IN_TDMR + i + (j << 8);
		end = area->offset + area->size;
	}
	return TDX_SUCCESS;
}

static uint64_t check_pamt(const struct tdxm_platform *platform, unsigned int keyid_shift,
			   const struct tdx_tdmr_info *list, unsigned int i)
{
	const struct tdx_tdmr_info *tdmr = &list[i];
	unsigned int j, k, l;

	for (k = 0; k < 3; k++) {
		if (has_bad_bits(pamt_range(tdmr, k), TDX_PAGE_SIZE, keyid_shift) ||
		    tdmr->pamt[k].size < tdmr->size / pamt_page_size[k] * TDX_PAMT_ENTRY_SIZE)
			return TDX_INVALID_PAMT + i + ((2 - k) << 8);
	}
	for (k = 0; k < 3; k++) {
		struct range pamt = pamt_range(tdmr, k);
		uint64_t where = i + ((2 - k) << 8);

		for (j = 0; j <= i; j++) {
			if (overlaps_usable(&list[j], pamt))
				return TDX_PAMT_OVERLAP + where + (j << 16);
			for (l = 0; l < 3; l++) {
				if ((j < i || l < k) && overlap(pamt_range(&list[j], l), pamt))
					return TDX_PAMT_OVERLAP + where + (j << 16);
				if (j < i && overlaps_usable(tdmr, pamt_range(&list[j], l)))
					return TDX_PAMT_OVERLAP + j + ((2 - l) << 8) + (i << 16);
			}
		}
		if (!in_cmrs(platform, pamt))
			return TDX_PAMT_OUTSIDE_CMRS + where;
	}
	return TDX_SUCCESS;
}

static uint64_t check_cmrs(const struct tdxm_platform *platform, const struct tdx_tdmr_info *tdmr,
			   unsigned int i)
{
	struct range usable;
	unsigned int k;

	for (k = 0; usable_range(tdmr, k, &usable); k++) {
		if (!in_cmrs(platform, usable))
			return TDX_TDMR_OUTSIDE_CMRS + i;
	}
	return TDX_SUCCESS;
}

uint64_t tdxm_tdmr_check(const struct tdxm_platform *platform, unsigned int keyid_shift,
			 const struct tdx_tdmr_info *list, unsigned int i)
{
	uint64_t status = check_base(list, i, keyid_shift);

	if (!status)
		status = check_reserved(&list[i], i);
	if (!status)
		status = check_pamt(platform, keyid_shift, list, i);
	if (!status)
		status = check_cmrs(platform, &list[i], i);
	return status;
}

bool tdxm_tdmr_reserved(const struct tdx_tdmr_info *tdmr, uint64_t hpa)
{
	unsigned int j;

	for (j = 0; j < TDX_MAX_RESERVED_PER_TDMR && tdmr->reserved[j].size; j++) {
		uint64_t start = tdmr->base + tdmr->reserved[j].offset;

		if (hpa >= start && hpa - start < tdmr->reserved[j].size)
			return true;
	}
	return false;
}
