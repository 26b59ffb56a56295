// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lock tracing, see include/x86/tdx/tdx_lock_trace.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test_util.h"
#include "tdx/tdx_audit.h"
#include "tdx/tdx_lock_trace.h"

#define TRACEFS "/sys/kernel/tracing"
#define INSTANCE TRACEFS "/instances/tdx_init_mem"
#define EVENT "events/lock/lock_acquire"

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

void tdx_lock_trace_start(const char *name, pid_t tid)
{
	char text[128];

	TEST_ASSERT(!mkdir(INSTANCE, 0700) || errno == EEXIST, "mkdir(" INSTANCE "): errno %d",
		    errno);

	trace_write(EVENT "/enable", "0");
	trace_write("trace", "\n");
	trace_write("options/stacktrace", "1");

	snprintf(text, sizeof(text), "name == \"%s\" && common_pid == %d", name, tid);
	trace_write(EVENT "/filter", text);
	trace_write(EVENT "/enable", "1");
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
	file = fopen(INSTANCE "/trace", "re");
	TEST_ASSERT(file, "open(" INSTANCE "/trace): errno %d", errno);

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
