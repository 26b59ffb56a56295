// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parking without userfaultfd: the missing page is the only page of the only
 * file of a FUSE file system, mapped private, which a thread of the test serves.
 * That the file is read reports the arrival; whoever faulted sleeps until it is
 * answered, without mmap_lock, as with userfaultfd.
 *
 * The thread has a table of open files of its own, in which alone the connection
 * is.  Were it in that of the process, a process that is killed could not close
 * it before whoever waits for the page is gone, which waits for nothing else.
 * Nor does the thread keep any other file open, least of all those of the TD.
 *
 * The root of the file system is the file, and the mount is in no namespace: it
 * needs no place, and goes with its last user.
 */
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/fuse.h>
#include <linux/mount.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kvm_util.h"
#include "processor.h"
#include "tdx/tdx_host.h"
#include "tdx/tdx_park_way.h"
#include "tdx/tdx_task.h"

#define FUSE_DEV "/dev/fuse"

/* Nothing of the file changes: the kernel need not ask twice. */
#define FUSE_VALID_S 3600

struct tdx_park_server {
	struct tdx_task task;
	const void *content;
	char file[64]; /* the root of the mount, by its place in the thread's table */
	int dev, mount;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* By lock. */
	bool mounted;
	bool asked;
	bool answered; /* from now on it is */
};

static int fuse_fsopen(void)
{
	return syscall(__NR_fsopen, "fuse", FSOPEN_CLOEXEC);
}

static const char *fuse_lacks(void)
{
	int dev = open(FUSE_DEV, O_RDWR | O_CLOEXEC), fs;

	if (dev < 0)
		return errno == ENOENT ? "no " FUSE_DEV : FUSE_DEV " cannot be opened";
	close(dev);

	fs = fuse_fsopen();
	if (fs < 0)
		return "FUSE cannot be mounted (CAP_SYS_ADMIN)";
	close(fs);
	return NULL;
}

static void fuse_set(int fs, const char *key, unsigned int value, const char *format)
{
	char text[16];

	snprintf(text, sizeof(text), format, value);
	TEST_ASSERT(!syscall(__NR_fsconfig, fs, FSCONFIG_SET_STRING, key, text, 0),
		    "FUSE does not take %s=%s, errno %d", key, text, errno);
}

/* Returns the mount's root. */
static int fuse_mount(int dev)
{
	int mount, fs = fuse_fsopen();

	TEST_ASSERT(fs >= 0, "fsopen(fuse) failed, errno %d", errno);
	fuse_set(fs, "fd", dev, "%u");
	fuse_set(fs, "rootmode", S_IFREG | 0600, "%o");
	fuse_set(fs, "user_id", getuid(), "%u");
	fuse_set(fs, "group_id", getgid(), "%u");
	TEST_ASSERT(!syscall(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0),
		    "No FUSE file system, errno %d", errno);

	mount = syscall(__NR_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	TEST_ASSERT(mount >= 0, "fsmount failed, errno %d", errno);
	close(fs);
	return mount;
}

/* An answer that nobody waits for any more is none. */
static void fuse_reply(struct tdx_park_server *server, u64 unique, int error, const void *data,
		       size_t size)
{
	struct fuse_out_header header = {
		.len = sizeof(header) + size,
		.error = error,
		.unique = unique,
	};
	u8 reply[sizeof(header) + PAGE_SIZE];

	memcpy(reply, &header, sizeof(header));
	if (size)
		memcpy(reply + sizeof(header), data, size);
	TEST_ASSERT(write(server->dev, reply, header.len) == header.len || errno == ENOENT,
		    "FUSE does not take an answer, errno %d", errno);
}

static void fuse_reply_init(struct tdx_park_server *server, u64 unique)
{
	/* One page read ahead is the one that is asked for, but waited for as by all. */
	const struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = PAGE_SIZE,
		.max_write = PAGE_SIZE,
		.flags = FUSE_ASYNC_READ,
	};

	fuse_reply(server, unique, 0, &init, sizeof(init));
}

static void fuse_reply_getattr(struct tdx_park_server *server, u64 unique)
{
	const struct fuse_attr_out attr = {
		.attr_valid = FUSE_VALID_S,
		.attr = {
			.ino = FUSE_ROOT_ID,
			.size = PAGE_SIZE,
			.mode = S_IFREG | 0600,
			.nlink = 1,
			.uid = getuid(),
			.gid = getgid(),
			.blksize = PAGE_SIZE,
		},
	};

	fuse_reply(server, unique, 0, &attr, sizeof(attr));
}

static void fuse_reply_open(struct tdx_park_server *server, u64 unique)
{
	const struct fuse_open_out open = { .open_flags = FOPEN_KEEP_CACHE };

	fuse_reply(server, unique, 0, &open, sizeof(open));

	/* Whoever opens it has found it. */
	close(server->mount);
}

/* Nothing else is asked that could not wait as well. */
static void fuse_reply_read(struct tdx_park_server *server, u64 unique,
			    const struct fuse_read_in *in)
{
	size_t size = in->size < PAGE_SIZE ? in->size : PAGE_SIZE;

	pthread_mutex_lock(&server->lock);
	server->asked = true;
	pthread_cond_broadcast(&server->changed);
	while (!server->answered)
		pthread_cond_wait(&server->changed, &server->lock);
	pthread_mutex_unlock(&server->lock);

	fuse_reply(server, unique, 0, server->content, size);
}

static void fuse_serve_request(struct tdx_park_server *server, const struct fuse_in_header *in)
{
	switch (in->opcode) {
	case FUSE_INIT:
		fuse_reply_init(server, in->unique);
		break;
	case FUSE_GETATTR:
		fuse_reply_getattr(server, in->unique);
		break;
	case FUSE_OPEN:
		fuse_reply_open(server, in->unique);
		break;
	case FUSE_READ:
		fuse_reply_read(server, in->unique, (const void *)(in + 1));
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break; /* want no answer */
	default:
		fuse_reply(server, in->unique, -EOPNOTSUPP, NULL, 0);
	}
}

static int fuse_serve(void *arg)
{
	struct tdx_park_server *server = arg;
	u64 request[FUSE_MIN_READ_BUFFER / sizeof(u64)];
	sigset_t signals;
	ssize_t r;

	/* They are meant for others. */
	sigfillset(&signals);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);

	TEST_ASSERT(!syscall(__NR_close_range, STDERR_FILENO + 1, ~0u, CLOSE_RANGE_UNSHARE),
		    "close_range failed, errno %d", errno);
	server->dev = open(FUSE_DEV, O_RDWR | O_CLOEXEC);
	TEST_ASSERT(server->dev >= 0, "%s: errno %d", FUSE_DEV, errno);
	server->mount = fuse_mount(server->dev);

	pthread_mutex_lock(&server->lock);
	snprintf(server->file, sizeof(server->file), "/proc/self/task/%ld/fd/%d",
		 syscall(SYS_gettid), server->mount);
	server->mounted = true;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);

	for (;;) {
		r = read(server->dev, request, sizeof(request));
		if (r >= (ssize_t)sizeof(struct fuse_in_header))
			fuse_serve_request(server, (const void *)request);
		else if (r >= 0 || errno != ENOENT)
			break;
	}

	/* Nobody has the file any more, in one word or the other. */
	r = r < 0 && errno != ENODEV && errno != ECONNABORTED ? -errno : 0;
	close(server->dev);
	return r;
}

/* Until @condition, which the server sets; false after the common deadline. */
static bool fuse_await(struct tdx_park_server *server, const bool *condition)
{
	struct timespec deadline;
	int r = 0;
	bool met;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += tdx_host_deadline_ms() / 1000;
	deadline.tv_nsec += tdx_host_deadline_ms() % 1000 * 1000000;
	deadline.tv_sec += deadline.tv_nsec / 1000000000;
	deadline.tv_nsec %= 1000000000;

	pthread_mutex_lock(&server->lock);
	while (!*condition && !r)
		r = pthread_cond_timedwait(&server->changed, &server->lock, &deadline);
	met = *condition;
	pthread_mutex_unlock(&server->lock);
	return met;
}

static void fuse_open(struct tdx_park *park)
{
	struct tdx_park_server *server = calloc(1, sizeof(*server));
	pthread_condattr_t monotonic;
	struct stat stat;
	void *page;
	int fd;

	TEST_ASSERT(server, "Insufficient memory");
	server->content = park->content;
	pthread_mutex_init(&server->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&server->changed, &monotonic);
	park->server = server;

	tdx_task_start(&server->task, "park", fuse_serve, server);
	TEST_ASSERT(fuse_await(server, &server->mounted), "FUSE is not mounted");

	fd = open(server->file, O_RDONLY | O_CLOEXEC);
	TEST_ASSERT(fd >= 0, "The root of FUSE cannot be opened, errno %d", errno);
	/* Makes the kernel ask for the size: behind the end of a file is no page. */
	TEST_ASSERT(!fstat(fd, &stat) && stat.st_size == (off_t)PAGE_SIZE,
		    "The file has no page, errno %d", errno);
	page = mmap(park->page, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
	TEST_ASSERT(page == park->page, "mmap of a FUSE file failed, errno %d", errno);
	close(fd);
}

static bool fuse_wait(struct tdx_park *park)
{
	return fuse_await(park->server, &park->server->asked);
}

static void fuse_release(struct tdx_park *park)
{
	struct tdx_park_server *server = park->server;

	pthread_mutex_lock(&server->lock);
	server->answered = true;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
}

static void fuse_abandon(struct tdx_park *park)
{
	memset(park->content, 0, PAGE_SIZE);
	fuse_release(park);
}

static void fuse_destroy(struct tdx_park *park)
{
	struct tdx_park_server *server = park->server;
	int r = tdx_task_finish(&server->task);

	TEST_ASSERT(!r, "The FUSE connection ended with errno %d", -r);
	free(server);
	park->server = NULL;
}

const struct tdx_park_way tdx_park_fuse = {
	.name = "fuse",
	.lacks = fuse_lacks,
	.open = fuse_open,
	.wait = fuse_wait,
	.release = fuse_release,
	.abandon = fuse_abandon,
	.destroy = fuse_destroy,
};
