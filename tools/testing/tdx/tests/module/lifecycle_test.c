// SPDX-License-Identifier: GPL-2.0-only
/* Whole lives of TDs, in the order in which KVM goes through them. */
#include "tests/module/machine.h"

#define GPA 0x1000ULL

static void td_life_leaves_no_page_ok(void)
{
	struct machine *machine = machine_new(2, 1);
	uint64_t added, augmented, hpa, gpa, first;
	struct test_td td;

	machine_boot(machine);
	first = machine->next_page;
	td = td_new(machine, 2, STAGE_SEPT);
	memset(machine_ram(machine, td.source), 0x5a, TDX_PAGE_SIZE);
	added = td_add_page(&td, GPA);
	KTAP_EXPECT(!memcmp(machine_ram(machine, added), machine_ram(machine, td.source),
			    TDX_PAGE_SIZE));
	for (gpa = GPA; gpa < 2 * GPA; gpa += 256)
		EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_MR_EXTEND, gpa, td.tdr, 0, 0);
	td_advance(&td, STAGE_RUNNABLE);
	EXPECT_CALL(TDX_EXIT_REASON_TDCALL, machine, 0, TDH_VP_ENTER, td.vcpu.tdvpr, 0, 0, 0);

	augmented = machine_page(machine);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_MEM_PAGE_AUG, 2 * GPA, td.tdr, augmented, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_MEM_RANGE_BLOCK, 2 * GPA, td.tdr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_MEM_TRACK, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_MEM_PAGE_REMOVE, 2 * GPA, td.tdr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_PHYMEM_PAGE_WBINVD, WITH_KEYID(augmented, td.hkid),
		    0, 0, 0);

	/* Pages that are still mapped go away by RECLAIM only, which KVM never has to do. */
	td_release_key(&td);
	machine_expect_rule(machine, SAN_KEYID_FREED_WITH_PAGES, 1);
	td_reclaim(&td, added);
	for (hpa = first; hpa < machine->next_page; hpa += TDX_PAGE_SIZE) {
		enum tdx_page_type type = machine_page_type(machine, hpa);

		if (type != PT_NDA && type != PT_TDR)
			td_reclaim(&td, hpa);
	}
	KTAP_EXPECT_EQ(td_model(&td)->chldcnt, 0);
	td_reclaim(&td, td.tdr);
	for (hpa = first; hpa < machine->next_page; hpa += TDX_PAGE_SIZE)
		KTAP_EXPECT_EQ(machine_page_type(machine, hpa), PT_NDA);
	machine_free(machine);
}

static void teardown_from_every_stage_ok(void)
{
	struct machine *machine = machine_new(4, 2);
	enum td_stage stage;

	machine_boot(machine);
	for (stage = STAGE_CREATED; stage <= STAGE_RUNNABLE; stage++) {
		struct test_td td = td_new(machine, 2, stage);

		td_free(&td);
	}
	machine_free(machine);
}

static void all_keyids_in_use_then_reused_ok(void)
{
	struct machine *machine = machine_new_booted();
	unsigned int round, i;

	for (round = 0; round < 2; round++) {
		struct test_td td[15];

		for (i = 0; i < ARRAY_LEN(td); i++)
			td[i] = td_new(machine, 2 + i, STAGE_SEPT);
		for (i = 0; i < ARRAY_LEN(td); i++)
			td_free(&td[i]);
	}
	machine_free(machine);
}

static void destroy_with_live_tds_frees_all_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_RUNNABLE);

	/* The leak checker judges. */
	KTAP_EXPECT(td.tdr);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "lifecycle.td_life_leaves_no_page_ok", td_life_leaves_no_page_ok },
	{ "lifecycle.teardown_from_every_stage_ok", teardown_from_every_stage_ok },
	{ "lifecycle.all_keyids_in_use_then_reused_ok", all_keyids_in_use_then_reused_ok },
	{ "lifecycle.destroy_with_live_tds_frees_all_ok", destroy_with_live_tds_frees_all_ok },
};

KTAP_MAIN(cases)
