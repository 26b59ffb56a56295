// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocations that fail, see include/x86/tdx/tdx_fault.h.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "test_util.h"
#include "tdx/tdx_fault.h"

#define FAULT_DEBUGFS "/sys/kernel/debug/"
#define FAULT_SLAB FAULT_DEBUGFS "failslab/"
#define FAULT_PAGE FAULT_DEBUGFS "fail_page_alloc/"
#define FAIL_NTH "/proc/thread-self/fail-nth"
#define MAKE_IT_FAIL "/proc/thread-self/make-it-fail"

/* More than ever fail; counted down. */
#define FAULT_TIMES 1000000

/* What the tests need, in place of what they find. */
static struct fault_setting {
	const char *path;
	const char *value;
	char former[24];
} fault_settings[] = {
	{ FAULT_SLAB "probability", "0", "" },
	{ FAULT_SLAB "interval", "1", "" },
	{ FAULT_SLAB "task-filter", "Y", "" },
	{ FAULT_SLAB "space", "0", "" },
	{ FAULT_SLAB "times", "1", "" },
	{ FAULT_SLAB "ignore-gfp-wait", "N", "" },
	{ FAULT_SLAB "verbose", "0", "" },
	{ FAULT_PAGE "ignore-gfp-wait", "N", "" },
	{ FAULT_PAGE "ignore-gfp-highmem", "N", "" },
	{ FAULT_PAGE "min-order", "0", "" },
	{ FAULT_PAGE "verbose", "0", "" },
};

/* Of the thread that called tdx_fault_begin(). */
static int fault_nth = -1;
static int fault_make = -1;
static bool fault_after;

static void fault_write(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len = strlen(value);

	TEST_ASSERT(fd >= 0 && write(fd, value, len) == len, "%s: errno %d", path, errno);
	close(fd);
}

static void fault_write_number(const char *path, unsigned int value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	fault_write(path, text);
}

static void fault_read(const char *path, char *value, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, value, size - 1);

	TEST_ASSERT(len > 0, "%s: errno %d", path, errno);
	close(fd);
	value[len] = '\0';
	value[strcspn(value, "\n")] = '\0';
}

const char *tdx_fault_lacks(void)
{
	unsigned int i;

	if (access(FAIL_NTH, W_OK) || access(MAKE_IT_FAIL, W_OK))
		return "no fault injection in this kernel (CONFIG_FAULT_INJECTION)";

	for (i = 0; i < ARRAY_SIZE(fault_settings); i++) {
		if (access(fault_settings[i].path, W_OK))
			return "no failslab or fail_page_alloc in debugfs";
	}

	return NULL;
}

void tdx_fault_begin(void)
{
	struct fault_setting *setting;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fault_settings); i++) {
		setting = &fault_settings[i];
		fault_read(setting->path, setting->former, sizeof(setting->former));
		fault_write(setting->path, setting->value);
	}

	fault_nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	fault_make = open(MAKE_IT_FAIL, O_WRONLY | O_CLOEXEC);
	TEST_ASSERT(fault_nth >= 0 && fault_make >= 0, "%s, %s: errno %d", FAIL_NTH, MAKE_IT_FAIL,
		    errno);
}

void tdx_fault_end(void)
{
	unsigned int i;

	if (fault_nth < 0)
		return;

	tdx_fault_disarm();
	close(fault_nth);
	close(fault_make);
	fault_nth = -1;
	for (i = 0; i < ARRAY_SIZE(fault_settings); i++)
		fault_write(fault_settings[i].path, fault_settings[i].former);
}

static void fault_set(int fd, const char *path, unsigned int value)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", value);

	TEST_ASSERT(pwrite(fd, text, len, 0) == len, "%s: errno %d", path, errno);
}

void tdx_fault_arm(unsigned int nth)
{
	fault_set(fault_nth, FAIL_NTH, nth);
}

void tdx_fault_arm_after(unsigned int bytes)
{
	fault_write_number(FAULT_SLAB "space", bytes);
	fault_write_number(FAULT_SLAB "times", FAULT_TIMES);
	fault_write_number(FAULT_SLAB "probability", 100);
	fault_after = true;
	fault_set(fault_make, MAKE_IT_FAIL, 1);
}

bool tdx_fault_disarm(void)
{
	int saved_errno = errno;
	char text[16] = "";
	bool failed;

	if (fault_after) {
		fault_set(fault_make, MAKE_IT_FAIL, 0);
		fault_write_number(FAULT_SLAB "probability", 0);
		fault_read(FAULT_SLAB "times", text, sizeof(text));
		failed = strtoul(text, NULL, 10) < FAULT_TIMES;
		fault_after = false;
	} else {
		/* How many are to come before the one that fails; 0 once it has. */
		TEST_ASSERT(pread(fault_nth, text, sizeof(text) - 1, 0) > 0, "%s: errno %d",
			    FAIL_NTH, errno);
		failed = !strtoul(text, NULL, 10);
		fault_set(fault_nth, FAIL_NTH, 0);
	}

	errno = saved_errno;
	return failed;
}
