// SPDX-License-Identifier: GPL-2.0-only
/*
 * The common audit, see include/x86/tdx/tdx_audit.h.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kernel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tdx/tdx_audit.h"

/* The kernel hands out one record per read; longer ones do not exist. */
#define KMSG_RECORD_MAX 8192

static int audit_kmsg = -1;

static const char *audit_expected;

/*
 * One row per kind of complaint: what identifies it, and a line as the kernel
 * prints it, by which the lockdep test proves that the row works.
 */
static const struct {
	const char *pattern;
	const char *example;
} audit_patterns[] = {
	{ "WARNING:", "WARNING: CPU: 0 PID: 1 at planted.c:1 planted+0x0/0x10" },
	{ "BUG:", "BUG: sleeping function called from invalid context at planted.c:1" },
	{ "kernel BUG at", "kernel BUG at planted.c:1!" },
	{ "Oops:", "Oops: 0002 [#1] SMP" },
	{ "general protection fault", "general protection fault, probably for address 0x0" },
	{ "Unable to handle kernel", "Unable to handle kernel paging request at 0x0" },
	{ "possible recursive locking", "possible recursive locking detected" },
	{ "possible circular locking", "possible circular locking dependency detected" },
	{ "possible irq lock inversion", "possible irq lock inversion dependency detected" },
	{ "possible deadlock", "possible deadlock in planted" },
	{ "inconsistent lock state", "inconsistent lock state" },
	{ "bad unlock balance", "bad unlock balance detected!" },
	{ "bad contention", "bad contention detected!" },
	{ "lock held when returning", "lock held when returning to user space!" },
	{ "held lock freed", "held lock freed!" },
	{ "Invalid wait context", "[ BUG: Invalid wait context ]" },
	{ "suspicious RCU usage", "suspicious RCU usage" },
	{ "blocked for more than", "INFO: task planted:1 blocked for more than 10 seconds." },
	{ "soft lockup", "watchdog: soft lockup - CPU#0 stuck for 22s!" },
	{ "hard LOCKUP", "watchdog: Watchdog detected hard LOCKUP on cpu 0" },
	{ "self-detected stall", "rcu: INFO: rcu_sched self-detected stall on CPU" },
	{ "detected stalls on", "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:" },
	{ "KASAN:", "KASAN: slab-use-after-free in planted" },
	{ "UBSAN:", "UBSAN: array-index-out-of-bounds in planted.c:1" },
	{ "refcount_t:", "refcount_t: underflow; use-after-free." },
	{ "list_add corruption", "list_add corruption. next->prev should be prev" },
	{ "list_del corruption", "list_del corruption. prev->next should be entry" },
	{ "Bad page state", "Bad page state in process planted pfn:00001" },
	{ "Bad rss-counter", "Bad rss-counter state mm:0 type:MM_ANONPAGES val:1" },
	{ "unreferenced object", "kmemleak: unreferenced object 0x0 (size 64)" },
};

/* A pattern counts at the start of a word only: "BUG:" is not in "DEBUG:". */
static bool audit_contains(const char *line, const char *pattern)
{
	const char *hit = line;

	while ((hit = strstr(hit, pattern))) {
		if (hit == line || !isalnum(hit[-1]))
			return true;
		hit++;
	}

	return false;
}

static bool audit_recognises(const char *line)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(audit_patterns); i++) {
		if (audit_contains(line, audit_patterns[i].pattern))
			return true;
	}

	return false;
}

const char *tdx_audit_example(unsigned int i)
{
	return i < ARRAY_SIZE(audit_patterns) ? audit_patterns[i].example : NULL;
}

static void audit_line(struct tdx_audit_report *report, const char *line)
{
	const char *planted = strstr(line, TDX_AUDIT_PLANTED);

	if (planted) {
		report->planted += audit_recognises(planted + strlen(TDX_AUDIT_PLANTED));
		return;
	}

	if (!audit_recognises(line))
		return;

	if (audit_expected && strstr(line, audit_expected)) {
		report->expected++;
		return;
	}

	if (!report->findings++)
		snprintf(report->first, sizeof(report->first), "%s", line);
}

/* A record is "prefix;message\n" and may go on with lines of key=value. */
static void audit_record(struct tdx_audit_report *report, char *record)
{
	char *message = strchr(record, ';');

	if (!message)
		return;

	message++;
	message[strcspn(message, "\n")] = '\0';
	audit_line(report, message);
}

void tdx_audit_begin(void)
{
	audit_kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (audit_kmsg < 0 || lseek(audit_kmsg, 0, SEEK_END) < 0)
		printf("# audit: /dev/kmsg: %s: the kernel log is not audited\n", strerror(errno));
}

void tdx_audit_expect(const char *text)
{
	audit_expected = text;
}

bool tdx_audit_warn_again(void)
{
	int fd = open("/sys/kernel/debug/clear_warn_once", O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, "1", 1) == 1;

	if (fd >= 0)
		close(fd);
	return good;
}

void tdx_audit_scan(struct tdx_audit_report *report)
{
	static char record[KMSG_RECORD_MAX + 1];
	ssize_t len;

	*report = (struct tdx_audit_report) {
		.readable = audit_kmsg >= 0,
		.debug_locks = tdx_audit_debug_locks(),
	};

	while (report->readable) {
		len = read(audit_kmsg, record, KMSG_RECORD_MAX);
		if (len > 0) {
			record[len] = '\0';
			audit_record(report, record);
		} else if (len < 0 && errno == EPIPE) {
			/* Blind for a while is not clean. */
			if (!report->findings++)
				snprintf(report->first, sizeof(report->first),
					 "(the kernel log overran: lines were lost)");
		} else if (len < 0 && errno == EINTR) {
			continue;
		} else {
			break;
		}
	}
}

bool tdx_audit_is_clean(const struct tdx_audit_report *report)
{
	return !report->findings && report->debug_locks;
}

int tdx_audit_debug_locks(void)
{
	FILE *stats = fopen("/proc/lockdep_stats", "re");
	char line[128];
	int value = -1;

	if (!stats)
		return -1;

	while (fgets(line, sizeof(line), stats)) {
		if (sscanf(line, " debug_locks: %d", &value) == 1)
			break;
	}

	fclose(stats);
	return value;
}

const char *tdx_audit_lacks_lockdep(void)
{
	if (tdx_audit_debug_locks() < 0)
		return "no lockdep in this kernel (CONFIG_PROVE_LOCKING)";

	return NULL;
}

bool tdx_audit_plant(const char *line)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char record[256];
	int len;

	if (fd < 0)
		return false;

	/* One write is one record. */
	len = snprintf(record, sizeof(record), "<4>%s %s\n", TDX_AUDIT_PLANTED, line);
	len = write(fd, record, len) == len;
	close(fd);
	return len;
}
