// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memslot changes against KVM_TDX_INIT_MEM_REGION: deletion, re-creation, move
 * and flag change of the slot being populated and of another, and closing the
 * guest_memfd.  Each change completes in bounded time, populate stops at a
 * page it can name, and the TD can be completed afterwards.
 */
#include <sys/stat.h>

#include "tdx_init_mem.h"

#define OTHER_SLOT (TD_SLOT + 1)
#define OTHER_GPA (TD_GPA + 0x10000000)
#define OTHER_MOVED_GPA (TD_GPA + 0x20000000)

/* The populated range, with the page at which it can be parked. */
#define POPULATED 8
#define PARKED_AT 3

struct slots {
	struct td td;
	void *other;
	struct tdx_park park;
	struct td_populate populate;
	struct tdx_task change;
	pthread_barrier_t barrier;
};

/* What a change does to the slot being populated. */
enum slot_fate {
	SLOT_STAYS,
	SLOT_GOES,
	SLOT_RETURNS,
	SLOT_LOSES_FILE
};

static int change_delete(void *arg)
{
	struct slots *s = arg;

	return td_delete_slot(&s->td) ? -errno : 0;
}

static int change_recreate(void *arg)
{
	struct slots *s = arg;

	return td_delete_slot(&s->td) || td_set_slot(&s->td) ? -errno : 0;
}

/* KVM_SET_USER_MEMORY_REGION2 for the populated slot with one thing changed. */
static int change_slot(struct slots *s, u32 flags, u64 gpa)
{
	return __vm_set_user_memory_region2(s->td.vm, TD_SLOT, flags, gpa, TD_SIZE, s->td.shared,
					    s->td.gmem, 0) ?
		       -errno :
		       0;
}

static int change_move(void *arg)
{
	return change_slot(arg, KVM_MEM_GUEST_MEMFD, OTHER_MOVED_GPA);
}

static int change_log_dirty(void *arg)
{
	return change_slot(arg, KVM_MEM_GUEST_MEMFD | KVM_MEM_LOG_DIRTY_PAGES, TD_GPA);
}

static int change_drop_gmem(void *arg)
{
	return change_slot(arg, 0, TD_GPA);
}

static int change_close_gmem(void *arg)
{
	struct slots *s = arg;

	td_close_gmem(&s->td);
	return 0;
}

static int other_set(struct slots *s, u32 flags, u64 gpa, u64 size)
{
	return __vm_set_user_memory_region2(s->td.vm, OTHER_SLOT, flags, gpa, size, s->other, 0,
					    0) ?
		       -errno :
		       0;
}

static int change_other_create(void *arg)
{
	struct slots *s = arg;

	return __vm_set_user_memory_region2(s->td.vm, OTHER_SLOT + 1, 0, OTHER_MOVED_GPA, TD_SIZE,
					    s->other, 0, 0) ?
		       -errno :
		       0;
}

static int change_other_delete(void *arg)
{
	return other_set(arg, 0, OTHER_GPA, 0);
}

static int change_other_move(void *arg)
{
	return other_set(arg, 0, OTHER_MOVED_GPA, TD_SIZE);
}

static int change_other_log_dirty(void *arg)
{
	return other_set(arg, KVM_MEM_LOG_DIRTY_PAGES, OTHER_GPA, TD_SIZE);
}

static void slots_create(struct slots *s)
{
	td_create(&s->td);
	s->other = td_mmap(TD_SIZE);
	TEST_ASSERT(!other_set(s, 0, OTHER_GPA, TD_SIZE), "second slot: errno %d", errno);
}

static void slots_destroy(struct slots *s)
{
	tdx_park_destroy(&s->park);
	tdx_task_finish(&s->populate.task);
	tdx_task_finish(&s->change);
	td_destroy(&s->td);
	munmap(s->other, TD_SIZE);
}

/* Brings the slot back, with a file, empty. */
static void slots_restore(struct slots *s)
{
	td_delete_slot(&s->td);
	td_close_gmem(&s->td);
	s->td.gmem = vm_create_guest_memfd(s->td.vm, TD_SIZE, 0);
	TEST_ASSERT(!td_set_slot(&s->td), "restoring the slot failed, errno %d", errno);
}

/* What populate meets when it comes after the change: 0 for no obstacle. */
static int fate_errno(enum slot_fate fate)
{
	static const int errs[] = {
		[SLOT_STAYS] = 0,
		[SLOT_GOES] = -EINVAL,
		/* Between deletion and creation there is no slot. */
		[SLOT_RETURNS] = -EINVAL,
		[SLOT_LOSES_FILE] = -EFAULT,
	};

	return errs[fate];
}

/*
 * Populate either finished or was stopped by the change, and what it wrote
 * back fits the answer.
 */
static void expect_populate(struct __test_metadata *_metadata, struct td_populate *populate,
			    int result, enum slot_fate fate)
{
	const struct kvm_tdx_init_mem_region *region = &populate->region;
	u64 left = region->nr_pages;

	EXPECT_TRUE(!result ? !left : result == fate_errno(fate) && left)
	{
		TH_LOG("populate: want success or %s, got %s with %lu pages left",
		       tdx_errno_name(fate_errno(fate)), tdx_errno_name(result), left);
	}
	EXPECT_EQ(td_gpa(POPULATED - left), region->gpa);
}

/* The slot has a new file, so a page that is mapped was left over. */
static void expect_empty(struct __test_metadata *_metadata, struct td *td)
{
	unsigned int page;

	for (page = 0; page < TD_NR_PAGES; page++) {
		enum td_page got = td_probe(td, page);

		EXPECT_EQ(TD_PAGE_WAS_EMPTY, got)
		{
			TH_LOG("page %u of a new slot: want empty, got %s", page,
			       td_page_name(got));
		}
	}
}

/* The slot is in the state that the change implies; then complete the TD. */
static void expect_slot(struct __test_metadata *_metadata, struct slots *s, enum slot_fate fate)
{
	unsigned int page;

	if (fate == SLOT_STAYS) {
		for (page = 0; page < POPULATED; page++) {
			EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(&s->td, page))
			{
				TH_LOG("page %u is not mapped", page);
			}
		}
		EXPECT_EQ(TD_PAGE_WAS_EMPTY, td_probe(&s->td, POPULATED));
	} else if (fate != SLOT_RETURNS) {
		EXPECT_EQ(fate_errno(fate), td_add(&s->td, POPULATED, 1));
	}

	EXPECT_FALSE(vm_tdx_is_dead(s->td.vm));
	if (fate != SLOT_STAYS) {
		slots_restore(s);
		expect_empty(_metadata, &s->td);
	}
	td_complete(_metadata, &s->td);
}

/* One thing after the other. */
FIXTURE(slot)
{
	struct slots s;
};

FIXTURE_SETUP(slot)
{
	slots_create(&self->s);
}

FIXTURE_TEARDOWN(slot)
{
	slots_destroy(&self->s);
	td_audit(_metadata);
}

/* A second guest_memfd slot. */
static int slot_bind(struct td *td, int gmem, u64 offset)
{
	return __vm_set_user_memory_region2(td->vm, TD_SLOT + 3, KVM_MEM_GUEST_MEMFD,
					    OTHER_MOVED_GPA, TD_SIZE, td->shared, gmem, offset);
}

TD_TEST_F(slot, binding_overlap_fails)
{
	static const struct tdx_errno errs[TDX_ERRNO_MAX] = {
		TDX_ERRNO(EINVAL),
		TDX_ERRNO_SINCE(7, 2, EEXIST),
	};
	struct td *td = &self->s.td;
	int r = slot_bind(td, td->gmem, 0);

	EXPECT_TRUE(r && tdx_errno_allows(errs, errno))
	{
		TH_LOG("binding pages of a guest_memfd twice: want %s, got %s",
		       tdx_errno_name(tdx_errno_wanted(errs)), tdx_errno_name(r ? errno : 0));
	}
}

TD_TEST_F(slot, binding_past_file_end_fails)
{
	struct td *td = &self->s.td;

	EXPECT_ERRNO(EINVAL, slot_bind(td, td->gmem, PAGE_SIZE));
}

TD_TEST_F(slot, binding_file_of_another_vm_fails)
{
	struct kvm_vm *other = vm_tdx_create();
	int gmem = vm_create_guest_memfd(other, TD_SIZE, 0);

	EXPECT_ERRNO(EINVAL, slot_bind(&self->s.td, gmem, 0));
	close(gmem);
	kvm_vm_free(other);
}

TD_TEST_F(slot, binding_no_guest_memfd_fails)
{
	int memfd = memfd_create("ordinary", MFD_CLOEXEC);

	ASSERT_LE(0, memfd);
	ASSERT_EQ(0, ftruncate(memfd, TD_SIZE));
	EXPECT_ERRNO(EINVAL, slot_bind(&self->s.td, memfd, 0));
	EXPECT_ERRNO(EBADF, slot_bind(&self->s.td, -1, 0));
	close(memfd);
}

/* A file that could be cut off would take its pages from the TD without a hole. */
TD_TEST_F(slot, size_and_mode_of_file_stay)
{
	struct td *td = &self->s.td;

	ASSERT_EQ(0, td_add(td, 0, TD_NR_PAGES));
	EXPECT_ERRNO(EINVAL, ftruncate(td->gmem, 0));
	EXPECT_ERRNO(EINVAL, ftruncate(td->gmem, 2 * TD_SIZE));
	EXPECT_ERRNO(EINVAL, fchmod(td->gmem, 0600));
	EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(td, TD_NR_PAGES - 1));
	td_complete(_metadata, td);
}

/* Slots of guest_memfd are immutable, even for a change that changes nothing. */
TD_TEST_F(slot, same_again_fails)
{
	EXPECT_ERRNO(EINVAL, td_set_slot(&self->s.td));
}

TD_TEST_F(slot, deletion_unmaps_pages)
{
	struct td *td = &self->s.td;
	int r;

	ASSERT_EQ(0, td_add(td, 0, POPULATED));
	ASSERT_EQ(0, change_recreate(&self->s));

	r = td_add(td, 0, POPULATED);
	if (r == -EEXIST && tdx_host_kernel() < TDX_KERNEL(7, 0)) {
		/*
		 * The folios stay marked as prepared, mapped or not.  New ones
		 * tell; a hole would not, as it unmaps by itself.
		 */
		slots_restore(&self->s);
		r = td_add(td, 0, POPULATED);
	}

	EXPECT_EQ(0, r)
	{
		TH_LOG("add after deletion: want success, got %s", tdx_errno_name(r));
	}
	td_complete(_metadata, td);
}

TD_TEST_F(slot, deletion_after_finalize_ok)
{
	ASSERT_EQ(0, td_add(&self->s.td, 0, POPULATED));
	vm_tdx_finalize(self->s.td.vm);
	EXPECT_RESULT(0, change_delete(&self->s));
	EXPECT_FALSE(vm_tdx_is_dead(self->s.td.vm));
}

/* A change while populate is under way. */
FIXTURE(change)
{
	struct slots s;
};

FIXTURE_VARIANT(change)
{
	int (*fn)(void *slots);
	int want;
	enum slot_fate fate;
};

#define CHANGE(_name) FIXTURE_VARIANT_ADD(change, _name)

CHANGE(slot_deleted) { change_delete, 0, SLOT_GOES };
CHANGE(slot_recreated) { change_recreate, 0, SLOT_RETURNS };
CHANGE(slot_moved) { change_move, -EINVAL, SLOT_STAYS };
CHANGE(slot_dirty_logged) { change_log_dirty, -EINVAL, SLOT_STAYS };
CHANGE(gmem_closed) { change_close_gmem, 0, SLOT_LOSES_FILE };
CHANGE(other_slot_created) { change_other_create, 0, SLOT_STAYS };
CHANGE(other_slot_deleted) { change_other_delete, 0, SLOT_STAYS };
CHANGE(other_slot_moved) { change_other_move, 0, SLOT_STAYS };
CHANGE(other_slot_dirty_logged) { change_other_log_dirty, 0, SLOT_STAYS };
/* Last, as it costs kernels before 6.18 a splat, and a TD. */
CHANGE(slot_without_gmem) { change_drop_gmem, -EINVAL, SLOT_STAYS };

FIXTURE_SETUP(change)
{
	slots_create(&self->s);
}

FIXTURE_TEARDOWN(change)
{
	slots_destroy(&self->s);
	td_audit(_metadata);
}

/* Populate waits for its source page, with all its locks. */
TD_TEST_F(change, while_parked_completes_after_release)
{
	struct slots *s = &self->s;
	enum tdx_task_state state;
	int result;

	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	tdx_park_init(&s->park, POPULATED, PARKED_AT);
	td_populate_start(&s->populate, &s->td, s->park.mem, 0, POPULATED);
	ASSERT_TRUE(tdx_park_wait(&s->park));

	tdx_task_start(&s->change, "change", variant->fn, s);
	if (tdx_host_is_decoupled()) {
		EXPECT_TRUE(tdx_task_wait(&s->change))
		{
			TH_LOG("a slot must not wait for the source page of populate");
		}
	}
	state = tdx_task_settle(&s->change);
	td_report_settled(&s->change, state);

	tdx_park_release(&s->park);
	result = tdx_task_finish(&s->populate.task);
	EXPECT_EQ(variant->want, tdx_task_finish(&s->change));

	expect_populate(_metadata, &s->populate, result, variant->fate);
	if (state == TDX_TASK_DONE && variant->fate != SLOT_RETURNS) {
		EXPECT_EQ(fate_errno(variant->fate), result)
		{
			TH_LOG("the change was complete before populate went on");
		}
	}

	expect_slot(_metadata, s, variant->fate);
}

static int change_populate(void *arg)
{
	struct slots *s = arg;

	pthread_barrier_wait(&s->barrier);
	return td_populate_fn(&s->populate);
}

/* Both at full speed, started together. */
TD_TEST_F(change, while_running_completes)
{
	struct slots *s = &self->s;
	int result;

	pthread_barrier_init(&s->barrier, NULL, 2);
	td_populate_prepare(&s->populate, &s->td, s->td.source, 0, POPULATED);
	s->populate.flags = KVM_TDX_MEASURE_MEMORY_REGION;
	tdx_task_start(&s->populate.task, "populate", change_populate, s);

	pthread_barrier_wait(&s->barrier);
	EXPECT_EQ(variant->want, variant->fn(s));
	result = tdx_task_finish(&s->populate.task);

	expect_populate(_metadata, &s->populate, result, variant->fate);
	expect_slot(_metadata, s, variant->fate);
}

#include "tdx_init_mem_main.h"
