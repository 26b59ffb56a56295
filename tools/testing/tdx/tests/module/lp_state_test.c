// SPDX-License-Identifier: GPL-2.0-only
/*
 * Leaves that look at the LP itself: entropy, pending interrupts, TSC_ADJUST, the
 * CPUID limit, its package.
 */
#include "tests/module/scene.h"

#define TSC_ADJUST_DIFFERS (TDX_INCONSISTENT_MSR + 0x3b)

static uint64_t config_one_tdmr(struct machine *machine)
{
	struct tdx_tdmr_info tdmr = machine_tdmr();
	uint64_t array = machine_put_tdmrs(machine, &tdmr, 1);

	return machine_call(machine, 0, TDH_SYS_CONFIG, array, 1, MACHINE_GLOBAL_HKID, 0).rax;
}

static void bring_up_without_entropy_fails_until_there_is_some(void)
{
	struct machine *machine = machine_new(2, 1);
	uint64_t *no_entropy = &machine->lp_state[0][TDXM_LP_NO_ENTROPY];

	*no_entropy = 1;
	EXPECT_CALL(TDX_RND_NO_ENTROPY, machine, 0, TDH_SYS_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_SYS_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_RND_NO_ENTROPY, machine, 0, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	/* An LP that is done does not need any. */
	machine->lp_state[1][TDXM_LP_NO_ENTROPY] = 1;
	EXPECT_CALL(TDX_SYS_LP_INIT_DONE, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	*no_entropy = 0;
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	*no_entropy = 1;
	EXPECT_STATUS(TDX_SUCCESS, config_one_tdmr(machine));
	EXPECT_CALL(TDX_KEY_GENERATION_FAILED, machine, 0, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	*no_entropy = 0;
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	machine_free(machine);
}

/* Refused once for lack of entropy, then the same call works. */
static void starve(struct scene *scene, const struct scene_row *row, uint64_t want)
{
	scene->machine->lp_state[0][TDXM_LP_NO_ENTROPY] = 1;
	EXPECT_STATUS(want, scene_call(scene, row).rax);
	scene->machine->lp_state[0][TDXM_LP_NO_ENTROPY] = 0;
	EXPECT_STATUS(TDX_SUCCESS, scene_call(scene, row).rax);
}

static void create_and_key_config_without_entropy_fail(void)
{
	static const char *const name[] = { "mng_create", "mng_key_config" };
	static const uint64_t want[] = { TDX_RND_NO_ENTROPY, TDX_KEY_GENERATION_FAILED };
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(name); i++) {
		struct scene scene = scene_new(scene_row(name[i]));

		starve(&scene, scene_row(name[i]), want[i]);
		machine_free(scene.machine);
	}
}

static void only_sixth_addcx_needs_entropy(void)
{
	const struct scene_row *row = scene_row("mng_addcx");
	struct scene scene = scene_new(row);
	unsigned int i;

	scene.machine->lp_state[0][TDXM_LP_NO_ENTROPY] = 1;
	for (i = 0; i < 5; i++) {
		EXPECT_STATUS(TDX_SUCCESS, scene_call(&scene, row).rax);
		scene.rcx = machine_page(scene.machine);
	}
	starve(&scene, row, TDX_RND_NO_ENTROPY);
	scene.machine->lp_state[0][TDXM_LP_NO_ENTROPY] = 1;
	scene.rcx = machine_page(scene.machine);
	EXPECT_STATUS(TDX_SUCCESS, scene_call(&scene, row).rax);
	machine_free(scene.machine);
}

static void tsc_adjust_of_an_lp_that_differs_fails(void)
{
	struct machine *machine = machine_new(2, 1);

	/* Any value is fine, as long as all LPs have it. */
	machine->lp_state[0][TDXM_LP_TSC_ADJUST] = -5ULL;
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TSC_ADJUST_DIFFERS, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	machine->lp_state[1][TDXM_LP_TSC_ADJUST] = -5ULL;
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	machine_free(machine);
}

static void tsc_adjust_that_changed_fails(void)
{
	static const char *const name[] = { "mng_init", "vp_init_v0", "vp_init_v1", "vp_enter" };
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(name); i++) {
		const struct scene_row *row = scene_row(name[i]);
		struct scene scene = scene_new(row);
		uint64_t *adjust = &scene.machine->lp_state[0][TDXM_LP_TSC_ADJUST];

		*adjust = 1;
		EXPECT_STATUS(TSC_ADJUST_DIFFERS, scene_call(&scene, row).rax);
		*adjust = 0;
		KTAP_EXPECT(!tdx_status_code(scene_call(&scene, row).rax));
		machine_free(scene.machine);
	}
}

static void vp_init_looks_at_tsc_adjust_before_anything_else(void)
{
	const struct scene_row *row = scene_row("vp_init_v1");
	struct scene scene = scene_new(row);

	scene.rcx |= 1;
	scene.machine->lp_state[0][TDXM_LP_TSC_ADJUST] = 1;
	EXPECT_CALL(TSC_ADJUST_DIFFERS, scene.machine, 0, TDH_VP_INIT | 2 * SCENE_V1, scene.rcx, 0,
		    0, 0);
	/* The version comes next. */
	scene.machine->lp_state[0][TDXM_LP_TSC_ADJUST] = 0;
	EXPECT_CALL(TDX_OPERAND_INVALID + OP_RAX, scene.machine, 0, TDH_VP_INIT | 2 * SCENE_V1,
		    scene.rcx, 0, 0, 0);
	EXPECT_STATUS(TDX_OPERAND_INVALID + OP_RCX, scene_call(&scene, row).rax);
	machine_free(scene.machine);
}

static void vp_enter_that_fails_late_keeps_the_association(void)
{
	const struct scene_row *row = scene_row("vp_enter");
	struct scene scene = scene_new(row);

	EXPECT_CALL(TDX_SUCCESS, scene.machine, 0, TDH_VP_FLUSH, scene.rcx, 0, 0, 0);
	scene.machine->lp_state[1][TDXM_LP_TSC_ADJUST] = 1;
	EXPECT_CALL(TSC_ADJUST_DIFFERS, scene.machine, 1, TDH_VP_ENTER, scene.rcx, 0, 0, 0);
	EXPECT_STATUS(TDX_VCPU_ASSOCIATED, scene_call(&scene, row).rax);
	machine_forget_findings(scene.machine);
	EXPECT_CALL(TDX_SUCCESS, scene.machine, 1, TDH_VP_FLUSH, scene.rcx, 0, 0, 0);
	machine_free(scene.machine);
}

static void cpuid_limit_fails(void)
{
	const struct scene_row *init = scene_row("mng_init"), *enter = scene_row("vp_enter");
	struct scene scene = scene_new(init);

	scene.machine->lp_state[0][TDXM_LP_LIMIT_CPUID] = 1;
	EXPECT_STATUS(TDX_LIMIT_CPUID_MAXVAL_SET, scene_call(&scene, init).rax);
	/* Only behind the checks on the operand itself. */
	scene.rdx |= 8;
	EXPECT_STATUS(TDX_OPERAND_INVALID + OP_RDX, scene_call(&scene, init).rax);
	machine_free(scene.machine);

	scene = scene_new(enter);
	scene.machine->lp_state[0][TDXM_LP_LIMIT_CPUID] = 1;
	scene.rcx |= 1;
	EXPECT_STATUS(TDX_LIMIT_CPUID_MAXVAL_SET, scene_call(&scene, enter).rax);
	machine_free(scene.machine);
}

static void package_without_room_fails(void)
{
	struct tdxm_platform platform = machine_platform(2, 1);
	struct machine *machine;

	platform.lp_package[1] = 8;
	machine = machine_new_on(&platform);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_INVALID_PKG_ID + 8, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	EXPECT_STATUS(TDX_SYS_CONFIG_NOT_PENDING, config_one_tdmr(machine));
	machine_free(machine);
}

static void too_many_keyids_fail(void)
{
	struct tdxm_platform platform = machine_platform(1, 1);
	struct machine *machine;

	platform.nr_mktme = 2000;
	platform.nr_tdx_keyids = 48;
	machine = machine_new_on(&platform);
	EXPECT_CALL(0xc000082500000800, machine, 0, TDH_SYS_INIT, 0, 0, 0, 0);
	machine_free(machine);
}

/* A TD whose KeyID has to be written back by both packages. */
static struct test_td flushed_td(struct machine *machine, uint64_t hkid)
{
	struct test_td td = td_new(machine, hkid, STAGE_KEYED);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr, 0, 0, 0);
	return td;
}

static void write_back_resumes_where_it_was_interrupted(void)
{
	struct machine *machine = machine_new(2, 2);
	struct test_td td;
	unsigned int calls;

	machine_boot(machine);
	td = flushed_td(machine, 2);
	machine->lp_state[0][TDXM_LP_INTERRUPTED] = 1;
	EXPECT_CALL(TDX_INTERRUPTED_RESUMABLE, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	/* The other package is not concerned. */
	EXPECT_CALL(TDX_WBCACHE_RESUME_ERROR, machine, 1, TDH_PHYMEM_CACHE_WB, 1, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	EXPECT_CALL(TDX_WBCACHE_NOT_COMPLETE, machine, 0, TDH_MNG_KEY_FREEID, td.tdr, 0, 0, 0);
	machine_forget_findings(machine);

	/* Interrupted every time, it still ends within Linux's ten calls. */
	for (calls = 1; calls < 10; calls++) {
		if (!machine_call(machine, 0, TDH_PHYMEM_CACHE_WB, 1, 0, 0, 0).rax)
			break;
	}
	KTAP_EXPECT(calls > 1 && calls < 10);
	EXPECT_CALL(TDX_WBCACHE_RESUME_ERROR, machine, 0, TDH_PHYMEM_CACHE_WB, 1, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_KEY_FREEID, td.tdr, 0, 0, 0);
	machine_free(machine);
}

static void write_back_covers_what_was_flushed_at_its_start(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td early = flushed_td(machine, 2), late;

	machine->lp_state[0][TDXM_LP_INTERRUPTED] = 1;
	EXPECT_CALL(TDX_INTERRUPTED_RESUMABLE, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	late = flushed_td(machine, 3);
	machine->lp_state[0][TDXM_LP_INTERRUPTED] = 0;
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_CACHE_WB, 1, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_KEY_FREEID, early.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_WBCACHE_NOT_COMPLETE, machine, 0, TDH_MNG_KEY_FREEID, late.tdr, 0, 0, 0);
	machine_forget_findings(machine);

	/* A new start forgets an interrupted one, and covers all. */
	machine->lp_state[0][TDXM_LP_INTERRUPTED] = 1;
	EXPECT_CALL(TDX_INTERRUPTED_RESUMABLE, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	machine->lp_state[0][TDXM_LP_INTERRUPTED] = 0;
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	EXPECT_CALL(TDX_WBCACHE_RESUME_ERROR, machine, 0, TDH_PHYMEM_CACHE_WB, 1, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_KEY_FREEID, late.tdr, 0, 0, 0);
	machine_free(machine);
}

/* Resumes of a write-back that is interrupted whenever it can be. */
static void interrupted_write_back_ends_with_its_keyid(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = flushed_td(machine, 2);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	machine->lp_state[0][TDXM_LP_INTERRUPTED] = 1;
	EXPECT_CALL(TDX_INTERRUPTED_RESUMABLE, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_KEY_FREEID, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_WBCACHE_RESUME_ERROR, machine, 0, TDH_PHYMEM_CACHE_WB, 1, 0, 0, 0);
	machine_free(machine);
}

static unsigned int resumes(struct machine *machine)
{
	unsigned int calls = 1;

	while (machine_call(machine, 0, TDH_PHYMEM_CACHE_WB, 1, 0, 0, 0).rax && calls < 10)
		calls++;
	return calls;
}

static void write_back_that_starts_again_forgets_the_former_one(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td first = flushed_td(machine, 2), second;
	unsigned int calls;

	machine->lp_state[0][TDXM_LP_INTERRUPTED] = 1;
	EXPECT_CALL(TDX_INTERRUPTED_RESUMABLE, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	calls = resumes(machine);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_KEY_FREEID, first.tdr, 0, 0, 0);

	/* From its first block, although a former one got beyond it, ... */
	second = flushed_td(machine, 3);
	EXPECT_CALL(TDX_INTERRUPTED_RESUMABLE, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	EXPECT_CALL(TDX_INTERRUPTED_RESUMABLE, machine, 0, TDH_PHYMEM_CACHE_WB, 1, 0, 0, 0);
	EXPECT_CALL(TDX_INTERRUPTED_RESUMABLE, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	/* ... and not for a KeyID of a former one, in use again since. */
	first = flushed_td(machine, 2);
	KTAP_EXPECT_EQ(resumes(machine), calls);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_KEY_FREEID, second.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_WBCACHE_NOT_COMPLETE, machine, 0, TDH_MNG_KEY_FREEID, first.tdr, 0, 0, 0);
	machine_forget_findings(machine);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "lp_state.bring_up_without_entropy_fails_until_there_is_some",
	  bring_up_without_entropy_fails_until_there_is_some },
	{ "lp_state.create_and_key_config_without_entropy_fail",
	  create_and_key_config_without_entropy_fail },
	{ "lp_state.only_sixth_addcx_needs_entropy", only_sixth_addcx_needs_entropy },
	{ "lp_state.tsc_adjust_of_an_lp_that_differs_fails",
	  tsc_adjust_of_an_lp_that_differs_fails },
	{ "lp_state.tsc_adjust_that_changed_fails", tsc_adjust_that_changed_fails },
	{ "lp_state.vp_init_looks_at_tsc_adjust_before_anything_else",
	  vp_init_looks_at_tsc_adjust_before_anything_else },
	{ "lp_state.vp_enter_that_fails_late_keeps_the_association",
	  vp_enter_that_fails_late_keeps_the_association },
	{ "lp_state.cpuid_limit_fails", cpuid_limit_fails },
	{ "lp_state.package_without_room_fails", package_without_room_fails },
	{ "lp_state.too_many_keyids_fail", too_many_keyids_fail },
	{ "lp_state.write_back_resumes_where_it_was_interrupted",
	  write_back_resumes_where_it_was_interrupted },
	{ "lp_state.write_back_covers_what_was_flushed_at_its_start",
	  write_back_covers_what_was_flushed_at_its_start },
	{ "lp_state.interrupted_write_back_ends_with_its_keyid",
	  interrupted_write_back_ends_with_its_keyid },
	{ "lp_state.write_back_that_starts_again_forgets_the_former_one",
	  write_back_that_starts_again_forgets_the_former_one },
};

KTAP_MAIN(cases)
