// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stores to pages that are not the host's, with an array for guest RAM. The
 * watch has one state a process, so each case gets a process of its own.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qemu/backtrace.h"
#include "qemu/tdxq.h"
#include "qemu/watch.h"
#include "tests/ktap.h"

#define MIB (UINT64_C(1) << 20)
#define HIGH (UINT64_C(4) << 30)
#define LOW_SIZE (32 * MIB)
#define HIGH_SIZE (16 * MIB)
#define PAMT (8 * MIB)
#define PAMT_SIZE (1 * MIB)
#define PAGE (16 * MIB)
#define MAX_STORES 1024

static uint8_t *low, *high;
static struct tdxq q;

/* What came out. */
static struct {
	uint64_t hpa;
	int lp;
} stores[MAX_STORES];
static unsigned int nr_stores;
static char gap[128];

static uint8_t *host(uint64_t hpa)
{
	return hpa < HIGH ? low + hpa : high + (hpa - HIGH);
}

static bool phys_read(void *opaque, uint64_t hpa, void *buf, size_t len)
{
	(void)opaque;
	memcpy(buf, host(hpa), len);
	return true;
}

static bool phys_write(void *opaque, uint64_t hpa, const void *buf, size_t len)
{
	(void)opaque;
	memcpy(host(hpa), buf, len);
	return true;
}

const struct vmxr_ops tdxq_cpu_ops = { .phys_read = phys_read, .phys_write = phys_write };

void tdxm_host_store(struct tdxm *m, int lp, uint64_t hpa, const uint64_t *pc, size_t nr_pc)
{
	(void)m;
	(void)pc;
	(void)nr_pc;
	stores[nr_stores].hpa = hpa;
	stores[nr_stores++].lp = lp;
}

void tdxq_gapf(struct tdxq *unused, const char *format, ...)
{
	va_list args;

	(void)unused;
	va_start(args, format);
	g_vsnprintf(gap, sizeof(gap), format, args);
	va_end(args);
}

int tdxq_this_lp(void)
{
	return TDXM_NO_LP;
}

size_t tdxq_backtrace_at_access(struct tdxq *unused, uint64_t *pc, size_t max)
{
	(void)unused;
	(void)pc;
	(void)max;
	return 0;
}

/* In place of libc's, which cannot be made to fail. */
static int mprotect_left = INT_MAX;

int mprotect(void *addr, size_t len, int prot)
{
	if (prot == PROT_READ && mprotect_left-- <= 0) {
		errno = ENOMEM;
		return -1;
	}
	return (int)syscall(SYS_mprotect, addr, len, prot);
}

/* Aligned as QEMU does it; the kernel may merge what lies side by side. */
static uint8_t *map(size_t size)
{
	uintptr_t at = (uintptr_t)mmap(NULL, size + 2 * MIB, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return (uint8_t *)((at + 2 * MIB - 1) & ~(2 * MIB - 1));
}

static void power_on(void)
{
	low = map(LOW_SIZE + HIGH_SIZE);
	high = low + LOW_SIZE;
	q.ram[0] = (struct tdxm_cmr) { MIB, LOW_SIZE - MIB };
	q.ram[1] = (struct tdxm_cmr) { HIGH, HIGH_SIZE };
	q.nr_ram = 2;
}

/* A store by translated code, as the host's CPU sees it. */
static void store(uint64_t hpa)
{
	__atomic_store_n(host(hpa), 1, __ATOMIC_RELAXED);
}

static void expect_stores(unsigned int wanted)
{
	tdxq_watch_end(&q);
	KTAP_EXPECT_EQ(nr_stores, wanted);
}

static void store_is_caught_and_goes_on(void)
{
	power_on();
	tdxq_page_owned(&q, PAGE, 4096, true);
	store(PAGE + 5);
	KTAP_EXPECT_EQ(*host(PAGE + 5), 1);
	expect_stores(1);
	KTAP_EXPECT_EQ(stores[0].hpa, PAGE);
	KTAP_EXPECT_EQ(stores[0].lp, TDXM_NO_LP);
	KTAP_EXPECT(!gap[0]);
}

static void content_survives_the_search(void)
{
	power_on();
	memset(host(PAGE), 0x5a, 4096);
	tdxq_page_owned(&q, PAGE, 4096, true);
	for (size_t i = 0; i < 4096; i++)
		KTAP_EXPECT_EQ(host(PAGE)[i], 0x5a);
	expect_stores(0);
}

static void neighbours_are_free(void)
{
	power_on();
	tdxq_page_owned(&q, PAGE, 4096, true);
	store(PAGE - 1);
	store(PAGE + 4096);
	expect_stores(0);
}

static void each_page_is_told_once(void)
{
	power_on();
	tdxq_page_owned(&q, PAMT, PAMT_SIZE, true);
	store(PAMT);
	store(PAMT + 8);
	store(PAMT + PAMT_SIZE - 1);
	expect_stores(2);
	KTAP_EXPECT_EQ(stores[1].hpa, PAMT + PAMT_SIZE - 4096);
}

static void page_given_back_is_free(void)
{
	power_on();
	tdxq_page_owned(&q, PAGE, 4096, true);
	tdxq_page_owned(&q, PAGE, 4096, false);
	store(PAGE);
	expect_stores(0);
}

static void page_taken_again_is_watched_again(void)
{
	power_on();
	for (unsigned int i = 0; i < 3; i++) {
		tdxq_page_owned(&q, PAGE, 4096, true);
		store(PAGE);
		tdxq_page_owned(&q, PAGE, 4096, false);
	}
	expect_stores(3);
}

static void ranges_may_share_a_mapping_or_not(void)
{
	for (unsigned int apart = 0; apart < 2; apart++) {
		/* The first case leaves the watch with its mapping: another process. */
		if (!fork()) {
			power_on();
			if (apart)
				high = map(HIGH_SIZE);
			tdxq_page_owned(&q, HIGH + MIB, 4096, true);
			tdxq_page_owned(&q, PAGE, 4096, true);
			store(HIGH + MIB);
			store(PAGE);
			expect_stores(2);
			KTAP_EXPECT_EQ(stores[0].hpa, HIGH + MIB);
			KTAP_EXPECT_EQ(stores[1].hpa, PAGE);
			_exit((int)atomic_load(&ktap_failures));
		} else {
			int status;

			wait(&status);
			KTAP_EXPECT_EQ(status, 0);
		}
	}
}

static void the_modules_own_write_is_no_store(void)
{
	uint8_t buf[8192];

	power_on();
	memset(buf, 7, sizeof(buf));
	tdxq_page_owned(&q, PAGE, 4096, true);
	KTAP_EXPECT(tdxq_watched_write(&q, PAGE - 4000, buf, sizeof(buf)));
	KTAP_EXPECT(!memcmp(host(PAGE - 4000), buf, sizeof(buf)));
	expect_stores(0);
	store(PAGE);
	expect_stores(1);
}

static void too_many_are_not_silent(void)
{
	power_on();
	tdxq_page_owned(&q, PAGE, 4 * MIB, true);
	for (uint64_t hpa = PAGE; hpa < PAGE + 4 * MIB; hpa += 4096)
		store(hpa);
	tdxq_watch_end(&q);
	KTAP_EXPECT(nr_stores && nr_stores < 1024);
	KTAP_EXPECT(strstr(gap, "more host stores"));
}

static void no_room_for_mappings_is_not_silent(void)
{
	power_on();
	tdxq_page_owned(&q, PAMT, PAMT_SIZE, true);
	mprotect_left = 0;
	tdxq_page_owned(&q, PAGE, 4096, true);
	store(PAMT);
	store(PAGE);
	expect_stores(0);
	KTAP_EXPECT(strstr(gap, "not watched"));
}

static void ram_elsewhere_is_not_silent(void)
{
	power_on();
	/* Not at the offset that its address tells. */
	low += 4096;
	tdxq_page_owned(&q, PAGE, 4096, true);
	store(PAGE);
	expect_stores(0);
	KTAP_EXPECT(strstr(gap, "not watched"));
}

static void *store_all(void *arg)
{
	for (uint64_t hpa = PAGE; hpa < PAGE + 128 * 4096; hpa += 4096)
		store(hpa);
	return arg;
}

static void two_threads_tell_each_page_once(void)
{
	pthread_t thread;

	power_on();
	tdxq_page_owned(&q, PAGE, 128 * 4096, true);
	pthread_create(&thread, NULL, store_all, NULL);
	store_all(NULL);
	pthread_join(thread, NULL);
	expect_stores(128);
}

static void other_faults_still_kill(void)
{
	int status;

	power_on();
	tdxq_page_owned(&q, PAGE, 4096, true);
	if (!fork()) {
		uint8_t *readonly = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		fclose(stderr);
		__atomic_store_n(readonly, 1, __ATOMIC_RELAXED);
		_exit(0);
	}
	wait(&status);
	KTAP_EXPECT(status);
}

/* The function of the case that runs, in a process of its own. */
static void alone(void)
{
	static const struct ktap_case functions[] = {
		{ "store_is_caught_and_goes_on", store_is_caught_and_goes_on },
		{ "content_survives_the_search", content_survives_the_search },
		{ "neighbours_are_free", neighbours_are_free },
		{ "each_page_is_told_once", each_page_is_told_once },
		{ "page_given_back_is_free", page_given_back_is_free },
		{ "page_taken_again_is_watched_again", page_taken_again_is_watched_again },
		{ "ranges_may_share_a_mapping_or_not", ranges_may_share_a_mapping_or_not },
		{ "the_modules_own_write_is_no_store", the_modules_own_write_is_no_store },
		{ "too_many_are_not_silent", too_many_are_not_silent },
		{ "no_room_for_mappings_is_not_silent", no_room_for_mappings_is_not_silent },
		{ "ram_elsewhere_is_not_silent", ram_elsewhere_is_not_silent },
		{ "two_threads_tell_each_page_once", two_threads_tell_each_page_once },
		{ "other_faults_still_kill", other_faults_still_kill },
	};
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	for (size_t i = 0; !child && i < G_N_ELEMENTS(functions); i++) {
		if (strcmp(functions[i].name, ktap_case_name))
			continue;
		functions[i].run();
		fflush(stdout);
		_exit(!!atomic_load(&ktap_failures));
	}
	waitpid(child, &status, 0);
	KTAP_EXPECT_EQ(status, 0);
}

static const struct ktap_case cases[] = {
	{ "store_is_caught_and_goes_on", alone },
	{ "content_survives_the_search", alone },
	{ "neighbours_are_free", alone },
	{ "each_page_is_told_once", alone },
	{ "page_given_back_is_free", alone },
	{ "page_taken_again_is_watched_again", alone },
	{ "ranges_may_share_a_mapping_or_not", alone },
	{ "the_modules_own_write_is_no_store", alone },
	{ "too_many_are_not_silent", alone },
	{ "no_room_for_mappings_is_not_silent", alone },
	{ "ram_elsewhere_is_not_silent", alone },
	{ "two_threads_tell_each_page_once", alone },
	{ "other_faults_still_kill", alone },
};
KTAP_MAIN(cases)
