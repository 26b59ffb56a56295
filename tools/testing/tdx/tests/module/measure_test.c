// SPDX-License-Identifier: GPL-2.0-only
/* MRTD against vectors that were computed from the layout of its stream. */
#include "tests/module/machine.h"

static void measured_page(struct test_td *td, uint64_t gpa)
{
	uint64_t offset;

	td_add_page(td, gpa);
	for (offset = 0; offset < TDX_PAGE_SIZE; offset += 256)
		EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MR_EXTEND, gpa + offset, td->tdr, 0,
			    0);
}

/* The digest in hexadecimal, in two parts. */
static void expect_mrtd(struct test_td *td, const char *want, const char *rest)
{
	uint8_t mrtd[SHA384_DIGEST_SIZE];
	char got[2 * SHA384_DIGEST_SIZE + 1];
	unsigned int i;

	td_advance(td, STAGE_RUNNABLE);
	for (i = 0; i < SHA384_DIGEST_SIZE / 8; i++) {
		struct tdxm_regs regs = EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MNG_RD,
						    td->tdr, 0x1310000300000000 + i, 0, 0);

		memcpy(mrtd + 8 * i, &regs.r8, 8);
	}
	for (i = 0; i < SHA384_DIGEST_SIZE; i++)
		sprintf(got + 2 * i, "%02x", mrtd[i]);
	if (!KTAP_EXPECT(!strncmp(got, want, strlen(want)) && !strcmp(got + strlen(want), rest)))
		printf("#   got %s\n", got);
}

/* Page tables for a second 2M range; the helper has those of the first. */
static void add_page_table(struct test_td *td, uint64_t gpa, unsigned int level)
{
	EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MEM_SEPT_ADD,
		    (gpa & ~(TDX_LEVEL_SIZE(level) - 1)) | level, td->tdr,
		    machine_page(td->machine), 0);
}

static void nothing_added_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);

	expect_mrtd(&td, "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da",
		    "274edebfe76f65fbd51ad2f14898b95b");
	machine_free(machine);
}

static void page_without_content_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);

	memset(machine_ram(machine, td.source), 0xff, TDX_PAGE_SIZE);
	td_add_page(&td, 0);
	expect_mrtd(&td, "8f3e9a8aca6784eab874f7aa4dda5d49104a88047f1f86695ef2a88f5691a90e",
		    "34aac48ce45ffa1f5a23c7d62980d570");
	machine_free(machine);
}

static void zero_page_measured_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);

	measured_page(&td, 0x1000);
	expect_mrtd(&td, "ca76d5541328afef8bc9364261c515aebef90412ebc56ca0c2260ec531a14462",
		    "cfc0c11de61d84292ddf8ca871da1ff1");
	machine_free(machine);
}

static void pattern_page_then_bare_page_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint8_t *source = machine_ram(machine, td.source);
	uint64_t gpa = 0xfffff000;
	unsigned int i;

	for (i = 0; i < TDX_PAGE_SIZE; i++)
		source[i] = i;
	add_page_table(&td, gpa, 2);
	add_page_table(&td, gpa, 1);
	measured_page(&td, gpa);
	td_add_page(&td, 0);
	expect_mrtd(&td, "b21112db51802421c29d51a7e93599280bdbee4cbd734a51908c8267ba0276f4",
		    "a3172d2fc3efcf0569367eb47171f8cb");
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "measure.nothing_added_ok", nothing_added_ok },
	{ "measure.page_without_content_ok", page_without_content_ok },
	{ "measure.zero_page_measured_ok", zero_page_measured_ok },
	{ "measure.pattern_page_then_bare_page_ok", pattern_page_then_bare_page_ok },
};

KTAP_MAIN(cases)
