// SPDX-License-Identifier: GPL-2.0-only
/* Power on, and what Linux does at boot. */
#include "tests/fuzz/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static bool mem_read(void *opaque, uint64_t hpa, void *buf, size_t len)
{
	struct world *w = opaque;

	if (hpa >= WORLD_RAM || len > WORLD_RAM - hpa)
		return false;
	memcpy(buf, w->ram + hpa, len);
	return true;
}

static bool mem_write(void *opaque, uint64_t hpa, const void *buf, size_t len)
{
	struct world *w = opaque;

	if (hpa >= WORLD_RAM || len > WORLD_RAM - hpa)
		return false;
	w->writes++;
	memcpy(w->ram + hpa, buf, len);
	return true;
}

static void log_line(void *opaque, enum tdxm_log_level level, const char *line)
{
	struct world *w = opaque;

	(void)level;
	if (w->verbose)
		fprintf(stderr, "# model: %s\n", line);
}

/* Only calls let time pass, so that an input means the same each time. */
static uint64_t now_ns(void *opaque)
{
	struct world *w = opaque;

	return w->clock;
}

static uint64_t lp_state(void *opaque, unsigned int lp, enum tdxm_lp_state what)
{
	struct world *w = opaque;

	return w->lp_state[lp][what];
}

static void delay(void *opaque, uint64_t ns)
{
	struct world *w = opaque;

	w->clock += ns;
}

static void page_owned(void *opaque, uint64_t hpa, uint64_t len, bool owned)
{
	struct world *w = opaque;
	uint64_t end = hpa + len;

	/* Not the PAMTs: once bring-up seems to fail, Linux has them back. */
	for (; hpa < end && hpa < WORLD_PAMT; hpa += TDX_PAGE_SIZE) {
		bool *watched = &w->watched[hpa / TDX_PAGE_SIZE];

		w->nr_watched += owned - *watched;
		*watched = owned;
	}
}

static size_t backtrace(void *opaque, uint64_t *pc, size_t max)
{
	(void)opaque;
	(void)max;
	pc[0] = 0xffffffff81000000;
	return 1;
}

static void completed(void *opaque, const struct tdxm_event *event)
{
	struct world *w = opaque;

	w->injected = event->injected;
}

static const struct tdxm_ops world_ops = {
	.mem_read = mem_read,
	.mem_write = mem_write,
	.log = log_line,
	.now_ns = now_ns,
	.delay = delay,
	.lp_state = lp_state,
	.page_owned = page_owned,
	.backtrace = backtrace,
	.completed = completed,
};

void world_broken(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(stderr, "fuzz: ");
	vfprintf(stderr, fmt, args);
	fprintf(stderr, "\n");
	va_end(args);
	abort();
}

static void must(struct world *w, unsigned int lp, uint64_t leaf, uint64_t rcx, uint64_t rdx,
		 uint64_t r8)
{
	struct tdxm_regs regs = { .rax = leaf, .rcx = rcx, .rdx = rdx, .r8 = r8 };

	if (tdxm_seamcall(w->m, lp, lp + 1, &regs) != TDXM_DONE || regs.rax)
		world_broken("%s at boot: %s", tdxm_leaf_name(leaf), tdxm_status_name(regs.rax));
}

static void boot(struct world *w)
{
	static const struct tdx_tdmr_info tdmr = {
		.base = 0,
		.size = TDX_1G,
		.pamt = { { WORLD_PAMT, 0x1000 },
			  { WORLD_PAMT + 0x1000, 0x2000 },
			  { WORLD_PAMT + 0x3000, 0x400000 } },
		.reserved = { { 0, WORLD_LOW_HOLE }, { WORLD_PAMT, WORLD_RAM - WORLD_PAMT } },
	};
	uint64_t *array = world_at(w, WORLD_TDMRS);
	unsigned int i;

	array[0] = WORLD_TDMRS + 512;
	memcpy(world_at(w, array[0]), &tdmr, sizeof(tdmr));
	must(w, 0, TDH_SYS_INIT, 0, 0, 0);
	for (i = 0; i < WORLD_NR_LPS; i++)
		must(w, i, TDH_SYS_LP_INIT, 0, 0, 0);
	must(w, 0, TDH_SYS_CONFIG, WORLD_TDMRS, 1, WORLD_GLOBAL_HKID);
	for (i = 0; i < WORLD_NR_PACKAGES; i++)
		must(w, i, TDH_SYS_KEY_CONFIG, 0, 0, 0);
	for (i = 0; i < TDX_1G / TDX_TDMR_INIT_STEP; i++)
		must(w, 0, TDH_SYS_TDMR_INIT, 0, 0, 0);
}

struct world *world_power_on(const struct tdxm_platform *platform)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		abort();
	w->verbose = getenv("TDX_FUZZ_VERBOSE");
	w->ram = mmap(NULL, WORLD_RAM, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w->ram == MAP_FAILED)
		abort();
	w->m = tdxm_create(platform, &world_ops, w);
	if (!w->m) {
		world_free(w);
		return NULL;
	}
	return w;
}

struct world *world_new(void)
{
	struct tdxm_platform platform = {
		.nr_lps = WORLD_NR_LPS,
		.nr_packages = WORLD_NR_PACKAGES,
		.maxphyaddr = 52,
		.keyid_bits = 52 - WORLD_KEYID_SHIFT,
		.nr_mktme = WORLD_NR_MKTME,
		.nr_tdx_keyids = WORLD_NR_HKIDS,
		.native_cpuid_1_eax = 0xa06d1,
		.la57 = true,
		.tsc_khz = 1000000,
		.nr_cmrs = 1,
		.cmr = { { WORLD_LOW_HOLE, WORLD_RAM - WORLD_LOW_HOLE } },
	};
	struct world *w;
	unsigned int i;

	for (i = 0; i < WORLD_NR_LPS; i++)
		platform.lp_package[i] = i % WORLD_NR_PACKAGES;
	w = world_power_on(&platform);
	if (!w)
		abort();
	boot(w);
	return w;
}

void world_free(struct world *w)
{
	tdxm_destroy(w->m);
	munmap(w->ram, WORLD_RAM);
	free(w);
}
