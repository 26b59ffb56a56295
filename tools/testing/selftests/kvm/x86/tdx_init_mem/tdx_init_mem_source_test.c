// SPDX-License-Identifier: GPL-2.0-only
/*
 * The source of KVM_TDX_INIT_MEM_REGION: memory of any kind will do that can be
 * read.  A page of the TD has the contents that its source has when it is its
 * turn, whatever becomes of the source meanwhile; and source pages are let go of
 * as soon as the call is over, however it ends.
 *
 * Contents are looked at where the host is emulated.  On silicon the same calls
 * must succeed or fail, and nothing may be held on to.
 */
#include "tdx_init_mem.h"
#include "tdx_init_mem_source.h"
#include "tdx/tdx_memcg.h"

static int source_populate_some(struct source *s, struct kvm_tdx_init_mem_region *region,
				unsigned int page, unsigned int nr)
{
	*region = (struct kvm_tdx_init_mem_region) {
		.source_addr = (uintptr_t)s->mem + page * PAGE_SIZE,
		.gpa = td_gpa(page),
		.nr_pages = nr,
	};

	return __vm_tdx_init_mem_region(s->td.vcpu, region, 0) ? -errno : 0;
}

static int source_populate(struct source *s, struct kvm_tdx_init_mem_region *region)
{
	return source_populate_some(s, region, 0, SOURCE_PAGES);
}

/* The first @nr pages of the TD are the first ones of @content. */
static void source_expect(struct __test_metadata *_metadata, const struct source *s,
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

static void source_expect_progress(struct __test_metadata *_metadata, const struct source *s,
				   const struct kvm_tdx_init_mem_region *region, unsigned int done)
{
	EXPECT_TRUE(region->source_addr == (uintptr_t)s->mem + done * PAGE_SIZE &&
		    region->gpa == td_gpa(done) && region->nr_pages == SOURCE_PAGES - done)
	{
		TH_LOG("want %u pages done, got source + 0x%llx, gpa + 0x%llx, %llu left", done,
		       region->source_addr - (uintptr_t)s->mem, region->gpa - TD_GPA,
		       region->nr_pages);
	}
}

/* What a page can be read from. */
FIXTURE(kind)
{
	struct source s;
};

/*
 * @flags:	what the kernel calls such pages, or they are not of the kind
 */
FIXTURE_VARIANT(kind)
{
	source_make_fn *make;
	u64 flags;
};

/* clang-format off */
#define KIND(_name, _flags) FIXTURE_VARIANT_ADD(kind, _name) { source_##_name, _flags }
	/* clang-format on */

#define KPF(_flag) BIT_ULL(KPF_##_flag)

KIND(anonymous, KPF(ANON));
KIND(never_written, KPF(ZERO_PAGE));
KIND(huge, KPF(ANON) | KPF(THP));
KIND(huge_never_written, KPF(ZERO_PAGE));
KIND(hugetlb, KPF(HUGE));
KIND(shmem, KPF(SWAPBACKED));
KIND(memfd_sealed, KPF(SWAPBACKED));
KIND(tmpfs_shared, KPF(SWAPBACKED));
KIND(tmpfs_private, KPF(SWAPBACKED));
KIND(tmpfs_private_written, KPF(SWAPBACKED));
KIND(file_ends_in_last_page, KPF(SWAPBACKED));
KIND(read_only, KPF(ANON));
KIND(executable, 0);
KIND(same_page, KPF(SWAPBACKED));
KIND(two_mappings, KPF(SWAPBACKED));
KIND(shared_half, KPF(ANON));
KIND(forked, KPF(ANON));
KIND(write_protected, KPF(ANON));
KIND(swapped_out, KPF(ANON));
KIND(guest_memfd, 0);

FIXTURE_SETUP(kind)
{
	const char *lack = source_begin(&self->s, variant->make);

	if (lack)
		SKIP(return, "%s", lack);
}

FIXTURE_TEARDOWN(kind)
{
	source_end(&self->s);
	td_audit(_metadata);
}

static void kind_expect(struct __test_metadata *_metadata, const struct source *s, u64 flags)
{
	unsigned int page;
	u64 got;

	for (page = 0; page < SOURCE_PAGES; page++) {
		got = source_page_flags(s, page);
		EXPECT_TRUE(!got || (got & flags) == flags)
		{
			TH_LOG("page %u of the source: want 0x%lx in kpageflags, got 0x%lx", page,
			       flags, got);
		}
	}
}

TD_TEST_F(kind, contents_are_those_of_the_source)
{
	struct kvm_tdx_init_mem_region region;

	EXPECT_EQ(0, source_populate(&self->s, &region))
	{
		TH_LOG("page %lld of the source: %s", SOURCE_PAGES - region.nr_pages,
		       tdx_errno_name(errno));
	}
	source_expect_progress(_metadata, &self->s, &region, SOURCE_PAGES);
	source_expect(_metadata, &self->s, SOURCE_PAGES);
	kind_expect(_metadata, &self->s, variant->flags);
	td_complete(_metadata, &self->s.td);
}

/*
 * What is not held on to.  Zero pages are nobody's, those of a program are charged
 * to whoever ran it first, the memory of the slot stays, and one page for all is
 * too few to be missed.
 */
FIXTURE(let_go)
{
	struct source s;
	struct tdx_memcg memcg;
};

/*
 * @in_use:	pages in use, to which each one is added that is held on to
 */
FIXTURE_VARIANT(let_go)
{
	source_make_fn *make;
	long (*in_use)(const struct tdx_memcg *memcg);
};

static long hugetlb_in_use(const struct tdx_memcg __always_unused *memcg)
{
	long pages = source_read_number(SOURCE_HUGETLB "nr_hugepages") -
		     source_read_number(SOURCE_HUGETLB "free_hugepages");

	return pages * (SOURCE_HUGE_SIZE / PAGE_SIZE);
}

/* clang-format off */
#define LET_GO(_name, _in_use)							\
	FIXTURE_VARIANT_ADD(let_go, _name) { source_##_name, _in_use }
/* clang-format on */

LET_GO(anonymous, tdx_memcg_pages);
LET_GO(huge, tdx_memcg_pages);
LET_GO(hugetlb, hugetlb_in_use);
LET_GO(shmem, tdx_memcg_pages);
LET_GO(tmpfs_shared, tdx_memcg_pages);
LET_GO(tmpfs_private_written, tdx_memcg_pages);
LET_GO(two_mappings, tdx_memcg_pages);
LET_GO(forked, tdx_memcg_pages);
LET_GO(write_protected, tdx_memcg_pages);
LET_GO(swapped_out, tdx_memcg_pages);
LET_GO(guest_memfd, tdx_memcg_pages);

FIXTURE_SETUP(let_go)
{
	const char *lack;

	/* A memory cgroup has pages in store for each CPU. */
	tdx_task_pin(0);
	if (!tdx_memcg_enter(&self->memcg))
		SKIP(return, "no memory cgroup to be had");

	lack = source_begin(&self->s, variant->make);
	if (lack)
		SKIP(tdx_memcg_leave(&self->memcg); return, "%s", lack);
}

FIXTURE_TEARDOWN(let_go)
{
	source_end(&self->s);
	tdx_memcg_leave(&self->memcg);
	td_audit(_metadata);
}

/* One page of each call held on to is twice as many as are too many. */
#define LET_GO_ROUNDS 64
#define LET_GO_PAGES 2
#define LET_GO_LIMIT (LET_GO_ROUNDS * SOURCE_PAGES / LET_GO_PAGES / 2)

TD_TEST_F(let_go, however_often)
{
	struct kvm_tdx_init_mem_region region;
	struct source *s = &self->s;
	unsigned int round, page;
	long before = 0, more;

	for (round = 0; round <= LET_GO_ROUNDS; round++) {
		source_unmake(s);
		if (round == 1)
			before = variant->in_use(&self->memcg);
		ASSERT_EQ(NULL, variant->make(s));
		for (page = 0; page < SOURCE_PAGES; page += LET_GO_PAGES)
			ASSERT_EQ(0, source_populate_some(s, &region, page, LET_GO_PAGES));
		ASSERT_EQ(0, td_punch(&s->td, 0, SOURCE_PAGES));
	}

	source_unmake(s);
	more = variant->in_use(&self->memcg) - before;
	printf("# %ld pages more are in use\n", more);
	EXPECT_GT(LET_GO_LIMIT, more)
	{
		TH_LOG("%d sources of %d pages are gone, %ld pages more are in use", LET_GO_ROUNDS,
		       SOURCE_PAGES, more);
	}
}

/* What a page cannot be read from; the pages before it are added. */
FIXTURE(unfit)
{
	struct source s;
};

FIXTURE_VARIANT(unfit)
{
	source_make_fn *make;
};

/* clang-format off */
#define UNFIT(_name) FIXTURE_VARIANT_ADD(unfit, _name) { source_##_name }
/* clang-format on */

UNFIT(unmapped);
UNFIT(no_access);
UNFIT(guard);
UNFIT(past_end_of_file);
UNFIT(truncated);

FIXTURE_SETUP(unfit)
{
	const char *lack = source_begin(&self->s, variant->make);

	if (lack)
		SKIP(return, "%s", lack);
}

FIXTURE_TEARDOWN(unfit)
{
	source_end(&self->s);
	td_audit(_metadata);
}

TD_TEST_F(unfit, stops_there_with_efault)
{
	struct kvm_tdx_init_mem_region region;
	struct source *s = &self->s;

	EXPECT_EQ(-EFAULT, source_populate(s, &region));
	source_expect_progress(_metadata, s, &region, SOURCE_SEAM);
	source_expect(_metadata, s, SOURCE_SEAM);

	/* Any other source may go on where this one ends. */
	region.source_addr = (uintptr_t)td_source(&s->td, SOURCE_SEAM);
	EXPECT_EQ(0, __vm_tdx_init_mem_region(s->td.vcpu, &region, 0))
	{
		TH_LOG("resuming from another source: %s", tdx_errno_name(errno));
	}
	memcpy(s->content + SOURCE_SEAM * PAGE_SIZE, td_source(&s->td, SOURCE_SEAM),
	       (SOURCE_PAGES - SOURCE_SEAM) * PAGE_SIZE);
	source_expect(_metadata, s, SOURCE_PAGES);
	td_complete(_metadata, &s->td);
}

/*
 * The source changes while populate waits for one of its pages: what counts is
 * what each page is when it is its turn.
 */
#define PARKED_AT SOURCE_SEAM
#define CHANGED_BEFORE (PARKED_AT - 1)
#define CHANGED_AFTER (PARKED_AT + 2)

struct parked {
	struct source s;
	struct tdx_park park;
	struct td_populate populate;
};

/* Returns 0, or anything else if it failed. */
typedef int parked_change_fn(struct parked *p);

static void *parked_page(struct parked *p, unsigned int page)
{
	return p->s.mem + page * PAGE_SIZE;
}

static int parked_leave(struct parked __always_unused *p)
{
	return 0;
}

/* The copy in the TD is as it was. */
static int parked_write_before(struct parked *p)
{
	memset(parked_page(p, CHANGED_BEFORE), 0xee, PAGE_SIZE);
	return 0;
}

static int parked_write_after(struct parked *p)
{
	source_write(&p->s, CHANGED_AFTER, parked_page(p, CHANGED_AFTER));
	return 0;
}

static int parked_discard(struct parked *p)
{
	memset(p->s.content + CHANGED_AFTER * PAGE_SIZE, 0, PAGE_SIZE);
	return madvise(parked_page(p, CHANGED_AFTER), PAGE_SIZE, MADV_DONTNEED) ||
	       madvise(parked_page(p, CHANGED_BEFORE), PAGE_SIZE, MADV_DONTNEED);
}

static int parked_replace(struct parked *p)
{
	source_map_over(&p->s, CHANGED_AFTER, 1, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return parked_write_after(p);
}

static int parked_unmap(struct parked *p)
{
	return munmap(parked_page(p, CHANGED_AFTER), PAGE_SIZE);
}

static int parked_unmap_before(struct parked *p)
{
	return munmap(parked_page(p, CHANGED_BEFORE), PAGE_SIZE);
}

static int parked_forbid(struct parked *p)
{
	return mprotect(parked_page(p, CHANGED_AFTER), PAGE_SIZE, PROT_NONE);
}

/* Nobody has the page any more that populate waits for. */
static int parked_unmap_missing(struct parked *p)
{
	int r = munmap(p->park.page, PAGE_SIZE);

	tdx_park_abandon(&p->park);
	return r;
}

FIXTURE(parked)
{
	struct parked p;
};

/*
 * @stops_at:	first page that cannot be read any more, or all can
 */
FIXTURE_VARIANT(parked)
{
	parked_change_fn *change;
	unsigned int stops_at;
};

/* clang-format off */
#define MEANWHILE(_name, _change, _stops_at)					\
	FIXTURE_VARIANT_ADD(parked, _name) { _change, _stops_at }
/* clang-format on */

MEANWHILE(nothing, parked_leave, SOURCE_PAGES);
MEANWHILE(page_before_written, parked_write_before, SOURCE_PAGES);
MEANWHILE(page_before_unmapped, parked_unmap_before, SOURCE_PAGES);
MEANWHILE(page_to_come_written, parked_write_after, SOURCE_PAGES);
MEANWHILE(page_to_come_replaced, parked_replace, SOURCE_PAGES);
MEANWHILE(pages_discarded, parked_discard, SOURCE_PAGES);
MEANWHILE(page_to_come_unmapped, parked_unmap, CHANGED_AFTER);
MEANWHILE(page_to_come_without_access, parked_forbid, CHANGED_AFTER);
MEANWHILE(missing_page_unmapped, parked_unmap_missing, PARKED_AT);

FIXTURE_SETUP(parked)
{
	struct parked *p = &self->p;
	unsigned int page;

	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	source_begin(&p->s, source_none);
	tdx_park_init(&p->park, SOURCE_PAGES, PARKED_AT);
	p->s.mem = p->park.mem;
	for (page = 0; page < SOURCE_PAGES; page++)
		source_write(&p->s, page,
			     page == PARKED_AT ? p->park.content : parked_page(p, page));
}

FIXTURE_TEARDOWN(parked)
{
	tdx_park_destroy(&self->p.park);
	tdx_task_finish(&self->p.populate.task);
	source_end(&self->p.s);
	td_audit(_metadata);
}

TD_TEST_F(parked, page_is_as_it_was_in_its_turn)
{
	bool stops = variant->stops_at < SOURCE_PAGES;
	struct parked *p = &self->p;

	td_populate_start(&p->populate, &p->s.td, p->s.mem, 0, SOURCE_PAGES);
	ASSERT_TRUE(tdx_park_wait(&p->park));
	EXPECT_EQ(0, variant->change(p));
	tdx_park_release(&p->park);

	EXPECT_EQ(stops ? -EFAULT : 0, tdx_task_finish(&p->populate.task));
	source_expect_progress(_metadata, &p->s, &p->populate.region, variant->stops_at);
	source_expect(_metadata, &p->s, variant->stops_at);
	td_complete(_metadata, &p->s.td);
}

/* The source changes all the time, back and forth. */
#define CHANGING_ROUNDS 20

struct changing {
	struct source s;
	struct tdx_task writer;
	void *other; /* what a page has if not @s.content */
	bool stop;
};

FIXTURE(changing)
{
	struct changing c;
};

FIXTURE_SETUP(changing)
{
	struct changing *c = &self->c;

	source_begin(&c->s, source_anonymous);
	c->other = td_mmap(SOURCE_SIZE);
	source_randomize(&c->s, c->other, SOURCE_SIZE);
}

static void changing_stop(struct changing *c)
{
	__atomic_store_n(&c->stop, true, __ATOMIC_RELEASE);
	tdx_task_finish(&c->writer);
}

FIXTURE_TEARDOWN(changing)
{
	changing_stop(&self->c);
	munmap(self->c.other, SOURCE_SIZE);
	source_end(&self->c.s);
	td_audit(_metadata);
}

static int changing_write(void *arg)
{
	struct changing *c = arg;

	while (!__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE)) {
		memcpy(c->s.mem, c->other, SOURCE_SIZE);
		memcpy(c->s.mem, c->s.content, SOURCE_SIZE);
	}

	return 0;
}

/* Whoever writes does so by bytes, as far as anybody knows. */
static bool changing_is_either(const struct changing *c, size_t offset)
{
	const u8 *content = c->s.content + offset, *other = c->other + offset;
	u8 chunk[TDX_EMUL_READ_SIZE];
	unsigned int i;

	if (tdx_emul_read(c->s.tdr, TD_GPA + offset, chunk))
		return false;

	for (i = 0; i < sizeof(chunk); i++) {
		if (chunk[i] != content[i] && chunk[i] != other[i])
			return false;
	}

	return true;
}

TD_TEST_F(changing, each_byte_is_one_of_the_two)
{
	struct kvm_tdx_init_mem_region region;
	struct changing *c = &self->c;
	unsigned int round;
	size_t offset;

	tdx_task_start(&c->writer, "writer", changing_write, c);
	for (round = 0; round < CHANGING_ROUNDS && !_metadata->exit_code; round++) {
		ASSERT_EQ(0, source_populate(&c->s, &region));
		offset = 0;
		while (c->s.tdr && offset < SOURCE_SIZE && changing_is_either(c, offset))
			offset += TDX_EMUL_READ_SIZE;
		EXPECT_TRUE(!c->s.tdr || offset == SOURCE_SIZE)
		{
			TH_LOG("at TD_GPA + 0x%zx: what its source never had", offset);
		}
		ASSERT_EQ(0, td_punch(&c->s.td, 0, SOURCE_PAGES));
	}

	changing_stop(c);
	td_complete(_metadata, &c->s.td);
}

/* What stops populate, at this page of the region. */
#define STOPPED_AT 3

enum obstacle {
	NO_OBSTACLE,
	PAGE_THERE,
	PAGE_WITHOUT_SLOT,
	SOURCE_NOT_READABLE,
};

FIXTURE(pinned)
{
	struct td td;
	int memfd;
	void *source;
};

FIXTURE_VARIANT(pinned)
{
	enum obstacle obstacle;
};

#define OBSTACLE(_name) FIXTURE_VARIANT_ADD(pinned, _name)

OBSTACLE(all_pages_added) { NO_OBSTACLE };
OBSTACLE(page_there_already) { PAGE_THERE };
OBSTACLE(page_without_slot) { PAGE_WITHOUT_SLOT };
OBSTACLE(source_not_readable) { SOURCE_NOT_READABLE };

FIXTURE_SETUP(pinned)
{
	unsigned int page;

	td_create(&self->td);
	self->memfd = memfd_create("source", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	ASSERT_LE(0, self->memfd);
	for (page = 0; page < SOURCE_PAGES; page++)
		ASSERT_EQ(PAGE_SIZE, write(self->memfd, td_source(&self->td, page), PAGE_SIZE));

	/* Private and never written to: the pages are those of the file. */
	self->source = mmap(NULL, SOURCE_SIZE, PROT_READ, MAP_PRIVATE, self->memfd, 0);
	ASSERT_NE(MAP_FAILED, self->source);
}

FIXTURE_TEARDOWN(pinned)
{
	close(self->memfd);
	td_destroy(&self->td);
	td_audit(_metadata);
}

/*
 * A seal against writing is refused for as long as anybody but the page cache
 * has a reference to a page of the file, after a second of waiting for it.
 */
TD_TEST_F(pinned, source_is_let_go)
{
	unsigned int first = variant->obstacle == PAGE_WITHOUT_SLOT ? TD_NR_PAGES - STOPPED_AT : 0;
	struct kvm_tdx_init_mem_region region = {
		.source_addr = (uintptr_t)self->source,
		.gpa = td_gpa(first),
		.nr_pages = SOURCE_PAGES,
	};
	void *stop = self->source + STOPPED_AT * (u64)PAGE_SIZE;
	bool stopped = variant->obstacle != NO_OBSTACLE;

	if (variant->obstacle == PAGE_THERE)
		ASSERT_EQ(0, td_add(&self->td, STOPPED_AT, 1));
	if (variant->obstacle == SOURCE_NOT_READABLE)
		ASSERT_EQ(0, mprotect(stop, PAGE_SIZE, PROT_NONE));

	EXPECT_EQ(stopped ? -1 : 0, __vm_tdx_init_mem_region(self->td.vcpu, &region, 0));
	EXPECT_EQ(stopped ? SOURCE_PAGES - STOPPED_AT : 0, region.nr_pages);

	ASSERT_EQ(0, munmap(self->source, SOURCE_SIZE));
	EXPECT_EQ(0, fcntl(self->memfd, F_ADD_SEALS, F_SEAL_WRITE))
	{
		TH_LOG("F_SEAL_WRITE: %s: a page of the source has lost or gained a reference",
		       tdx_errno_name(errno));
	}
}

#include "tdx_init_mem_main.h"
