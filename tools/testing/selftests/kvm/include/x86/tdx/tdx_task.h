/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads, and processes like threads, that run one operation each, watched from outside.
 *
 * Waiting is always bounded.  Whether an operation is blocked is read from the
 * kernel (task state and context switches), never concluded from a sleep.
 */
#ifndef SELFTEST_KVM_TDX_TASK_H
#define SELFTEST_KVM_TDX_TASK_H

#include <linux/types.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

struct tdx_task {
	const char *name;
	/* Returns 0 or a negative errno. */
	int (*fn)(void *arg);
	void *arg;
	int result;

	pthread_t thread;
	void *stack; /* of one that is apart */
	pid_t tid;
	bool started;
	bool done;
	bool joined;
};

/*
 * The same as a process that shares memory and files with this one, whose VMs are hence
 * its own, but no signal.  It shares errno as well: @fn makes one system call, and no more
 * than that.  Ends by tdx_task_kill().
 */
void tdx_task_start_apart(struct tdx_task *task, const char *name, int (*fn)(void *arg), void *arg);

/* SIGKILL for one that is apart, be it done or not; false if it does not die of that. */
bool tdx_task_kill(struct tdx_task *task);

enum tdx_task_state {
	TDX_TASK_DONE,
	TDX_TASK_BLOCKED, /* asleep in the kernel, and staying so */
	TDX_TASK_BUSY,	  /* neither before the deadline */
};

/* Returns once the thread exists and is about to call @fn. */
void tdx_task_start(struct tdx_task *task, const char *name, int (*fn)(void *arg), void *arg);

/* Poll until the task is done or visibly stays blocked. */
enum tdx_task_state tdx_task_settle(struct tdx_task *task);

bool tdx_task_is_done(const struct tdx_task *task);

/* Poll until the task is done; false after the common deadline. */
bool tdx_task_wait(struct tdx_task *task);

/*
 * Wait, join and hand out the result.  A missed deadline dumps the stacks of
 * all threads and fails the test.
 */
int tdx_task_finish(struct tdx_task *task);

/* Where the task sleeps: a kernel function, or "" if it does not. */
const char *tdx_task_wchan(const struct tdx_task *task, char *buf, size_t size);

/* Whether @function is on the kernel stack of the task (needs root). */
bool tdx_task_stack_has(const struct tdx_task *task, const char *function);

/* Stacks of all threads of this process, and of all blocked tasks (sysrq-w). */
void tdx_task_dump_all(const char *why);

/* From here on the calling thread, and what it starts, runs on @cpu only. */
void tdx_task_pin(unsigned int cpu);

/* Polls until a child process has ended, and reaps it; false after @ms milliseconds. */
bool tdx_child_ends(pid_t pid, int *status, unsigned int ms);

/* Milliseconds of a clock that never jumps. */
u64 tdx_now_ms(void);

#endif /* SELFTEST_KVM_TDX_TASK_H */
