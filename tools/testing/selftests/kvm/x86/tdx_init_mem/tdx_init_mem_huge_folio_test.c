// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest_memfd with folios of 2 MiB under KVM_TDX_INIT_MEM_REGION: a folio is one
 * where file, bindings and memory allow it, whoever is the first to want it.
 */
#include "tdx_init_mem_gmem_td.h"

#define NR_PAGES (2 * FOLIO_PAGES)

/*
 * Where folios of 2 MiB are.  @gfn is how many pages behind a 2 MiB boundary
 * page 0 of the file belongs; bound are @nr pages from @first on and, in a
 * slot of their own, the next @nr_second.
 */
FIXTURE(bound)
{
	struct gmem_td t;
	unsigned int nr_huge;
};

/* @allocated: folios that fallocate() makes before there is a binding */
FIXTURE_VARIANT(bound)
{
	unsigned int nr_pages;
	unsigned int gfn;
	unsigned int first;
	unsigned int nr;
	unsigned int nr_second;
	unsigned int allocated;
	unsigned int huge; /* bit n: pages [n * 512, n * 512 + 512) are one folio */
};

#define BOUND(_name) FIXTURE_VARIANT_ADD(bound, _name)

/* clang-format off */
BOUND(aligned) { NR_PAGES, 0, 0, NR_PAGES, .huge = 3 };
BOUND(second_folio_only) { NR_PAGES, 0, FOLIO_PAGES, FOLIO_PAGES, .huge = 2 };
BOUND(in_two_slots_of_whole_folios) { NR_PAGES, 0, 0, FOLIO_PAGES, FOLIO_PAGES, .huge = 3 };
BOUND(gfn_not_congruent) { NR_PAGES, 1, 0, NR_PAGES, .huge = 0 };
BOUND(gfn_half_a_folio_off) { NR_PAGES, 256, 0, NR_PAGES, .huge = 0 };
BOUND(slot_starts_inside_first_folio) { NR_PAGES, 0, 1, NR_PAGES - 1, .huge = 2 };
BOUND(slot_ends_inside_last_folio) { NR_PAGES, 0, 0, NR_PAGES - 1, .huge = 1 };
BOUND(slot_smaller_than_a_folio) { NR_PAGES, 0, 96, 320, .huge = 0 };
BOUND(slots_meet_inside_a_folio) { NR_PAGES, 0, 0, 256, 768, .huge = 2 };
BOUND(file_ends_inside_last_folio) { FOLIO_PAGES + 16, 0, 0, FOLIO_PAGES + 16, .huge = 1 };
BOUND(file_smaller_than_a_folio) { FOLIO_PAGES - 1, 0, 0, FOLIO_PAGES - 1, .huge = 0 };
/* Folios that were there before the binding which they do not fit. */
BOUND(gfn_not_congruent_later) { NR_PAGES, 1, 0, NR_PAGES, .allocated = 2, .huge = 3 };
BOUND(slot_starts_inside_later) { NR_PAGES, 0, 1, NR_PAGES - 1, .allocated = 2, .huge = 3 };
BOUND(slots_meet_inside_later) { NR_PAGES, 0, 0, 256, 768, .allocated = 2, .huge = 3 };
/* clang-format on */

FIXTURE_SETUP(bound)
{
	struct gmem_td *t = &self->t;

	if (gmem_td_lacks(true))
		SKIP(return, "%s", gmem_td_lacks(true));

	self->nr_huge = gmem_nr_huge();
	gmem_td_create(t, variant->nr_pages, true, GMEM_GPA + variant->gfn * (u64)PAGE_SIZE);
	t->g.sparse = true;
	if (variant->allocated)
		ASSERT_EQ(0, gmem_allocate(&t->g, 0, variant->nr_pages));
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->allocated);

	ASSERT_EQ(0, gmem_bind(&t->g, GMEM_SLOT, variant->first, variant->nr));
	if (variant->nr_second)
		ASSERT_EQ(0, gmem_bind(&t->g, GMEM_SLOT + 1, variant->first + variant->nr,
				       variant->nr_second));
}

FIXTURE_TEARDOWN(bound)
{
	gmem_td_destroy(&self->t);
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	td_audit(_metadata);
}

static unsigned int bound_end(const FIXTURE_VARIANT(bound) * variant)
{
	return variant->first + variant->nr + variant->nr_second;
}

static int bound_add(const struct gmem_td *t, const FIXTURE_VARIANT(bound) * variant)
{
	int r = gmem_add(&t->g, t->td.vcpu, variant->first, variant->nr);

	if (r || !variant->nr_second)
		return r;

	return gmem_add(&t->g, t->td.vcpu, variant->first + variant->nr, variant->nr_second);
}

/* What of 2 MiB range @folio is bound. */
static void bound_part(const FIXTURE_VARIANT(bound) * variant, unsigned int folio,
		       unsigned int *first, unsigned int *nr)
{
	unsigned int start = max(folio * FOLIO_PAGES, variant->first);
	unsigned int end = min((folio + 1) * FOLIO_PAGES, bound_end(variant));

	*first = start;
	*nr = start < end ? end - start : 0;
}

/* A page among them has a life of its own all the same. */
static void bound_replace(struct __test_metadata *_metadata, struct gmem_td *t, unsigned int page)
{
	ASSERT_EQ(0, gmem_punch(&t->g, page, 1));
	gmem_expect_free(_metadata, t, page, 1);
	gmem_fill(&t->g, page, 1, 2);
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, page, 1));
}

TD_TEST_F(bound, folios_are_where_file_and_slots_allow)
{
	struct gmem_td *t = &self->t;
	unsigned int folio, first, nr;

	ASSERT_EQ(0, bound_add(t, variant));
	gmem_expect_nr_huge(_metadata, self->nr_huge, __builtin_popcount(variant->huge));
	gmem_expect_source(_metadata, t, variant->first, bound_end(variant) - variant->first);

	for (folio = 0; folio < NR_PAGES / FOLIO_PAGES; folio++) {
		bound_part(variant, folio, &first, &nr);
		if (!(variant->huge & BIT(folio)) || !nr)
			continue;
		EXPECT_TRUE(gmem_is_one_folio(&t->g, t->tdr, first, nr))
		{
			TH_LOG("pages %u+%u, of which the first is at 0x%lx, are not in one folio",
			       first, nr, gmem_hpa(&t->g, t->tdr, first));
		}
	}

	bound_replace(_metadata, t, (variant->first + variant->nr / 2) / GMEM_SPARSE * GMEM_SPARSE);
	gmem_expect_source(_metadata, t, variant->first, bound_end(variant) - variant->first);
	gmem_td_finalize(_metadata, t);
}

/* No memory of 2 MiB is to be had, by fault injection for this task alone. */
static const struct {
	const char *path;
	const char *value;
} starved_knobs[] = {
#define FAIL_PAGE_ALLOC "/sys/kernel/debug/fail_page_alloc/"
	{ FAIL_PAGE_ALLOC "min-order", "9" },	    { FAIL_PAGE_ALLOC "ignore-gfp-highmem", "N" },
	{ FAIL_PAGE_ALLOC "ignore-gfp-wait", "N" }, { FAIL_PAGE_ALLOC "task-filter", "Y" },
	{ FAIL_PAGE_ALLOC "interval", "1" },	    { FAIL_PAGE_ALLOC "verbose", "0" },
	{ FAIL_PAGE_ALLOC "times", "-1" },	    { FAIL_PAGE_ALLOC "probability", "100" },
	{ "/proc/self/make-it-fail", "1" },
};

FIXTURE(starved)
{
	struct gmem_td t;
	unsigned int nr_huge;
	char former[ARRAY_SIZE(starved_knobs)][16];
	bool starved;
};

static void starve(FIXTURE_DATA(starved) * self)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(starved_knobs); i++)
		knob_read(starved_knobs[i].path, self->former[i], sizeof(self->former[i]));
	self->starved = true;
	for (i = 0; i < ARRAY_SIZE(starved_knobs); i++)
		knob_write(starved_knobs[i].path, starved_knobs[i].value);
}

static void feed(FIXTURE_DATA(starved) * self)
{
	unsigned int i = ARRAY_SIZE(starved_knobs);

	while (self->starved && i--)
		knob_write(starved_knobs[i].path, self->former[i]);
	self->starved = false;
}

FIXTURE_SETUP(starved)
{
	if (gmem_td_lacks(true))
		SKIP(return, "%s", gmem_td_lacks(true));
	if (access(starved_knobs[0].path, W_OK))
		SKIP(return, "no fault injection for pages (CONFIG_FAIL_PAGE_ALLOC, debugfs)");

	gmem_folios_create(_metadata, &self->t, &self->nr_huge);
}

FIXTURE_TEARDOWN(starved)
{
	feed(self);
	gmem_folios_destroy(_metadata, &self->t, self->nr_huge);
}

/* The second half shows that but for the knobs there is memory. */
TD_TEST_F(starved, populate_makes_do_with_small_folios)
{
	struct gmem_td *t = &self->t;

	starve(self);
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, 0, FOLIO_PAGES));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	feed(self);
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, FOLIO_PAGES, FOLIO_PAGES));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 1);

	gmem_expect_source(_metadata, t, 0, NR_PAGES);
	gmem_td_finalize(_metadata, t);
}

TD_TEST_F(starved, allocate_makes_do_with_small_folios)
{
	struct gmem_td *t = &self->t;

	starve(self);
	EXPECT_RESULT(0, gmem_allocate(&t->g, 0, FOLIO_PAGES));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	feed(self);
	EXPECT_RESULT(0, gmem_allocate(&t->g, 0, NR_PAGES));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 1);

	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, 0, NR_PAGES));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 1);
	gmem_expect_source(_metadata, t, 0, NR_PAGES);
	gmem_td_finalize(_metadata, t);
}

/* A file that began with small folios in a range keeps to them until they are gone. */
TD_TEST_F(starved, small_folios_stay_until_punched)
{
	struct gmem_td *t = &self->t;

	starve(self);
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, 32, 1));
	feed(self);
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, 33, 1));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);

	ASSERT_EQ(0, gmem_punch(&t->g, 32, 2));
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, 0, FOLIO_PAGES));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 1);
	gmem_expect_source(_metadata, t, 0, FOLIO_PAGES);
	gmem_td_finalize(_metadata, t);
}

/* Two vCPUs populate one folio, in two threads. */
#define SHARED_ROUNDS 4

FIXTURE(shared)
{
	struct gmem_td t;
	unsigned int nr_huge;
	struct tdx_task tasks[2];
	pthread_barrier_t barrier;
};

/* Each takes @nr pages at a time, then the other's turn. */
FIXTURE_VARIANT(shared)
{
	unsigned int nr;
};

FIXTURE_VARIANT_ADD(shared, halves) { FOLIO_PAGES / 2 };
FIXTURE_VARIANT_ADD(shared, by_turns) { 8 };

FIXTURE_SETUP(shared)
{
	if (gmem_td_lacks(true))
		SKIP(return, "%s", gmem_td_lacks(true));

	gmem_folios_create(_metadata, &self->t, &self->nr_huge);
	pthread_barrier_init(&self->barrier, NULL, ARRAY_SIZE(self->tasks));
}

FIXTURE_TEARDOWN(shared)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(self->tasks); i++)
		tdx_task_finish(&self->tasks[i]);
	gmem_folios_destroy(_metadata, &self->t, self->nr_huge);
}

struct shared_part {
	const struct gmem *g;
	struct kvm_vcpu *vcpu;
	pthread_barrier_t *barrier;
	unsigned int first;
	unsigned int nr;
};

static int shared_add_fn(void *arg)
{
	struct shared_part *part = arg;
	unsigned int page;

	pthread_barrier_wait(part->barrier);
	for (page = part->first; page < FOLIO_PAGES; page += 2 * part->nr) {
		int r = gmem_add(part->g, part->vcpu, page, part->nr);

		if (r)
			return r;
	}

	return 0;
}

TD_TEST_F(shared, folio_of_two_vcpus_is_one)
{
	struct gmem_td *t = &self->t;
	struct shared_part parts[] = {
		{ &t->g, t->td.vcpu, &self->barrier, 0, variant->nr },
		{ &t->g, vm_tdx_vcpu_add(t->td.vm, 1), &self->barrier, variant->nr, variant->nr },
	};
	unsigned int round, i;

	for (round = 0; round < SHARED_ROUNDS && !_metadata->exit_code; round++) {
		gmem_fill(&t->g, 0, FOLIO_PAGES, round);
		for (i = 0; i < ARRAY_SIZE(parts); i++)
			tdx_task_start(&self->tasks[i], "populate", shared_add_fn, &parts[i]);
		for (i = 0; i < ARRAY_SIZE(parts); i++)
			EXPECT_RESULT(0, tdx_task_finish(&self->tasks[i]));

		gmem_expect_nr_huge(_metadata, self->nr_huge, 1);
		gmem_expect_source(_metadata, t, 0, FOLIO_PAGES);
		EXPECT_TRUE(gmem_is_one_folio(&t->g, t->tdr, 0, FOLIO_PAGES));
		ASSERT_EQ(0, gmem_punch(&t->g, 0, FOLIO_PAGES));
		gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	}
	gmem_td_finalize(_metadata, t);
}

/* fallocate() before anything else. */
FIXTURE(allocated)
{
	struct gmem_td t;
	unsigned int nr_huge;
};

/* Folios of 2 MiB after fallocate(), and after all was populated. */
FIXTURE_VARIANT(allocated)
{
	unsigned int first;
	unsigned int nr;
	unsigned int huge_at_first;
	unsigned int huge_at_last;
};

#define ALLOCATED(_name) FIXTURE_VARIANT_ADD(allocated, _name)

ALLOCATED(whole_file) { 0, NR_PAGES, 2, 2 };
ALLOCATED(first_folio) { 0, FOLIO_PAGES, 1, 2 };
ALLOCATED(second_folio) { FOLIO_PAGES, FOLIO_PAGES, 1, 2 };
ALLOCATED(one_page) { 100, 1, 0, 1 };
ALLOCATED(all_but_a_page) { 0, FOLIO_PAGES - 1, 0, 1 };
ALLOCATED(a_folio_and_a_part) { 0, 700, 1, 1 };
ALLOCATED(parts_of_both) { 500, 24, 0, 0 };

FIXTURE_SETUP(allocated)
{
	if (gmem_td_lacks(true))
		SKIP(return, "%s", gmem_td_lacks(true));

	gmem_folios_create(_metadata, &self->t, &self->nr_huge);
	ASSERT_EQ(0, gmem_allocate(&self->t.g, variant->first, variant->nr));
}

FIXTURE_TEARDOWN(allocated)
{
	gmem_folios_destroy(_metadata, &self->t, self->nr_huge);
}

TD_TEST_F(allocated, populate_takes_what_is_there)
{
	struct gmem_td *t = &self->t;

	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->huge_at_first);
	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, NR_PAGES));
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->huge_at_last);
	gmem_expect_source(_metadata, t, 0, NR_PAGES);
	gmem_td_finalize(_metadata, t);
}

TD_TEST_F(allocated, twice_changes_nothing)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, variant->first, variant->nr));
	ASSERT_EQ(0, gmem_allocate(&t->g, variant->first, variant->nr));
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->huge_at_first);
	gmem_expect_source(_metadata, t, variant->first, variant->nr);
	gmem_td_finalize(_metadata, t);
}

TD_TEST_F(allocated, punched_away_makes_room)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_punch(&t->g, variant->first, variant->nr));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, NR_PAGES));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 2);
	gmem_expect_source(_metadata, t, 0, NR_PAGES);
	gmem_td_finalize(_metadata, t);
}

/* The measurement knows of contents and addresses, not of folios. */
FIXTURE(measured)
{
	struct gmem_td tds[2]; /* small folios, huge ones */
};

FIXTURE_SETUP(measured)
{
	unsigned int i;

	if (gmem_td_lacks(true))
		SKIP(return, "%s", gmem_td_lacks(true));

	for (i = 0; i < ARRAY_SIZE(self->tds); i++) {
		gmem_td_create(&self->tds[i], FOLIO_PAGES, i, GMEM_GPA);
		ASSERT_EQ(0, gmem_bind(&self->tds[i].g, GMEM_SLOT, 0, FOLIO_PAGES));
	}
}

FIXTURE_TEARDOWN(measured)
{
	gmem_td_destroy(&self->tds[0]);
	gmem_td_destroy(&self->tds[1]);
	td_audit(_metadata);
}

#define MEASURED_CHUNK 64

TD_TEST_F(measured, mrtd_is_that_of_small_folios)
{
	u8 mrtd[ARRAY_SIZE(self->tds)][TDX_EMUL_MRTD_SIZE] = {};
	unsigned int i, page;

	for (i = 0; i < ARRAY_SIZE(self->tds); i++) {
		struct gmem_td *t = &self->tds[i];

		for (page = 0; page < FOLIO_PAGES; page += MEASURED_CHUNK) {
			u32 flags = page / MEASURED_CHUNK % 2 ? KVM_TDX_MEASURE_MEMORY_REGION : 0;

			ASSERT_EQ(0,
				  gmem_add_flags(&t->g, t->td.vcpu, page, MEASURED_CHUNK, flags));
		}
		gmem_td_finalize(_metadata, t);
		ASSERT_EQ(0, tdx_emul_mrtd(t->tdr, mrtd[i]));
	}
	EXPECT_FALSE(gmem_is((u64 *)mrtd[0], 0, sizeof(mrtd[0])));
	EXPECT_TRUE(!memcmp(mrtd[0], mrtd[1], sizeof(mrtd[0])));
}

#include "tdx_init_mem_main.h"
