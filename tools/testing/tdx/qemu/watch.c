// SPDX-License-Identifier: GPL-2.0-only
/* Host stores to pages that are not the host's: found by the host's MMU. */
#include "qemu/watch.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "qemu/backtrace.h"
#include "qemu/host_ram.h"
#include "qemu/tdxq.h"

#define MAX_HITS 256

/* A store that was caught. */
struct hit {
	uint64_t hpa;
	int lp;
	size_t nr_pc;
	uint64_t pc[TDXM_MAX_BACKTRACE];
};

/* A range of RAM in this process; base is NULL until it is found. */
struct mapping {
	uint8_t *base;
	uint8_t *watched; /* per page */
};

/*
 * What the signal handler works on; it has no argument to find this by. Mutexes
 * that TSan knows, unlike those of GLib.
 * @search_lock: taken by who finds a range
 * @lock:	protects what follows. The handler takes it, so nothing that can store
 *		to guest RAM may happen under it
 * @blind:	why pages are not watched any more
 */
static struct {
	struct tdxq *q;
	struct sigaction former;
	pthread_mutex_t search_lock;
	pthread_mutex_t lock;
	struct mapping ram[TDXQ_MAX_RAM_RANGES];
	struct hit hits[MAX_HITS];
	gint nr_hits;
	unsigned int nr_missed;
	const char *blind;
} watch = { .search_lock = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t nr_pages(const struct tdxm_cmr *ram)
{
	return ram->size / TDXQ_PAGE_SIZE;
}

/* All of RAM is written freely again: better blind, and said so, than stuck. */
static void give_up(const char *why)
{
	g_atomic_pointer_set(&watch.blind, why);
	for (unsigned int i = 0; watch.q && i < watch.q->nr_ram; i++) {
		struct mapping *map = &watch.ram[i];

		if (!map->base)
			continue;
		memset(map->watched, 0, nr_pages(&watch.q->ram[i]));
		if (mprotect(map->base, watch.q->ram[i].size, PROT_READ | PROT_WRITE))
			abort();
	}
}

/* A run of pages gets one call, as each piece of a mapping counts. */
static void protect(struct mapping *map, uint64_t first, uint64_t n, bool owned)
{
	memset(map->watched + first, owned, n);
	if (mprotect(map->base + first * TDXQ_PAGE_SIZE, n * TDXQ_PAGE_SIZE,
		     owned ? PROT_READ : PROT_READ | PROT_WRITE))
		give_up("the host has no room for more mappings, see vm.max_map_count");
}

static void note_hit(uint64_t hpa, const struct hit *hit)
{
	if (watch.nr_hits == MAX_HITS) {
		watch.nr_missed++;
		return;
	}
	watch.hits[watch.nr_hits] = *hit;
	watch.hits[watch.nr_hits].hpa = hpa;
	g_atomic_int_inc(&watch.nr_hits);
}

static bool find_page(uint64_t addr, unsigned int *range, uint64_t *page)
{
	for (unsigned int i = 0; i < watch.q->nr_ram; i++) {
		uint64_t base = (uintptr_t)watch.ram[i].base;

		if (base && addr >= base && addr - base < watch.q->ram[i].size) {
			*range = i;
			*page = (addr - base) / TDXQ_PAGE_SIZE;
			return true;
		}
	}
	return false;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
	if (watch.former.sa_flags & SA_SIGINFO) {
		watch.former.sa_sigaction(number, info, context);
	} else if (watch.former.sa_handler != SIG_DFL && watch.former.sa_handler != SIG_IGN) {
		watch.former.sa_handler(number);
	} else {
		/* The instruction faults again, this time for good. */
		sigaction(number, &watch.former, NULL);
	}
}

/*
 * The store is synchronous: the thread is in translated code, or in code of
 * QEMU that copies to guest RAM, hence neither in malloc() nor under our lock.
 * A page that is not watched any more was opened by another thread meanwhile.
 */
static void on_fault(int number, siginfo_t *info, void *context)
{
	unsigned int range;
	struct hit hit;
	uint64_t page;

	if (info->si_code != SEGV_ACCERR || !find_page((uintptr_t)info->si_addr, &range, &page)) {
		pass_on(number, info, context);
		return;
	}
	hit.lp = tdxq_this_lp();
	hit.nr_pc = tdxq_backtrace_at_access(watch.q, hit.pc, G_N_ELEMENTS(hit.pc));
	pthread_mutex_lock(&watch.lock);
	if (watch.ram[range].watched[page]) {
		note_hit(watch.q->ram[range].base + page * TDXQ_PAGE_SIZE, &hit);
		protect(&watch.ram[range], page, 1, false);
	}
	pthread_mutex_unlock(&watch.lock);
}

static void install_handler(struct tdxq *q)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	if (watch.q)
		return;
	watch.q = q;
	sigemptyset(&action.sa_mask);
	sigaction(SIGSEGV, &action, &watch.former);
}

/*
 * On the first page of a range that the module gets, by SYS.CONFIG or by one
 * LP at a time later on. Not under the lock, as this stores to RAM.
 */
static bool find_mapping(struct tdxq *q, unsigned int range, uint64_t hpa)
{
	const struct tdxm_cmr *ram = &q->ram[range];
	struct mapping *map = &watch.ram[range];
	uint64_t addr;

	if (g_atomic_pointer_get(&map->base) || g_atomic_pointer_get(&watch.blind))
		return map->base;
	pthread_mutex_lock(&watch.search_lock);
	addr = map->base ? 0 : tdxq_host_address(q, hpa);
	if (addr > hpa - ram->base) {
		install_handler(q);
		map->watched = g_malloc0(nr_pages(ram));
		g_atomic_pointer_set(&map->base, (uint8_t *)(uintptr_t)(addr - (hpa - ram->base)));
	} else if (!map->base) {
		pthread_mutex_lock(&watch.lock);
		give_up("QEMU has guest RAM in an unknown place");
		pthread_mutex_unlock(&watch.lock);
	}
	pthread_mutex_unlock(&watch.search_lock);
	return map->base;
}

static int range_of(const struct tdxq *q, uint64_t hpa, uint64_t len)
{
	for (unsigned int i = 0; i < q->nr_ram; i++) {
		const struct tdxm_cmr *ram = &q->ram[i];

		if (hpa >= ram->base && hpa - ram->base < ram->size &&
		    len <= ram->size - (hpa - ram->base))
			return (int)i;
	}
	return -1;
}

void tdxq_page_owned(void *opaque, uint64_t hpa, uint64_t len, bool owned)
{
	struct tdxq *q = opaque;
	int range = range_of(q, hpa, len);

	if (range < 0 || !find_mapping(q, (unsigned int)range, hpa))
		return;
	pthread_mutex_lock(&watch.lock);
	if (!watch.blind)
		protect(&watch.ram[range], (hpa - q->ram[range].base) / TDXQ_PAGE_SIZE,
			len / TDXQ_PAGE_SIZE, owned);
	pthread_mutex_unlock(&watch.lock);
}

static bool is_watched(const struct tdxq *q, uint64_t hpa)
{
	int range = range_of(q, hpa, 1);
	struct mapping *map = &watch.ram[range < 0 ? 0 : range];
	bool watched;

	if (range < 0 || !g_atomic_pointer_get(&map->base))
		return false;
	pthread_mutex_lock(&watch.lock);
	watched = map->watched[(hpa - q->ram[range].base) / TDXQ_PAGE_SIZE];
	pthread_mutex_unlock(&watch.lock);
	return watched;
}

/* What lies in one page. */
static bool write_part(struct tdxq *q, uint64_t hpa, const uint8_t *buf, size_t len)
{
	bool watched = is_watched(q, hpa), ok;

	if (watched)
		tdxq_page_owned(q, hpa & ~TDXQ_PAGE_OFFSET, TDXQ_PAGE_SIZE, false);
	ok = tdxq_cpu_ops.phys_write(q, hpa, buf, len);
	if (watched)
		tdxq_page_owned(q, hpa & ~TDXQ_PAGE_OFFSET, TDXQ_PAGE_SIZE, true);
	return ok;
}

bool tdxq_watched_write(struct tdxq *q, uint64_t hpa, const void *buf, size_t len)
{
	const uint8_t *from = buf;

	while (len) {
		size_t part = MIN(len, TDXQ_PAGE_SIZE - (hpa & TDXQ_PAGE_OFFSET));

		if (!write_part(q, hpa, from, part))
			return false;
		hpa += part;
		from += part;
		len -= part;
	}
	return true;
}

/* Takes the oldest; false when there is none. */
static bool next_hit(struct hit *hit)
{
	bool any;

	pthread_mutex_lock(&watch.lock);
	any = watch.nr_hits;
	if (any) {
		*hit = watch.hits[0];
		g_atomic_int_add(&watch.nr_hits, -1);
		memmove(&watch.hits[0], &watch.hits[1], (size_t)watch.nr_hits * sizeof(*hit));
	}
	pthread_mutex_unlock(&watch.lock);
	return any;
}

void tdxq_watch_drain(struct tdxq *q)
{
	struct hit hit;

	if (!g_atomic_int_get(&watch.nr_hits))
		return;
	while (next_hit(&hit))
		tdxm_host_store(q->module, hit.lp, hit.hpa, hit.pc, hit.nr_pc);
}

void tdxq_watch_end(struct tdxq *q)
{
	tdxq_watch_drain(q);
	if (watch.blind)
		tdxq_gapf(q, "host stores are not watched: %s", watch.blind);
	if (watch.nr_missed)
		tdxq_gapf(q, "%u more host stores are not reported", watch.nr_missed);
}
