// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages of a guest_memfd are cleared, and when: each before its first use,
 * but for those that KVM_TDX_INIT_MEM_REGION fills; none afterwards, and anew
 * once it was punched.  Memory is dirty before each case, so that a page which
 * was not cleared shows.
 */
#include "tdx_init_mem_gmem_dirt.h"
#include "tdx_init_mem_gmem_td.h"
#include "tdx_init_mem_gmem_user.h"
#include "tdx_init_mem_preparedness_td.h"

/* Of an ordinary VM, memory is bound low: its vCPU knows of 36 bits of address. */
#define USER_GPA TD_GPA

/*
 * A guest_memfd that user space has mapped: what it finds, and what an ordinary
 * guest would.
 */
FIXTURE(user)
{
	struct gmem_user u;
};

FIXTURE_VARIANT(user)
{
	bool huge;
};

FIXTURE_VARIANT_ADD(user, with_4k_folios) { false };
FIXTURE_VARIANT_ADD(user, with_2m_folios) { true };

FIXTURE_SETUP(user)
{
	if (gmem_user_lacks(variant->huge))
		SKIP(return, "%s", gmem_user_lacks(variant->huge));
	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	tdx_task_pin(TEST_CPU);
	gmem_dirty(NR_PAGES, variant->huge);
	gmem_user_create(&self->u, NR_PAGES, variant->huge, USER_GPA);
	ASSERT_EQ(0, gmem_bind(&self->u.g, GMEM_SLOT, 0, NR_PAGES));
}

FIXTURE_TEARDOWN(user)
{
	gmem_user_destroy(&self->u);
	td_audit(_metadata);
}

TD_TEST_F(user, new_page_is_zero)
{
	gmem_user_expect_zero(_metadata, &self->u.g, 0, NR_PAGES);
}

/* The guest comes first, so that user space sees what it got. */
TD_TEST_F(user, page_of_guest_fault_is_zero)
{
	const struct gmem *g = &self->u.g;

	ASSERT_EQ(0, gmem_fault(g, self->u.vcpu, 0, NR_PAGES));
	gmem_user_expect_zero(_metadata, g, 0, NR_PAGES);
}

TD_TEST_F(user, allocated_page_is_zero)
{
	const struct gmem *g = &self->u.g;

	ASSERT_EQ(0, gmem_allocate(g, 0, NR_PAGES));
	gmem_user_expect_zero(_metadata, g, 0, NR_PAGES);
}

TD_TEST_F(user, written_page_is_never_cleared_again)
{
	const struct gmem *g = &self->u.g;

	gmem_user_write(g, 0, 1);
	gmem_user_write(g, 100, 50);
	ASSERT_EQ(0, gmem_allocate(g, 0, NR_PAGES));
	ASSERT_EQ(0, gmem_fault(g, self->u.vcpu, 0, NR_PAGES));
	gmem_user_expect_source(_metadata, g, 0, 1);
	gmem_user_expect_zero(_metadata, g, 1, 99);
	gmem_user_expect_source(_metadata, g, 100, 50);
	gmem_user_expect_zero(_metadata, g, 150, NR_PAGES - 150);
}

TD_TEST_F(user, punched_page_is_zero)
{
	const struct gmem *g = &self->u.g;

	gmem_user_write(g, 0, NR_PAGES);
	ASSERT_EQ(0, gmem_punch(g, 1, FOLIO_PAGES - 2));
	gmem_user_expect_zero(_metadata, g, 1, FOLIO_PAGES - 2);
	gmem_user_expect_source(_metadata, g, 0, 1);
	gmem_user_expect_source(_metadata, g, FOLIO_PAGES - 1, FOLIO_PAGES + 1);
}

/* The guest faults on the one page of a folio that is not punched, and gets no other. */
TD_TEST_F(user, nothing_punched_is_in_reach_of_the_guest)
{
	const struct gmem *g = &self->u.g;

	gmem_user_write(g, 0, FOLIO_PAGES);
	ASSERT_EQ(0, gmem_punch(g, 1, FOLIO_PAGES - 1));
	ASSERT_EQ(0, gmem_fault(g, self->u.vcpu, 0, 1));
	EXPECT_EQ(0, vm_get_stat(self->u.vm, pages_2m));
	EXPECT_EQ(1, vm_get_stat(self->u.vm, pages_4k));
	gmem_user_expect_source(_metadata, g, 0, 1);
}

/* User space gets all of the folio, which it may have mapped by one entry. */
TD_TEST_F(user, nothing_punched_is_in_reach_of_user_space)
{
	const struct gmem *g = &self->u.g;
	unsigned int page;
	u64 base;

	gmem_user_write(g, 0, FOLIO_PAGES);
	base = gmem_user_hpa(g, 0);
	ASSERT_NE(0, base);
	ASSERT_EQ(0, gmem_punch(g, 1, FOLIO_PAGES - 1));
	EXPECT_EQ(*(u64 *)gmem_source(g, 0), READ_ONCE(*gmem_user_page(g, 0)));

	for (page = 1; page < FOLIO_PAGES; page++) {
		u64 hpa = gmem_user_hpa(g, page);

		if (!hpa)
			continue;
		EXPECT_EQ(base + page * (u64)PAGE_SIZE, hpa);
		ASSERT_EQ(NO_PAGE, gmem_host_not_zero(hpa, 1))
		{
			TH_LOG("user space has page %u mapped, which was not cleared", page);
		}
	}
	gmem_user_expect_source(_metadata, g, 0, 1);
}

/* Binding elsewhere leaves contents alone. */
TD_TEST_F(user, written_page_survives_another_slot)
{
	struct gmem *g = &self->u.g;

	gmem_user_write(g, 0, HALF);
	ASSERT_EQ(0, gmem_fault(g, self->u.vcpu, 0, HALF));
	ASSERT_EQ(0, __vm_set_user_memory_region2(self->u.vm, GMEM_SLOT, 0, g->gpa, 0, NULL, 0, 0));
	g->gpa += PAGE_SIZE;
	ASSERT_EQ(0, gmem_bind(g, GMEM_SLOT, 0, NR_PAGES));
	ASSERT_EQ(0, gmem_fault(g, self->u.vcpu, 0, NR_PAGES));
	EXPECT_EQ(0, vm_get_stat(self->u.vm, pages_2m));
	gmem_user_expect_source(_metadata, g, 0, HALF);
	gmem_user_expect_zero(_metadata, g, HALF, NR_PAGES - HALF);
}

/*
 * A guest that faults on one page of a new folio has all of it mapped, which is
 * to be clean by then, and not only once user space looks.  The folio is found
 * where the one before it was, or in the next try.
 */
#define REUSE_TRIES 20

static u64 dirty_folio(void)
{
	struct gmem_user u;
	size_t i;
	u64 hpa;

	gmem_user_create(&u, FOLIO_PAGES, true, USER_GPA);
	for (i = 0; i < FOLIO_SIZE / sizeof(u64); i++)
		((u64 *)u.g.mem)[i] = GMEM_DIRT;
	hpa = gmem_user_hpa(&u.g, 0);
	gmem_user_destroy(&u);
	return hpa;
}

FIXTURE(reused) {};

FIXTURE_SETUP(reused)
{
	if (gmem_user_lacks(true))
		SKIP(return, "%s", gmem_user_lacks(true));
	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	tdx_task_pin(TEST_CPU);
}

FIXTURE_TEARDOWN(reused)
{
	td_audit(_metadata);
}

TD_TEST_F(reused, folio_is_clean_when_the_guest_has_it)
{
	unsigned int i;

	for (i = 0; i < REUSE_TRIES; i++) {
		u64 hpa = dirty_folio();
		struct gmem_user u;
		bool reused;
		int page;

		gmem_user_create(&u, FOLIO_PAGES, true, USER_GPA);
		ASSERT_EQ(0, gmem_bind(&u.g, GMEM_SLOT, 0, FOLIO_PAGES));
		ASSERT_EQ(0, gmem_fault(&u.g, u.vcpu, 9, 1));
		EXPECT_EQ(1, vm_get_stat(u.vm, pages_2m));
		page = gmem_host_not_zero(hpa, FOLIO_PAGES);
		gmem_user_expect_zero(_metadata, &u.g, 0, FOLIO_PAGES);
		reused = gmem_user_hpa(&u.g, 0) == hpa;
		gmem_user_destroy(&u);
		if (!reused)
			continue;

		EXPECT_EQ(NO_PAGE, page)
		{
			TH_LOG("the guest has that page of the folio, and it was not cleared");
		}
		return;
	}
	ASSERT_TRUE(false)
	{
		TH_LOG("in %u tries no folio was where the one before it was", REUSE_TRIES);
	}
}

/*
 * Several at once in one folio, each with pages of its own: a page belongs to a
 * thread if its number says so.  Whoever clears must not clear a page that
 * somebody else has got already.
 */
#define NR_THREADS 4
#define RACE_ROUNDS 16
#define RACE_PAGES 64 /* of a folio, enough to collide */

enum race {
	RACE_USER,  /* all threads are user space */
	RACE_GUEST, /* half of them fault as the guest would */
	RACE_PUNCH, /* half of them punch their pages, and want to see zeros */
};

struct racer {
	struct tdx_task task;
	const struct gmem *g;
	struct kvm_vcpu *vcpu;
	pthread_barrier_t *barrier;
	unsigned int nr;
	enum race race;
	int bad_page; /* the first that was not as it should be */
	u64 word;     /* what it had */
};

FIXTURE(race)
{
	struct gmem_user u;
	struct racer racers[NR_THREADS];
	pthread_barrier_t barrier;
};

FIXTURE_VARIANT(race)
{
	bool huge;
	enum race race;
};

FIXTURE_VARIANT_ADD(race, of_users_with_4k_folios) { false, RACE_USER };
FIXTURE_VARIANT_ADD(race, of_users_with_2m_folios) { true, RACE_USER };
FIXTURE_VARIANT_ADD(race, of_users_and_guest_with_4k_folios) { false, RACE_GUEST };
FIXTURE_VARIANT_ADD(race, of_users_and_guest_with_2m_folios) { true, RACE_GUEST };
FIXTURE_VARIANT_ADD(race, of_users_and_holes_with_4k_folios) { false, RACE_PUNCH };
FIXTURE_VARIANT_ADD(race, of_users_and_holes_with_2m_folios) { true, RACE_PUNCH };

FIXTURE_SETUP(race)
{
	unsigned int i;

	if (gmem_user_lacks(variant->huge))
		SKIP(return, "%s", gmem_user_lacks(variant->huge));

	gmem_dirty(FOLIO_PAGES, variant->huge);
	gmem_user_create(&self->u, FOLIO_PAGES, variant->huge, USER_GPA);
	ASSERT_EQ(0, gmem_bind(&self->u.g, GMEM_SLOT, 0, FOLIO_PAGES));
	pthread_barrier_init(&self->barrier, NULL, NR_THREADS);
	for (i = 0; i < NR_THREADS; i++)
		self->racers[i] = (struct racer) {
			.g = &self->u.g,
			.vcpu = i & 1 ? __vm_vcpu_add(self->u.vm, 1 + i) : NULL,
			.barrier = &self->barrier,
			.nr = i,
			.race = i & 1 ? variant->race : RACE_USER,
		};
}

FIXTURE_TEARDOWN(race)
{
	unsigned int i;

	for (i = 0; i < NR_THREADS; i++)
		tdx_task_finish(&self->racers[i].task);
	gmem_user_destroy(&self->u);
	td_audit(_metadata);
}

static bool racer_finds(struct racer *racer, unsigned int page, u64 want)
{
	const u64 *words = gmem_user_page(racer->g, page);

	if (gmem_is(words, want, PAGE_SIZE))
		return true;

	racer->bad_page = page;
	racer->word = *words;
	return false;
}

/* A fresh page is zero; then it has what was written, until the end. */
static int racer_fn(void *arg)
{
	struct racer *racer = arg;
	const struct gmem *g = racer->g;
	unsigned int page;
	int r = 0;

	racer->bad_page = NO_PAGE;
	pthread_barrier_wait(racer->barrier);
	for (page = racer->nr; page < RACE_PAGES && !r; page += NR_THREADS) {
		if (racer->race == RACE_GUEST)
			r = gmem_fault(g, racer->vcpu, page, 1);
		if (r || !racer_finds(racer, page, 0))
			break;
		gmem_user_write(g, page, 1);
		if (racer->race != RACE_PUNCH)
			continue;
		r = gmem_punch(g, page, 1);
		if (r || !racer_finds(racer, page, 0))
			break;
		gmem_user_write(g, page, 1);
	}

	/* Meanwhile the others may still be at it. */
	for (page = racer->nr; page < RACE_PAGES && racer->bad_page == NO_PAGE; page += NR_THREADS)
		racer_finds(racer, page, *(u64 *)gmem_source(g, page));

	return r;
}

TD_TEST_F(race, nobody_clears_the_page_of_another)
{
	const struct gmem *g = &self->u.g;
	unsigned int round, i;

	for (round = 0; round < RACE_ROUNDS && !_metadata->exit_code; round++) {
		for (i = 0; i < NR_THREADS; i++)
			tdx_task_start(&self->racers[i].task, "racer", racer_fn, &self->racers[i]);
		for (i = 0; i < NR_THREADS; i++) {
			struct racer *racer = &self->racers[i];

			EXPECT_RESULT(0, tdx_task_finish(&racer->task));
			EXPECT_EQ(NO_PAGE, racer->bad_page)
			{
				TH_LOG("round %u: that page of thread %u had 0x%lx", round, i,
				       racer->word);
			}
		}
		gmem_user_expect_source(_metadata, g, 0, RACE_PAGES);
		ASSERT_EQ(0, gmem_punch(g, 0, FOLIO_PAGES));
	}
}

/* Two vCPUs of a TD populate, each its pages; then the guest faults in the rest. */
FIXTURE(pair)
{
	struct gmem_td t;
	struct tdx_task tasks[2];
	pthread_barrier_t barrier;
};

FIXTURE_VARIANT(pair)
{
	bool huge;
};

FIXTURE_VARIANT_ADD(pair, with_4k_folios) { false };
FIXTURE_VARIANT_ADD(pair, with_2m_folios) { true };

FIXTURE_SETUP(pair)
{
	if (gmem_td_lacks(variant->huge))
		SKIP(return, "%s", gmem_td_lacks(variant->huge));

	gmem_dirty(NR_PAGES, variant->huge);
	gmem_td_create(&self->t, NR_PAGES, variant->huge, GMEM_GPA);
	ASSERT_EQ(0, gmem_bind(&self->t.g, GMEM_SLOT, 0, NR_PAGES));
	pthread_barrier_init(&self->barrier, NULL, ARRAY_SIZE(self->tasks));
}

FIXTURE_TEARDOWN(pair)
{
	tdx_task_finish(&self->tasks[0]);
	tdx_task_finish(&self->tasks[1]);
	gmem_td_destroy(&self->t);
	td_audit(_metadata);
}

/* Of each four pages the first two are populated, one by each vCPU. */
#define PAIR_STRIDE 4

struct pair_part {
	const struct gmem *g;
	struct kvm_vcpu *vcpu;
	pthread_barrier_t *barrier;
	unsigned int nr;
};

static int pair_add_fn(void *arg)
{
	struct pair_part *part = arg;
	unsigned int page;

	pthread_barrier_wait(part->barrier);
	for (page = part->nr; page < FOLIO_PAGES; page += PAIR_STRIDE) {
		int r = gmem_add(part->g, part->vcpu, page, 1);

		if (r)
			return r;
	}

	return 0;
}

static int pair_fault_fn(void *arg)
{
	struct pair_part *part = arg;
	unsigned int page;

	pthread_barrier_wait(part->barrier);
	for (page = part->nr + 2; page < FOLIO_PAGES; page += PAIR_STRIDE) {
		int r = gmem_fault(part->g, part->vcpu, page, 1);

		if (r)
			return r;
	}

	return 0;
}

static void pair_run(struct __test_metadata *_metadata, FIXTURE_DATA(pair) * self,
		     struct pair_part *parts, const char *name, int (*fn)(void *arg))
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(self->tasks); i++)
		tdx_task_start(&self->tasks[i], name, fn, &parts[i]);
	for (i = 0; i < ARRAY_SIZE(self->tasks); i++)
		EXPECT_RESULT(0, tdx_task_finish(&self->tasks[i]));
}

TD_TEST_F(pair, of_vcpus_leaves_each_page_to_whom_it_belongs)
{
	struct gmem_td *t = &self->t;
	struct pair_part parts[] = {
		{ &t->g, t->td.vcpu, &self->barrier, 0 },
		{ &t->g, vm_tdx_vcpu_add(t->td.vm, 1), &self->barrier, 1 },
	};
	unsigned int page;

	pair_run(_metadata, self, parts, "populate", pair_add_fn);
	gmem_td_finalize(_metadata, t);
	pair_run(_metadata, self, parts, "fault", pair_fault_fn);

	for (page = 0; page < FOLIO_PAGES; page += PAIR_STRIDE) {
		gmem_expect_source(_metadata, t, page, 2);
		expect_augmented(_metadata, t, page + 2, 2);
	}
}

#include "tdx_init_mem_main.h"
