// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lock tracing, see include/x86/tdx/tdx_lock_trace.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kernel.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test_util.h"
#include "tdx/tdx_audit.h"
#include "tdx/tdx_lock_trace.h"

#define TRACEFS "/sys/kernel/tracing"
#define INSTANCE TRACEFS "/instances/tdx_init_mem"
#define EVENT "events/lock/lock_acquire"
#define RELEASE "events/lock/lock_release"

/* As many locks of one name as a thread may hold at a time. */
#define HELD_MAX 8

const char *tdx_lock_trace_lacks(void)
{
	if (tdx_audit_lacks_lockdep())
		return tdx_audit_lacks_lockdep();

	if (access(TRACEFS "/" EVENT "/enable", W_OK))
		return "tracefs lacks lock:lock_acquire, or is not mounted or not writable";

	return NULL;
}

static void trace_write(const char *file, const char *value)
{
	char path[128];
	ssize_t len = strlen(value);
	int fd;

	snprintf(path, sizeof(path), INSTANCE "/%s", file);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	TEST_ASSERT(fd >= 0, "open(%s): errno %d", path, errno);
	TEST_ASSERT(write(fd, value, len) == len, "\"%s\" > %s: errno %d", value, path, errno);
	close(fd);
}

static void trace_create(void)
{
	TEST_ASSERT(!mkdir(INSTANCE, 0700) || errno == EEXIST, "mkdir(" INSTANCE "): errno %d",
		    errno);

	trace_write(EVENT "/enable", "0");
	trace_write(RELEASE "/enable", "0");
	trace_write("trace", "\n");
}

static void trace_filter(const char *file, const char *name, pid_t tid)
{
	char text[128];

	snprintf(text, sizeof(text), "name == \"%s\" && common_pid == %d", name, tid);
	trace_write(file, text);
}

void tdx_lock_trace_start(const char *name, pid_t tid)
{
	trace_create();
	trace_write("options/stacktrace", "1");
	trace_filter(EVENT "/filter", name, tid);
	trace_write(EVENT "/enable", "1");
}

static FILE *trace_open(void)
{
	FILE *file = fopen(INSTANCE "/trace", "re");

	TEST_ASSERT(file, "open(" INSTANCE "/trace): errno %d", errno);
	return file;
}

/* An event line reads "... lock_acquire: ADDRESS [try ][read ]NAME". */
static struct tdx_lock_event *trace_parse_event(struct tdx_lock_trace *trace, const char *line)
{
	struct tdx_lock_event *event;

	if (trace->nr_events == ARRAY_SIZE(trace->events))
		return NULL;

	event = &trace->events[trace->nr_events++];
	event->try = strstr(line, " try ");
	event->read = strstr(line, " read ");
	event->stack[0] = '\0';
	return event;
}

void tdx_lock_trace_stop(struct tdx_lock_trace *trace)
{
	struct tdx_lock_event *event = NULL;
	char line[512];
	FILE *file;

	trace_write(EVENT "/enable", "0");

	trace->nr_events = 0;
	file = trace_open();
	while (fgets(line, sizeof(line), file)) {
		const char *call = strstr(line, "lock_acquire: ");
		const char *frame = strstr(line, " => ");

		if (call)
			event = trace_parse_event(trace, call + strlen("lock_acquire:"));
		else if (frame && event &&
			 strlen(event->stack) + strlen(frame) < sizeof(event->stack))
			strcat(event->stack, frame + strlen(" => "));
	}

	fclose(file);
	rmdir(INSTANCE);
}

bool tdx_lock_event_is_under(const struct tdx_lock_event *event, const char *function)
{
	return strstr(event->stack, function);
}

void tdx_lock_holds_start(const char *name, pid_t tid)
{
	trace_create();

	/* That of the default need not be the same on all CPUs. */
	trace_write("trace_clock", "mono");
	trace_filter(EVENT "/filter", name, tid);
	trace_filter(RELEASE "/filter", name, tid);
	trace_write(EVENT "/enable", "1");
	trace_write(RELEASE "/enable", "1");
}

struct held_lock {
	char lock[32]; /* the hashed address tells them apart */
	u64 since_us;
	bool shared;
};

struct held_locks {
	unsigned int nr;
	struct held_lock locks[HELD_MAX];
};

static void held_begin(struct held_locks *held, const char *lock, u64 time_us, bool shared)
{
	struct held_lock *begun;

	TEST_ASSERT(held->nr < HELD_MAX, "more than %u locks of one name at a time", HELD_MAX);
	begun = &held->locks[held->nr++];
	snprintf(begun->lock, sizeof(begun->lock), "%s", lock);
	begun->since_us = time_us;
	begun->shared = shared;
}

static void held_end(struct held_locks *held, const char *lock, u64 time_us,
		     struct tdx_lock_holds *holds)
{
	struct tdx_lock_hold *hold;
	unsigned int i;
	u64 took_us;

	for (i = 0; i < held->nr && strcmp(held->locks[i].lock, lock); i++)
		;
	TEST_ASSERT(i < held->nr, "the trace has a release of a lock that was not taken");

	took_us = time_us - held->locks[i].since_us;
	hold = held->locks[i].shared ? &holds->shared : &holds->exclusive;
	if (hold->nr < TDX_LOCK_HOLDS_MAX)
		hold->each_us[hold->nr] = took_us;
	hold->nr++;
	hold->total_us += took_us;
	hold->max_us = max(hold->max_us, took_us);
	held->locks[i] = held->locks[--held->nr];
}

/* An event line reads "... SECONDS.MICROSECONDS: EVENT: ADDRESS [try ][read ]NAME". */
static void held_parse(struct held_locks *held, const char *line, struct tdx_lock_holds *holds)
{
	const char *event = strstr(line, ": lock_");
	unsigned long sec, usec;
	const char *time = event;
	char lock[32];

	if (!event || sscanf(event, ": lock_%*[a-z]: %31s", lock) != 1)
		return;

	while (time > line && time[-1] != ' ')
		time--;
	TEST_ASSERT(sscanf(time, "%lu.%6lu", &sec, &usec) == 2, "no time in \"%s\"", line);

	if (!strncmp(event, ": lock_acquire:", strlen(": lock_acquire:")))
		held_begin(held, lock, sec * 1000000 + usec, strstr(event, " read "));
	else
		held_end(held, lock, sec * 1000000 + usec, holds);
}

static int held_compare(const void *a, const void *b)
{
	const u64 *one = a, *other = b;

	return *one < *other ? -1 : *one > *other;
}

static void held_sort(struct tdx_lock_hold *hold)
{
	unsigned int nr = hold->nr;

	if (nr > TDX_LOCK_HOLDS_MAX)
		nr = TDX_LOCK_HOLDS_MAX;
	if (!nr)
		return;

	qsort(hold->each_us, nr, sizeof(*hold->each_us), held_compare);
	hold->median_us = hold->each_us[nr / 2];
}

void tdx_lock_holds_stop(struct tdx_lock_holds *holds)
{
	unsigned long kept = 0, written = 0;
	struct held_locks held = {};
	char line[512];
	FILE *file;

	trace_write(EVENT "/enable", "0");
	trace_write(RELEASE "/enable", "0");

	*holds = (struct tdx_lock_holds) {};
	file = trace_open();
	while (fgets(line, sizeof(line), file)) {
		if (line[0] == '#')
			sscanf(line, "# entries-in-buffer/entries-written: %lu/%lu", &kept,
			       &written);
		else
			held_parse(&held, line, holds);
	}

	fclose(file);
	rmdir(INSTANCE);
	held_sort(&holds->exclusive);
	held_sort(&holds->shared);

	TEST_ASSERT(kept == written, "the trace lost %lu events", written - kept);
	TEST_ASSERT(!held.nr, "%u locks were never released", held.nr);
}
