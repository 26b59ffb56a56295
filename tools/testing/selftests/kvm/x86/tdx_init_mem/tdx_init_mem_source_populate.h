/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Populates from a source, and looks whether the TD has what the source had.
 */
#ifndef TDX_INIT_MEM_SOURCE_POPULATE_H
#define TDX_INIT_MEM_SOURCE_POPULATE_H

#include "tdx_init_mem.h"
#include "tdx_init_mem_source.h"

static inline int source_populate_some(struct source *s, struct kvm_tdx_init_mem_region *region,
				       unsigned int page, unsigned int nr)
{
	*region = (struct kvm_tdx_init_mem_region) {
		.source_addr = (uintptr_t)s->mem + page * PAGE_SIZE,
		.gpa = td_gpa(page),
		.nr_pages = nr,
	};

	return __vm_tdx_init_mem_region(s->td.vcpu, region, 0) ? -errno : 0;
}

static inline int source_populate(struct source *s, struct kvm_tdx_init_mem_region *region)
{
	return source_populate_some(s, region, 0, SOURCE_PAGES);
}

/* The first @nr pages of the TD are the first ones of @content. */
static inline void source_expect(struct __test_metadata *_metadata, const struct source *s,
				 unsigned int nr)
{
	u8 chunk[TDX_EMUL_READ_SIZE];
	size_t offset;
	int r = 0;

	for (offset = 0; s->tdr && offset < nr * PAGE_SIZE; offset += sizeof(chunk)) {
		r = tdx_emul_read(s->tdr, TD_GPA + offset, chunk);
		if (r || memcmp(chunk, s->content + offset, sizeof(chunk)))
			break;
	}

	EXPECT_TRUE(!s->tdr || offset == nr * PAGE_SIZE)
	{
		TH_LOG("at TD_GPA + 0x%zx: %s", offset,
		       r ? tdx_errno_name(r) : "not what the source has");
	}
}

static inline void source_expect_progress(struct __test_metadata *_metadata, const struct source *s,
					  const struct kvm_tdx_init_mem_region *region,
					  unsigned int done)
{
	EXPECT_TRUE(region->source_addr == (uintptr_t)s->mem + done * PAGE_SIZE &&
		    region->gpa == td_gpa(done) && region->nr_pages == SOURCE_PAGES - done)
	{
		TH_LOG("want %u pages done, got source + 0x%llx, gpa + 0x%llx, %llu left", done,
		       region->source_addr - (uintptr_t)s->mem, region->gpa - TD_GPA,
		       region->nr_pages);
	}
}

#endif /* TDX_INIT_MEM_SOURCE_POPULATE_H */
