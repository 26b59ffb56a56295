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
#include "tdx_init_mem_source_kinds.h"
#include "tdx_init_mem_source_populate.h"

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
