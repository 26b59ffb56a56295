/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which locks of one name does a thread take, in which mode, from where, and for
 * how long.
 *
 * Reads the lock:lock_acquire and lock:lock_release tracepoints of lockdep, in a
 * trace instance of its own.
 */
#ifndef SELFTEST_KVM_TDX_LOCK_TRACE_H
#define SELFTEST_KVM_TDX_LOCK_TRACE_H

#include <linux/types.h>
#include <stdbool.h>
#include <sys/types.h>

struct tdx_lock_event {
	bool read; /* shared, else exclusive */
	bool try;
	char stack[2048]; /* innermost function first, one a line */
};

struct tdx_lock_trace {
	unsigned int nr_events;
	struct tdx_lock_event events[64];
};

/* Why locks cannot be traced here, or NULL. */
const char *tdx_lock_trace_lacks(void);

/* From here on record what thread @tid does with locks called @name. */
void tdx_lock_trace_start(const char *name, pid_t tid);

/* Stop and hand out what was recorded; events past the array are dropped. */
void tdx_lock_trace_stop(struct tdx_lock_trace *trace);

bool tdx_lock_event_is_under(const struct tdx_lock_event *event, const char *function);

/* More holds than these are counted, but have no part in the median. */
#define TDX_LOCK_HOLDS_MAX 4096

/* For how long locks were held in one mode. */
struct tdx_lock_hold {
	unsigned int nr;
	u64 total_us;
	u64 median_us;
	u64 max_us;
	u64 each_us[TDX_LOCK_HOLDS_MAX];
};

struct tdx_lock_holds {
	struct tdx_lock_hold exclusive;
	struct tdx_lock_hold shared;
};

/*
 * From here on record for how long thread @tid holds locks called @name.  A hold
 * begins when the lock is asked for: there are no stacks here, nor would it take
 * CONFIG_LOCK_STAT, but nobody else may want the lock meanwhile.  Every lock
 * operation of the thread is looked at, so what it does takes longer.
 */
void tdx_lock_holds_start(const char *name, pid_t tid);

/* Stop and hand out what was recorded; asserts that nothing was lost. */
void tdx_lock_holds_stop(struct tdx_lock_holds *holds);

#endif /* SELFTEST_KVM_TDX_LOCK_TRACE_H */
