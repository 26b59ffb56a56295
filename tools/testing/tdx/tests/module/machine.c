// SPDX-License-Identifier: GPL-2.0-only
/* The fake machine and the kernel's usual ways on it. */
#include "tests/module/machine.h"

#include <sys/mman.h>
#include <time.h>

#include "module/verify.h"

#include "tests/module/coverage.h"

static bool mem_read(void *opaque, uint64_t hpa, void *buf, size_t len)
{
	struct machine *machine = opaque;

	if (hpa >= MACHINE_RAM || len > MACHINE_RAM - hpa)
		return false;
	if (machine->on_read)
		machine->on_read(machine, hpa);
	memcpy(buf, machine->ram + hpa, len);
	return true;
}

static bool mem_write(void *opaque, uint64_t hpa, const void *buf, size_t len)
{
	struct machine *machine = opaque;

	if (hpa >= MACHINE_RAM || len > MACHINE_RAM - hpa)
		return false;
	memcpy(machine->ram + hpa, buf, len);
	return true;
}

static void log_line(void *opaque, enum tdxm_log_level level, const char *line)
{
	(void)opaque;
	/* Guest errors are what most cases are about; the model's own words are not. */
	if (level != TDXM_LOG_GUEST_ERROR && getenv("TDXM_TEST_VERBOSE"))
		printf("# model: %s\n", line);
}

static uint64_t now_ns(void *opaque)
{
	struct timespec now;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static uint64_t lp_state(void *opaque, unsigned int lp, enum tdxm_lp_state what)
{
	const struct machine *machine = opaque;

	return machine->lp_state[lp][what];
}

static void completed(void *opaque, const struct tdxm_event *event)
{
	(void)opaque;
	coverage_add(event);
}

static void page_owned(void *opaque, uint64_t hpa, uint64_t len, bool owned)
{
	struct machine *machine = opaque;

	memset(machine->watched + hpa / TDX_PAGE_SIZE, owned, len / TDX_PAGE_SIZE);
}

static size_t backtrace(void *opaque, uint64_t *pc, size_t max)
{
	const struct machine *machine = opaque;
	size_t count = machine->nr_backtrace < max ? machine->nr_backtrace : max;
	const struct timespec slow = { .tv_nsec = 1000000 };

	/* As in a guest: another LP may find the same meanwhile. */
	nanosleep(&slow, NULL);
	memcpy(pc, machine->backtrace, count * sizeof(*pc));
	return count;
}

static const struct tdxm_ops machine_ops = {
	.mem_read = mem_read,
	.mem_write = mem_write,
	.log = log_line,
	.now_ns = now_ns,
	.lp_state = lp_state,
	.completed = completed,
	.page_owned = page_owned,
	.backtrace = backtrace,
};

struct tdxm_platform machine_platform(unsigned int nr_lps, unsigned int nr_packages)
{
	struct tdxm_platform platform = {
		.nr_lps = nr_lps,
		.nr_packages = nr_packages,
		.maxphyaddr = 52,
		.keyid_bits = 52 - MACHINE_KEYID_SHIFT,
		.nr_mktme = 0,
		.nr_tdx_keyids = MACHINE_NR_HKIDS,
		.native_cpuid_1_eax = MACHINE_NATIVE_CPUID_1_EAX,
		.la57 = true,
		.tsc_khz = 1000000,
		.nr_cmrs = 1,
		.cmr = { { MACHINE_LOW_HOLE, MACHINE_RAM - MACHINE_LOW_HOLE } },
	};
	unsigned int i;

	for (i = 0; i < nr_lps; i++)
		platform.lp_package[i] = i % nr_packages;
	return platform;
}

struct machine *machine_new_on(const struct tdxm_platform *platform)
{
	struct machine *machine = calloc(1, sizeof(*machine));

	machine->ram = mmap(NULL, MACHINE_RAM, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (machine->ram == MAP_FAILED)
		abort();
	machine->watched = calloc(1, MACHINE_RAM / TDX_PAGE_SIZE);
	if (!machine->watched)
		abort();
	machine->next_page = MACHINE_FIRST_PAGE;
	machine->platform = *platform;
	machine->m = tdxm_create(&machine->platform, &machine_ops, machine);
	if (!machine->m)
		abort();
	return machine;
}

struct machine *machine_new(unsigned int nr_lps, unsigned int nr_packages)
{
	struct tdxm_platform platform = machine_platform(nr_lps, nr_packages);

	return machine_new_on(&platform);
}

uint64_t machine_page(struct machine *machine)
{
	uint64_t hpa = machine->next_page;

	machine->next_page += TDX_PAGE_SIZE;
	return hpa;
}

uint64_t machine_page_2m(struct machine *machine)
{
	uint64_t hpa = (machine->next_page + TDX_2M - 1) & ~(TDX_2M - 1);

	machine->next_page = hpa + TDX_2M;
	return hpa;
}

void *machine_ram(struct machine *machine, uint64_t hpa)
{
	return machine->ram + hpa;
}

struct tdx_tdmr_info machine_tdmr(void)
{
	return (struct tdx_tdmr_info) {
		.base = 0,
		.size = TDX_1G,
		.pamt = { { MACHINE_PAMT, 0x1000 },
			  { MACHINE_PAMT + 0x1000, 0x2000 },
			  { MACHINE_PAMT + 0x3000, 0x400000 } },
		.reserved = { { 0, MACHINE_LOW_HOLE },
			      { MACHINE_PAMT, MACHINE_RAM - MACHINE_PAMT } },
	};
}

uint64_t machine_put_tdmrs(struct machine *machine, const struct tdx_tdmr_info *tdmrs,
			   unsigned int count)
{
	uint64_t array = machine_page(machine);
	uint64_t *pa = machine_ram(machine, array);
	unsigned int i;

	for (i = 0; i < count; i++) {
		pa[i] = machine_page(machine);
		memcpy(machine_ram(machine, pa[i]), &tdmrs[i], sizeof(tdmrs[i]));
	}
	return array;
}

void machine_init_lps(struct machine *machine)
{
	unsigned int i;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_INIT, 0, 0, 0, 0);
	for (i = 0; i < machine->platform.nr_lps; i++)
		EXPECT_CALL(TDX_SUCCESS, machine, i, TDH_SYS_LP_INIT, 0, 0, 0, 0);
}

void machine_boot(struct machine *machine)
{
	struct tdx_tdmr_info tdmr = machine_tdmr();
	uint64_t array = machine_put_tdmrs(machine, &tdmr, 1);
	unsigned int i;

	machine_init_lps(machine);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_CONFIG, array, 1, MACHINE_GLOBAL_HKID, 0);
	for (i = 0; i < machine->platform.nr_packages; i++)
		EXPECT_CALL(TDX_SUCCESS, machine, i, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	for (i = 0; i < TDX_1G / TDX_TDMR_INIT_STEP; i++)
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_TDMR_INIT, 0, 0, 0, 0);
}

struct machine *machine_new_booted(void)
{
	struct machine *machine = machine_new(2, 1);

	machine_boot(machine);
	return machine;
}

static void count_finding(void *arg, const struct tdxm_finding *finding)
{
	struct machine_findings *findings = arg;

	if (finding->kind == TDXM_FINDING_SANITIZER)
		findings->sanitizer++;
	else
		findings->unimplemented++;
}

struct machine_findings machine_findings(struct machine *machine)
{
	struct machine_findings findings = { 0 };

	tdxm_for_each_finding(machine->m, count_finding, &findings);
	return findings;
}

void machine_forget_findings(struct machine *machine)
{
	tdxm_findings_clear(machine->m);
}

struct rule_count {
	const char *rule;
	unsigned int count, other;
};

static void count_rule(void *arg, const struct tdxm_finding *finding)
{
	struct rule_count *wanted = arg;
	bool same = finding->kind == TDXM_FINDING_SANITIZER && !strcmp(finding->rule, wanted->rule);

	if (same)
		wanted->count++;
	else
		wanted->other++;
}

static void print_finding(void *arg, const struct tdxm_finding *finding)
{
	(void)arg;
	printf("# unexpected finding: %s: %s\n", finding->rule, finding->text);
}

void machine_expect_rule(struct machine *machine, enum tdxm_san_rule rule, unsigned int count)
{
	struct rule_count found = { .rule = tdxm_san_table[rule].id };

	tdxm_for_each_finding(machine->m, count_rule, &found);
	if (!KTAP_EXPECT(found.count == count && !found.other)) {
		printf("#   want %u times %s\n", count, found.rule);
		tdxm_for_each_finding(machine->m, print_finding, NULL);
	}
	machine_forget_findings(machine);
}

/* Owned pages, and those that have to be written back first, and no other. */
static bool watches_the_right_pages(struct machine *machine)
{
	uint64_t hpa;

	for (hpa = MACHINE_FIRST_PAGE; hpa < machine->next_page; hpa += TDX_PAGE_SIZE) {
		struct tdxm_pamt_entry *entry = tdxm_pamt_find(machine->m, hpa);
		bool watch = entry && (tdxm_pamt_td_owned(machine->m, hpa) || entry->stale_hkid);

		if (machine->watched[hpa / TDX_PAGE_SIZE] == watch)
			continue;
		printf("# page 0x%" PRIx64 " is %swatched\n", hpa, watch ? "not " : "");
		return false;
	}
	return true;
}

void machine_free(struct machine *machine)
{
	struct machine_findings findings = machine_findings(machine);
	char why[256];

	if (!KTAP_EXPECT(!findings.sanitizer && !findings.unimplemented))
		tdxm_for_each_finding(machine->m, print_finding, NULL);
	if (!machine->unbalanced && !KTAP_EXPECT(tdxm_verify(machine->m, why, sizeof(why))))
		printf("# inconsistent: %s\n", why);
	KTAP_EXPECT(machine->unbalanced || watches_the_right_pages(machine));
	tdxm_destroy(machine->m);
	munmap(machine->ram, MACHINE_RAM);
	free(machine->watched);
	free(machine);
}

struct tdxm_regs machine_call(struct machine *machine, unsigned int lp, uint64_t leaf, uint64_t rcx,
			      uint64_t rdx, uint64_t r8, uint64_t r9)
{
	struct tdxm_regs regs = { .rax = leaf, .rcx = rcx, .rdx = rdx, .r8 = r8, .r9 = r9 };

	if (tdxm_seamcall(machine->m, lp, lp + 1, &regs) != TDXM_DONE)
		abort();
	return regs;
}

enum tdx_page_type machine_page_type(struct machine *machine, uint64_t hpa)
{
	return machine_call(machine, 0, TDH_PHYMEM_PAGE_RDMD, hpa, 0, 0, 0).rcx;
}

bool machine_expect_status(uint64_t got, uint64_t want, const char *file, int line,
			   const char *what)
{
	if (got == want)
		return true;
	printf("# %s:%d: %s\n#   want %s (0x%" PRIx64 ")\n#   got  %s (0x%" PRIx64 ")\n", file,
	       line, what, tdxm_status_name(want), want, tdxm_status_name(got), got);
	atomic_fetch_add(&ktap_failures, 1);
	return false;
}
