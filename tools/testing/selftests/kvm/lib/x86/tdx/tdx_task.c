// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads watched from outside, see include/x86/tdx/tdx_task.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test_util.h"
#include "tdx/tdx_host.h"
#include "tdx/tdx_task.h"
#include "tdx/tdx_util.h"

/* How often a condition is looked at. */
#define TDX_POLL_US 1000

/* Asleep without a context switch for so long counts as blocked. */
#define TDX_BLOCKED_MS 50

#define TDX_STACK_SIZE 0x10000

u64 tdx_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

void tdx_task_pin(unsigned int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(cpus), &cpus), "CPU %u: errno %d", cpu, errno);
}

static void *tdx_task_main(void *arg)
{
	struct tdx_task *task = arg;

	/* So that dumps and hung task reports tell the threads apart. */
	prctl(PR_SET_NAME, task->name);
	task->tid = syscall(SYS_gettid);
	__atomic_store_n(&task->started, true, __ATOMIC_RELEASE);

	task->result = task->fn(task->arg);
	__atomic_store_n(&task->done, true, __ATOMIC_RELEASE);

	return NULL;
}

bool tdx_task_is_done(const struct tdx_task *task)
{
	return __atomic_load_n(&task->done, __ATOMIC_ACQUIRE);
}

void tdx_task_start(struct tdx_task *task, const char *name, int (*fn)(void *arg), void *arg)
{
	int r;

	*task = (struct tdx_task) { .name = name, .fn = fn, .arg = arg };

	r = pthread_create(&task->thread, NULL, tdx_task_main, task);
	TEST_ASSERT(!r, "pthread_create(%s): %s", name, strerror(r));

	while (!__atomic_load_n(&task->started, __ATOMIC_ACQUIRE))
		sched_yield();
}

static int tdx_task_apart_main(void *arg)
{
	/* Not to outlive a test that fails. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	tdx_task_main(arg);
	return pause();
}

void tdx_task_start_apart(struct tdx_task *task, const char *name, int (*fn)(void *arg), void *arg)
{
	*task = (struct tdx_task) { .name = name, .fn = fn, .arg = arg };

	task->stack = tdx_mmap(TDX_STACK_SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	task->tid = clone(tdx_task_apart_main, task->stack + TDX_STACK_SIZE,
			  CLONE_VM | CLONE_FILES | SIGCHLD, task);
	TEST_ASSERT(task->tid > 0, "clone(%s): errno %d", name, errno);

	while (!__atomic_load_n(&task->started, __ATOMIC_ACQUIRE))
		sched_yield();
}

bool tdx_child_ends(pid_t pid, int *status, unsigned int ms)
{
	u64 deadline = tdx_now_ms() + ms;

	while (waitpid(pid, status, WNOHANG) != pid) {
		if (tdx_now_ms() >= deadline)
			return false;
		usleep(TDX_POLL_US);
	}

	return true;
}

bool tdx_task_kill(struct tdx_task *task)
{
	int status = 0;

	if (!task->started || task->joined)
		return true;

	kill(task->tid, SIGKILL);
	if (!tdx_child_ends(task->tid, &status, tdx_host_deadline_ms()))
		return false;

	task->joined = true;
	munmap(task->stack, TDX_STACK_SIZE);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* Reads a small file of /proc/TID; the result is always a string. */
static void tdx_task_read(pid_t tid, const char *file, char *buf, size_t size)
{
	char path[64];
	ssize_t len;
	int fd;

	buf[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/%s", tid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;

	len = read(fd, buf, size - 1);
	buf[len > 0 ? len : 0] = '\0';
	close(fd);
}

/* Context switches so far if the task sleeps in the kernel, else -1. */
static long tdx_task_sleep_mark(const struct tdx_task *task)
{
	char status[4096], state = 'R';
	long voluntary = -1;
	const char *line;

	tdx_task_read(task->tid, "status", status, sizeof(status));

	line = strstr(status, "\nState:");
	if (line)
		sscanf(line, " State: %c", &state);

	line = strstr(status, "\nvoluntary_ctxt_switches:");
	if (line)
		sscanf(line, " voluntary_ctxt_switches: %ld", &voluntary);

	return state == 'S' || state == 'D' ? voluntary : -1;
}

enum tdx_task_state tdx_task_settle(struct tdx_task *task)
{
	u64 now = tdx_now_ms(), deadline = now + tdx_host_deadline_ms();
	u64 since = now;
	long mark = -1;

	for (; now < deadline; now = tdx_now_ms()) {
		long seen;

		if (tdx_task_is_done(task))
			return TDX_TASK_DONE;

		seen = tdx_task_sleep_mark(task);
		if (seen < 0 || seen != mark) {
			mark = seen;
			since = now;
		} else if (now - since >= TDX_BLOCKED_MS) {
			return TDX_TASK_BLOCKED;
		}

		usleep(TDX_POLL_US);
	}

	return TDX_TASK_BUSY;
}

bool tdx_task_wait(struct tdx_task *task)
{
	u64 deadline = tdx_now_ms() + tdx_host_deadline_ms();

	while (!tdx_task_is_done(task)) {
		if (tdx_now_ms() >= deadline)
			return false;
		usleep(TDX_POLL_US);
	}

	return true;
}

int tdx_task_finish(struct tdx_task *task)
{
	if (!task->started || task->joined)
		return task->result;

	if (!tdx_task_wait(task)) {
		tdx_task_dump_all(task->name);
		errno = 0;
		TEST_FAIL("%s did not finish within %u ms, see the stacks above", task->name,
			  tdx_host_deadline_ms());
	}

	pthread_join(task->thread, NULL);
	task->joined = true;
	return task->result;
}

const char *tdx_task_wchan(const struct tdx_task *task, char *buf, size_t size)
{
	tdx_task_read(task->tid, "wchan", buf, size);
	if (!strcmp(buf, "0"))
		buf[0] = '\0';
	return buf;
}

bool tdx_task_stack_has(const struct tdx_task *task, const char *function)
{
	char stack[8192];

	tdx_task_read(task->tid, "stack", stack, sizeof(stack));
	return strstr(stack, function);
}

static void tdx_task_dump(pid_t tid)
{
	char buf[8192], *line, *next;

	tdx_task_read(tid, "comm", buf, sizeof(buf));
	buf[strcspn(buf, "\n")] = '\0';
	printf("# task %d (%s):\n", tid, buf);

	tdx_task_read(tid, "stack", buf, sizeof(buf));
	for (line = buf; *line; line = next) {
		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = '\0';
		printf("#   %s\n", line);
	}
}

void tdx_task_dump_all(const char *why)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int fd;

	printf("# %s is late, stacks of all threads:\n", why);
	while (dir && (entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (tid)
			tdx_task_dump(tid);
	}
	if (dir)
		closedir(dir);

	fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "w", 1) == 1)
			printf("# blocked tasks are in the kernel log\n");
		close(fd);
	}
}
