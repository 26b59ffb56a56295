// SPDX-License-Identifier: GPL-2.0-only
/*
 * MRTD, the measurement of a TD's initial image, as the TDX module has it
 * equals what the kernel's own SHA-384 makes of the calls: pages measured or
 * not, in any order, with failed and resumed calls in between.
 */
#include "tdx_init_mem_mrtd.h"

static void expect_mrtd(struct __test_metadata *_metadata, u64 tdr,
			const struct mrtd_stream *stream, const char *when)
{
	char want_text[2 * MRTD_SIZE + 1], got_text[2 * MRTD_SIZE + 1];
	u8 want[MRTD_SIZE], got[MRTD_SIZE];

	mrtd_of_stream(stream, want);
	ASSERT_EQ(0, tdx_emul_mrtd(tdr, got));
	mrtd_print(want_text, want);
	mrtd_print(got_text, got);
	EXPECT_STREQ(want_text, got_text)
	{
		TH_LOG("MRTD %s, after %zu bytes of calls", when, stream->len);
	}
}

/* Short images, whose MRTD is known beforehand. */
#define LOW_PAGES 2
#define HIGH_GPA 0xfffff000ull

enum content {
	NO_PAGE,
	ZEROS,
	ONES,
	COUNTING, /* byte i is i & 0xff */
};

struct vector_page {
	enum content content;
	u64 gpa;
	u32 flags;
};

FIXTURE(vector)
{
	struct td td;
	struct td_slot low, high;
	struct mrtd_stream stream;
	u64 tdr;
};

FIXTURE_VARIANT(vector)
{
	struct vector_page pages[2];
	const char *mrtd[2]; /* the two halves of the digest */
};

#define MEASURED KVM_TDX_MEASURE_MEMORY_REGION

FIXTURE_VARIANT_ADD(vector, nothing_added) {
	.mrtd = { "38b060a751ac96384cd9327eb1b1e36a21fdb71114be0743",
		  "4c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b" },
};

FIXTURE_VARIANT_ADD(vector, gpa_0_unmeasured) {
	.pages = { { ONES, 0, 0 } },
	.mrtd = { "8f3e9a8aca6784eab874f7aa4dda5d49104a88047f1f8669",
		  "5ef2a88f5691a90e34aac48ce45ffa1f5a23c7d62980d570" },
};

FIXTURE_VARIANT_ADD(vector, zero_page_measured) {
	.pages = { { ZEROS, 0x1000, MEASURED } },
	.mrtd = { "ca76d5541328afef8bc9364261c515aebef90412ebc56ca0",
		  "c2260ec531a14462cfc0c11de61d84292ddf8ca871da1ff1" },
};

FIXTURE_VARIANT_ADD(vector, top_page_measured_then_gpa_0) {
	.pages = { { COUNTING, HIGH_GPA, MEASURED }, { ONES, 0, 0 } },
	.mrtd = { "b21112db51802421c29d51a7e93599280bdbee4cbd734a51",
		  "908c8267ba0276f4a3172d2fc3efcf0569367eb47171f8cb" },
};

FIXTURE_SETUP(vector)
{
	struct tdx_emul_td newest;

	if (mrtd_lacks())
		SKIP(return, "%s", mrtd_lacks());

	tdx_emul_reset();
	td_create(&self->td);
	td_slot_create(&self->low, &self->td, TD_SLOT + 1, 0, LOW_PAGES);
	td_slot_create(&self->high, &self->td, TD_SLOT + 2, HIGH_GPA, 1);
	ASSERT_EQ(0, tdx_emul_newest_td(&newest));
	self->tdr = newest.tdr;
}

FIXTURE_TEARDOWN(vector)
{
	td_destroy(&self->td);
	td_slot_free(&self->low);
	td_slot_free(&self->high);
	free(self->stream.bytes);
	td_audit(_metadata);
}

static void vector_fill(u8 *page, enum content content)
{
	unsigned int i;

	for (i = 0; i < PAGE_SIZE; i++)
		page[i] = content == COUNTING ? i & 0xff : content == ONES ? 0xff : 0;
}

TD_TEST_F(vector, mrtd_is_as_known)
{
	char known[2 * MRTD_SIZE + 1], got_text[2 * MRTD_SIZE + 1];
	u8 got[MRTD_SIZE];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(variant->pages); i++) {
		const struct vector_page *page = &variant->pages[i];

		if (page->content == NO_PAGE)
			break;
		vector_fill(self->td.source, page->content);
		vm_tdx_init_mem_region(self->td.vcpu, self->td.source, page->gpa, 1, page->flags);
		mrtd_append_page(&self->stream, page->gpa, self->td.source, page->flags);
	}

	expect_mrtd(_metadata, self->tdr, &self->stream, "before FINALIZE");
	vm_tdx_finalize(self->td.vm);
	expect_mrtd(_metadata, self->tdr, &self->stream, "after FINALIZE");

	snprintf(known, sizeof(known), "%s%s", variant->mrtd[0], variant->mrtd[1]);
	ASSERT_EQ(0, tdx_emul_mrtd(self->tdr, got));
	mrtd_print(got_text, got);
	EXPECT_STREQ(known, got_text);
}

/*
 * A random image: pages in chunks of random size and order, each measured or
 * not, and things that go wrong in between, of which MRTD must know nothing.
 */
#define IMAGE_GPA (2 * TD_GPA)
#define IMAGE_PAGES 96
#define IMAGE_MAX_CHUNK 8

struct chunk {
	unsigned int first;
	unsigned int nr;
	u32 flags;
};

struct image {
	struct td td;
	struct td_slot slot;
	struct mrtd_stream stream;
	void *source;
	u64 tdr;
	u64 random;
	unsigned int nr_chunks;
	struct chunk chunks[IMAGE_PAGES];
};

FIXTURE(image)
{
	struct image i;
};

static unsigned int image_random(struct image *image, unsigned int limit)
{
	return (td_random(&image->random) >> 32) % limit;
}

static u64 image_gpa(unsigned int page)
{
	return IMAGE_GPA + page * (u64)PAGE_SIZE;
}

static void *image_source(const struct image *image, unsigned int page)
{
	return image->source + page * (u64)PAGE_SIZE;
}

static void image_plan(struct image *image)
{
	unsigned int page, nr, i;

	for (page = 0; page < IMAGE_PAGES; page += nr) {
		nr = 1 + image_random(image, min(IMAGE_MAX_CHUNK, IMAGE_PAGES - (int)page));
		image->chunks[image->nr_chunks++] = (struct chunk) {
			.first = page,
			.nr = nr,
			.flags = image_random(image, 2) ? MEASURED : 0,
		};
	}

	for (i = image->nr_chunks - 1; i; i--) {
		unsigned int other = image_random(image, i + 1);
		struct chunk chunk = image->chunks[i];

		image->chunks[i] = image->chunks[other];
		image->chunks[other] = chunk;
	}
}

FIXTURE_SETUP(image)
{
	struct image *image = &self->i;
	struct tdx_emul_td newest;
	size_t i;

	if (mrtd_lacks())
		SKIP(return, "%s", mrtd_lacks());

	tdx_emul_reset();
	image->random = tdx_host_seed();
	printf("# seed %lu\n", image->random);

	td_create(&image->td);
	td_slot_create(&image->slot, &image->td, TD_SLOT + 1, IMAGE_GPA, IMAGE_PAGES);
	ASSERT_EQ(0, tdx_emul_newest_td(&newest));
	image->tdr = newest.tdr;

	image->source = td_mmap(image->slot.size);
	for (i = 0; i < image->slot.size; i += sizeof(u64))
		*(u64 *)(image->source + i) = td_random(&image->random);
	image_plan(image);
}

FIXTURE_TEARDOWN(image)
{
	tdx_emul_reset();
	td_destroy(&self->i.td);
	td_slot_free(&self->i.slot);
	munmap(self->i.source, IMAGE_PAGES * (size_t)PAGE_SIZE);
	free(self->i.stream.bytes);
	td_audit(_metadata);
}

/* Go on with a region; returns 0 or a negative errno, and books what was added. */
static int image_add(struct image *image, struct kvm_tdx_init_mem_region *region, u32 flags)
{
	struct kvm_tdx_init_mem_region before = *region;
	int r = __vm_tdx_init_mem_region(image->td.vcpu, region, flags) ? -errno : 0;
	u64 gpa;

	for (gpa = before.gpa; gpa < region->gpa; gpa += PAGE_SIZE)
		mrtd_append_page(&image->stream, gpa, image->source + (gpa - IMAGE_GPA), flags);

	return r;
}

static struct kvm_tdx_init_mem_region image_region(const struct image *image, unsigned int page,
						   unsigned int nr)
{
	return (struct kvm_tdx_init_mem_region) {
		.source_addr = (uintptr_t)image_source(image, page),
		.gpa = image_gpa(page),
		.nr_pages = nr,
	};
}

/* The ways to add a chunk, the first @done chunks being there already. */
static void add_at_once(struct __test_metadata *_metadata, struct image *image,
			const struct chunk *chunk, unsigned int __always_unused done)
{
	struct kvm_tdx_init_mem_region region = image_region(image, chunk->first, chunk->nr);

	EXPECT_RESULT(0, image_add(image, &region, chunk->flags));
}

static void add_after_refusal(struct __test_metadata *_metadata, struct image *image,
			      const struct chunk *chunk, unsigned int done)
{
	struct kvm_tdx_init_mem_region region = image_region(image, IMAGE_PAGES, 1);

	EXPECT_RESULT(-EINVAL, image_add(image, &region, chunk->flags));
	add_at_once(_metadata, image, chunk, done);
}

static void add_after_repetition(struct __test_metadata *_metadata, struct image *image,
				 const struct chunk *chunk, unsigned int done)
{
	const struct chunk *there = &image->chunks[image_random(image, done)];
	struct kvm_tdx_init_mem_region region = image_region(image, there->first, there->nr);

	EXPECT_TRUE(td_says_mapped(&image->td, image_add(image, &region, chunk->flags)));
	add_at_once(_metadata, image, chunk, done);
}

static void add_over_missing_source(struct __test_metadata *_metadata, struct image *image,
				    const struct chunk *chunk, unsigned int __always_unused done)
{
	struct kvm_tdx_init_mem_region region = image_region(image, chunk->first, chunk->nr);
	unsigned int stop = image_random(image, chunk->nr);
	void *hole = image_source(image, chunk->first + stop);

	ASSERT_EQ(0, mprotect(hole, PAGE_SIZE, PROT_NONE));
	EXPECT_RESULT(-EFAULT, image_add(image, &region, chunk->flags));
	EXPECT_EQ(chunk->nr - stop, region.nr_pages);
	ASSERT_EQ(0, mprotect(hole, PAGE_SIZE, PROT_READ | PROT_WRITE));
	EXPECT_RESULT(0, image_add(image, &region, chunk->flags));
}

/*
 * Later KVM itself tries again.  Up to 6.18 the call fails, and can be resumed
 * once a hole made the page forgotten.
 */
static void add_over_busy(struct __test_metadata *_metadata, struct image *image,
			  const struct chunk *chunk, unsigned int __always_unused done)
{
	struct kvm_tdx_init_mem_region region = image_region(image, chunk->first, chunk->nr);
	const struct tdx_emul_rule rule = {
		.action = TDX_EMUL_FAIL,
		.leaf = TDH_MEM_PAGE_ADD,
		.tdr = image->tdr,
		.gpa = image_gpa(chunk->first + image_random(image, chunk->nr)),
		.size = PAGE_SIZE,
		.count = 1,
		.status = TDX_OPERAND_BUSY + TDX_OPERAND_RDX,
	};
	u64 id;
	int r;

	ASSERT_EQ(0, tdx_emul_arm(&rule, &id));
	r = image_add(image, &region, chunk->flags);
	if (r == -EBUSY) {
		ASSERT_EQ(0, td_slot_punch(&image->slot, (region.gpa - IMAGE_GPA) / PAGE_SIZE, 1));
		r = image_add(image, &region, chunk->flags);
	}
	EXPECT_EQ(0, r);
	EXPECT_TRUE(tdx_emul_wait_hits(id, 1));
	EXPECT_RESULT(0, tdx_emul_disarm(id));
}

/* What was taken away and added again is measured once more. */
static void add_after_replacing(struct __test_metadata *_metadata, struct image *image,
				const struct chunk *chunk, unsigned int done)
{
	const struct chunk *there = &image->chunks[image_random(image, done)];
	struct kvm_tdx_init_mem_region region = image_region(image, there->first, there->nr);

	ASSERT_EQ(0, td_slot_punch(&image->slot, there->first, there->nr));
	expect_mrtd(_metadata, image->tdr, &image->stream, "after a hole");
	EXPECT_RESULT(0, image_add(image, &region, there->flags));
	add_at_once(_metadata, image, chunk, done);
}

static const struct {
	const char *name;
	void (*add)(struct __test_metadata *_metadata, struct image *image,
		    const struct chunk *chunk, unsigned int done);
	bool needs_others;
} image_ways[] = {
	{ "at once", add_at_once, false },
	{ "after a refused call", add_after_refusal, false },
	{ "after a page was added twice", add_after_repetition, true },
	{ "resumed after a missing source", add_over_missing_source, false },
	{ "over a busy PAGE.ADD", add_over_busy, false },
	{ "after pages were replaced", add_after_replacing, true },
};

TD_TEST_F(image, mrtd_is_that_of_the_calls)
{
	struct image *image = &self->i;
	unsigned int i;

	for (i = 0; i < image->nr_chunks && !_metadata->exit_code; i++) {
		unsigned int way = image_random(image, ARRAY_SIZE(image_ways));

		if (image_ways[way].needs_others && !i)
			way = 0;
		image_ways[way].add(_metadata, image, &image->chunks[i], i);
		expect_mrtd(_metadata, image->tdr, &image->stream, image_ways[way].name);
	}
	printf("# %u chunks, %zu bytes of calls\n", i, image->stream.len);

	EXPECT_ERRNO(0, __vm_tdx_finalize(image->td.vm));
	expect_mrtd(_metadata, image->tdr, &image->stream, "after FINALIZE");
	EXPECT_ERRNO(0, td_slot_punch(&image->slot, 0, IMAGE_PAGES));
	expect_mrtd(_metadata, image->tdr, &image->stream, "after the image is gone");
}

#include "tdx_init_mem_main.h"
