/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which locks of one name does a thread take, in which mode, and from where.
 *
 * Reads the lock:lock_acquire tracepoint of lockdep with stacks, in a trace
 * instance of its own.
 */
#ifndef SELFTEST_KVM_TDX_LOCK_TRACE_H
#define SELFTEST_KVM_TDX_LOCK_TRACE_H

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

#endif /* SELFTEST_KVM_TDX_LOCK_TRACE_H */
