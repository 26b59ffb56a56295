// SPDX-License-Identifier: GPL-2.0-only
/*
 * A TD ends while populate is under way, by whatever end there is: its files are
 * closed in any order, its process is killed, or runs out of memory.  And CPUs come and
 * go.  The VM is gone afterwards, and with it every page of it; a TD that stays is whole.
 */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "tdx_init_mem.h"
#include "tdx/tdx_memcg.h"

#define PARKED_PAGES 4
#define PARKED_AT 2

/* KVM shows each VM as "PID-FD" of who made it. */
#define KVM_DEBUGFS "/sys/kernel/debug/kvm"

/* VMs of that process, which may be gone itself; 0 where nobody can tell. */
static unsigned int count_vms(pid_t pid)
{
	DIR *dir = opendir(KVM_DEBUGFS);
	struct dirent *entry;
	unsigned int vms = 0;

	while (dir && (entry = readdir(dir))) {
		int owner, fd;

		if (sscanf(entry->d_name, "%d-%d", &owner, &fd) == 2)
			vms += owner == pid;
	}
	if (dir)
		closedir(dir);
	return vms;
}

static void expect_no_vm(struct __test_metadata *_metadata, pid_t pid)
{
	u64 deadline = tdx_now_ms() + tdx_host_deadline_ms();
	unsigned int vms;

	while ((vms = count_vms(pid)) && tdx_now_ms() < deadline)
		usleep(1000);
	EXPECT_EQ(0, vms)
	{
		TH_LOG("process %d is gone, and %u VMs of it are not", pid, vms);
	}
}

static bool child_ends(pid_t pid, int *status)
{
	u64 deadline = tdx_now_ms() + tdx_host_deadline_ms();

	while (waitpid(pid, status, WNOHANG) != pid) {
		if (tdx_now_ms() >= deadline)
			return false;
		usleep(1000);
	}

	return true;
}

/* One byte from a child, or -1 if there is none within the common deadline. */
static int child_says(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	char byte;

	if (poll(&pollfd, 1, tdx_host_deadline_ms()) != 1 || read(fd, &byte, 1) != 1)
		return -1;
	return (unsigned char)byte;
}

static void say(int fd, char byte)
{
	if (write(fd, &byte, 1) != 1)
		_exit(1);
}

/*
 * The last reference to the VM, as its user space sees it: the order in which a
 * process lets go of its files.  Mapping a vCPU's run page counts as well, and so do the
 * files of statistics that the library opens.
 */
enum file {
	FILE_VM,
	FILE_VCPU,
	FILE_GMEM,
	NR_FILES
};

struct closing {
	struct td td;
	struct tdx_park park;
	struct td_populate populate;
	const enum file *order;
	unsigned int vms; /* 0 if they cannot be counted, else 1 */
};

/* The number stays taken, for the library to close. */
static void close_behind(int fd)
{
	int null;

	if (fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	TEST_ASSERT(null >= 0 && dup2(null, fd) == fd, "closing a file: errno %d", errno);
	close(null);
}

static void close_file(struct td *td, enum file file)
{
	int size = ioctl(td->vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	void *run = td->vcpu->run;

	switch (file) {
	case FILE_VM:
		close_behind(td->vm->stats.fd);
		close_behind(td->vm->fd);
		break;
	case FILE_VCPU:
		TEST_ASSERT(mmap(run, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				 0) == run,
			    "mmap over the run page: errno %d", errno);
		close_behind(td->vcpu->stats.fd);
		close_behind(td->vcpu->fd);
		break;
	default:
		td_close_gmem(td);
	}
}

FIXTURE(closed)
{
	struct closing c;
};

FIXTURE_VARIANT(closed)
{
	enum file order[NR_FILES];
};

#define CLOSED(_name) FIXTURE_VARIANT_ADD(closed, _name)

/* clang-format off */
CLOSED(vm_vcpu_gmem) { { FILE_VM, FILE_VCPU, FILE_GMEM } };
CLOSED(vm_gmem_vcpu) { { FILE_VM, FILE_GMEM, FILE_VCPU } };
CLOSED(vcpu_vm_gmem) { { FILE_VCPU, FILE_VM, FILE_GMEM } };
CLOSED(vcpu_gmem_vm) { { FILE_VCPU, FILE_GMEM, FILE_VM } };
CLOSED(gmem_vm_vcpu) { { FILE_GMEM, FILE_VM, FILE_VCPU } };
CLOSED(gmem_vcpu_vm) { { FILE_GMEM, FILE_VCPU, FILE_VM } };
/* clang-format on */

FIXTURE_SETUP(closed)
{
	td_create(&self->c.td);
	self->c.order = variant->order;
	self->c.vms = count_vms(getpid());
}

FIXTURE_TEARDOWN(closed)
{
	tdx_park_destroy(&self->c.park);
	tdx_task_finish(&self->c.populate.task);
	td_destroy(&self->c.td);
	td_audit(_metadata);
}

static int close_all_fn(void *arg)
{
	struct closing *c = arg;
	unsigned int i;

	for (i = 0; i < NR_FILES; i++)
		close_file(&c->td, c->order[i]);
	return 0;
}

/* Populate has a file open for as long as it runs, or finds none any more. */
static void expect_closed(struct __test_metadata *_metadata, struct closing *c, int result)
{
	u64 left = c->populate.region.nr_pages;

	EXPECT_TRUE(!result ? !left : result == -EFAULT && left)
	{
		TH_LOG("populate: want success or EFAULT, got %s with %lu pages left",
		       tdx_errno_name(result), left);
	}
	expect_no_vm(_metadata, getpid());
	/* Before the library has its turn. */
	td_audit_host(_metadata);
}

TD_TEST_F(closed, while_parked_leaves_nothing)
{
	struct closing *c = &self->c;
	struct tdx_task closer = {};

	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	tdx_park_init(&c->park, PARKED_PAGES, PARKED_AT);
	td_populate_start(&c->populate, &c->td, c->park.mem, 0, PARKED_PAGES);
	ASSERT_TRUE(tdx_park_wait(&c->park));

	tdx_task_start(&closer, "closer", close_all_fn, c);
	td_report_settled(&closer, tdx_task_settle(&closer));
	EXPECT_EQ(c->vms, count_vms(getpid()));
	EXPECT_FALSE(tdx_task_is_done(&c->populate.task));

	tdx_park_release(&c->park);
	EXPECT_RESULT(0, tdx_task_finish(&closer));
	expect_closed(_metadata, c, tdx_task_finish(&c->populate.task));
}

TD_TEST_F(closed, while_running_leaves_nothing)
{
	struct closing *c = &self->c;

	td_populate_prepare(&c->populate, &c->td, c->td.source, 0, TD_NR_PAGES);
	c->populate.flags = KVM_TDX_MEASURE_MEMORY_REGION;
	tdx_task_start(&c->populate.task, "populate", td_populate_fn, &c->populate);
	/* The call has to have begun, or there is nothing to populate. */
	while (!tdx_task_is_done(&c->populate.task) &&
	       !tdx_task_stack_has(&c->populate.task, "kvm_vcpu_ioctl"))
		sched_yield();
	close_all_fn(c);

	expect_closed(_metadata, c, tdx_task_finish(&c->populate.task));
}

/* Processes end, not just calls. */
FIXTURE(process)
{
	int pipe[2];
};

FIXTURE_SETUP(process)
{
	ASSERT_EQ(0, pipe(self->pipe));
}

FIXTURE_TEARDOWN(process)
{
	close(self->pipe[0]);
	close(self->pipe[1]);
	td_audit(_metadata);
}

static void parked_child(int fd)
{
	struct td_populate populate = {};
	struct tdx_park park = {};
	struct td td;

	td_create(&td);
	tdx_park_init(&park, PARKED_PAGES, PARKED_AT);
	td_populate_start(&populate, &td, park.mem, 0, PARKED_PAGES);
	if (!tdx_park_wait(&park))
		_exit(1);
	say(fd, 'p');
	tdx_task_finish(&populate.task);
	_exit(1);
}

TD_TEST_F(process, killed_while_parked_leaves_nothing)
{
	int status = 0;
	pid_t pid;

	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	pid = fork();
	if (!pid)
		parked_child(self->pipe[1]);
	ASSERT_LT(0, pid);
	ASSERT_EQ('p', child_says(self->pipe[0]));

	EXPECT_EQ(0, kill(pid, SIGKILL));
	ASSERT_TRUE(child_ends(pid, &status))
	{
		TH_LOG("a process waiting for its source page does not die");
	}
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	expect_no_vm(_metadata, pid);
}

#define KILLS 8

static void running_child(int fd)
{
	struct td td;

	td_create(&td);
	say(fd, 'r');
	for (;;) {
		if (td_add(&td, 0, TD_NR_PAGES) || td_punch(&td, 0, TD_NR_PAGES))
			_exit(1);
	}
}

TD_TEST_F(process, killed_while_running_leaves_nothing)
{
	unsigned int i;

	for (i = 0; i < KILLS; i++) {
		u64 until = tdx_now_ms() + 3 * i;
		int status = 0;
		pid_t pid = fork();

		if (!pid)
			running_child(self->pipe[1]);
		ASSERT_LT(0, pid);
		ASSERT_EQ('r', child_says(self->pipe[0]));
		while (tdx_now_ms() < until)
			sched_yield();

		EXPECT_EQ(0, kill(pid, SIGKILL));
		ASSERT_TRUE(child_ends(pid, &status));
		EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		{
			TH_LOG("the child left by itself, status 0x%x", status);
		}
		expect_no_vm(_metadata, pid);
	}
}

/*
 * A VM belongs to the memory of the process that made it.  Who inherits its files may
 * close them, and punch holes, but no ioctl is for him; not even when that memory is gone.
 * The page that he tries to add is none that is there, which -EIO would say as well.
 */
#define LEGACY_PAGES (TD_NR_PAGES - 1)

static void heir(struct td *td, int gone, int fd)
{
	struct kvm_tdx_init_mem_region region = td_region(td, LEGACY_PAGES, 1);
	char byte;

	if (!__vm_tdx_init_mem_region(td->vcpu, &region, 0) || errno != EIO)
		say(fd, 'i');
	/* Nobody else has the other end: it is closed after the process's memory is gone. */
	if (read(gone, &byte, 1))
		say(fd, 'e');
	if (!__vm_tdx_finalize(td->vm) || errno != EIO)
		say(fd, 'f');
	if (td_punch(td, 0, 1) || td_punch(td, 0, TD_NR_PAGES))
		say(fd, 'h');
	say(fd, 'g');
	_exit(0);
}

static void testator(int fd)
{
	int gone[2];
	struct td td;

	td_create(&td);
	if (td_add(&td, 0, LEGACY_PAGES) || pipe(gone))
		_exit(1);
	if (!fork()) {
		close(gone[1]);
		heir(&td, gone[0], fd);
	}
	_exit(0);
}

TD_TEST_F(process, files_outlive_it_ok)
{
	int status = 0, said;
	pid_t pid = fork();

	if (!pid)
		testator(self->pipe[1]);
	ASSERT_LT(0, pid);
	ASSERT_TRUE(child_ends(pid, &status));
	EXPECT_TRUE(WIFEXITED(status) && !WEXITSTATUS(status));
	said = child_says(self->pipe[0]);
	EXPECT_EQ('g', said)
	{
		TH_LOG("what inherited files are good for: '%c' is wrong", said);
	}
	expect_no_vm(_metadata, pid);
}

/*
 * The cgroup has memory for a part of the image.  Populate says so, unless the kernel
 * made room by killing the process.
 */
#define OOM_SLOT (TD_SLOT + 1)
#define OOM_LIMIT_PAGES 2048
#define OOM_PAGES (3 * OOM_LIMIT_PAGES)
#define OOM_SAID_ENOMEM 7

static void oom_child(int fd)
{
	struct kvm_tdx_init_mem_region region;
	struct tdx_memcg memcg;
	struct td_slot slot;
	struct td td;
	int r;

	td_create(&td);
	td_slot_create(&slot, &td, OOM_SLOT, td_gpa(TD_NR_PAGES), OOM_PAGES);
	/* Never written: one page of zeroes for all of it. */
	region = (struct kvm_tdx_init_mem_region) {
		.source_addr = (uintptr_t)td_mmap(OOM_PAGES * (u64)PAGE_SIZE),
		.gpa = slot.gpa,
		.nr_pages = OOM_PAGES,
	};
	if (!tdx_memcg_enter(&memcg) || !tdx_memcg_limit(&memcg, OOM_LIMIT_PAGES)) {
		say(fd, 's');
		_exit(0);
	}
	say(fd, 'l');
	r = __vm_tdx_init_mem_region(td.vcpu, &region, 0) ? -errno : 0;
	_exit(r == -ENOMEM && region.nr_pages ? OOM_SAID_ENOMEM : 1);
}

TD_TEST_F(process, out_of_memory_leaves_nothing)
{
	struct td other;
	int status = 0;
	int said;
	pid_t pid;

	td_create(&other);
	EXPECT_RESULT(0, td_add(&other, 0, TD_NR_PAGES / 2));

	pid = fork();
	if (!pid)
		oom_child(self->pipe[1]);
	ASSERT_LT(0, pid);
	said = child_says(self->pipe[0]);
	ASSERT_TRUE(child_ends(pid, &status));
	tdx_memcg_forget(pid);
	if (said == 's') {
		td_destroy(&other);
		SKIP(return, "no memory cgroup with a limit can be made");
	}

	EXPECT_EQ('l', said);
	printf("# out of memory: %s\n", WIFSIGNALED(status) ? "the process is killed" :
					WEXITSTATUS(status) == OOM_SAID_ENOMEM ? "ENOMEM" :
										 "?");
	EXPECT_TRUE(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL :
					  WEXITSTATUS(status) == OOM_SAID_ENOMEM)
	{
		TH_LOG("want SIGKILL or ENOMEM, got status 0x%x", status);
	}
	expect_no_vm(_metadata, pid);

	td_complete(_metadata, &other);
	td_destroy(&other);
}

#include "tdx_init_mem_main.h"
