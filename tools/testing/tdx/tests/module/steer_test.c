// SPDX-License-Identifier: GPL-2.0-only
/* Rules: which calls they fit, and what they do to them. */
#include <errno.h>
#include <pthread.h>

#include "module/query.h"
#include "tests/module/machine.h"

#define GPA 0x1000ULL
#define SECOND 1000000000ULL
#define INJECTED 0x8000020000000092ULL
#define CONTEXT 0x1000

/* One TD with page tables, and a page to add. */
struct scene {
	struct machine *machine;
	struct test_td td;
	uint64_t page;
};

static struct scene scene_new(void)
{
	struct scene scene = { .machine = machine_new_booted() };

	scene.td = td_new(scene.machine, 2, STAGE_SEPT);
	scene.page = machine_page(scene.machine);
	return scene;
}

static struct tdxm_rule on_add(enum tdxm_rule_action action)
{
	return (struct tdxm_rule) {
		.action = action,
		.leaf = TDH_MEM_PAGE_ADD,
		.first = 1,
		.count = 1,
		.status = INJECTED,
		.timeout_ns = 10 * SECOND,
	};
}

static uint32_t arm(struct scene *scene, struct tdxm_rule rule)
{
	uint32_t id = 0;

	KTAP_EXPECT_EQ(tdxm_arm(scene->machine->m, &rule, &id), 0);
	return id;
}

static struct tdxm_rule_state state_of(struct scene *scene, uint32_t id)
{
	struct tdxm_rule_state state = {};

	KTAP_EXPECT_EQ(tdxm_rule_state(scene->machine->m, id, &state), 0);
	return state;
}

static enum tdxm_outcome try_add(struct scene *scene, uint64_t gpa, uint64_t *status)
{
	struct tdxm_regs regs = {
		.rax = TDH_MEM_PAGE_ADD,
		.rcx = gpa,
		.rdx = scene->td.tdr,
		.r8 = scene->page,
		.r9 = scene->td.source,
	};
	enum tdxm_outcome outcome = tdxm_seamcall(scene->machine->m, 0, CONTEXT, &regs);

	*status = regs.rax;
	return outcome;
}

static void expect_held(struct scene *scene)
{
	uint64_t status;

	KTAP_EXPECT_EQ(try_add(scene, GPA, &status), TDXM_AGAIN);
	KTAP_EXPECT_EQ(try_add(scene, GPA, &status), TDXM_AGAIN);
	KTAP_EXPECT_EQ(machine_page_type(scene->machine, scene->page), PT_NDA);
}

static void expect_added(struct scene *scene)
{
	uint64_t status;

	KTAP_EXPECT_EQ(try_add(scene, GPA, &status), TDXM_DONE);
	EXPECT_STATUS(TDX_SUCCESS, status);
	KTAP_EXPECT_EQ(machine_page_type(scene->machine, scene->page), PT_REG);
}

static uint64_t other_leaf(struct scene *scene)
{
	return machine_call(scene->machine, 1, TDH_MEM_TRACK, scene->td.tdr, 0, 0, 0).rax;
}

static void held_on_entry_holds_no_lock(void)
{
	struct scene scene = scene_new();
	uint32_t id = arm(&scene, on_add(TDXM_HOLD_ENTRY));

	expect_held(&scene);
	KTAP_EXPECT_EQ(state_of(&scene, id).held, 1);
	EXPECT_STATUS(TDX_SUCCESS, other_leaf(&scene));
	KTAP_EXPECT_EQ(tdxm_release(scene.machine->m, id), 0);
	expect_added(&scene);
	KTAP_EXPECT_EQ(state_of(&scene, id).held, 0);
	KTAP_EXPECT_EQ(state_of(&scene, id).timeouts, 0);
	machine_free(scene.machine);
}

static void held_locked_keeps_others_out(void)
{
	struct scene scene = scene_new();
	struct tdxm_rule rule = on_add(TDXM_HOLD_LOCKED);
	uint32_t id;

	/* Every call, but none twice. */
	rule.count = 0;
	id = arm(&scene, rule);
	expect_held(&scene);
	EXPECT_STATUS(TDX_OPERAND_BUSY + OP_RCX, other_leaf(&scene));
	KTAP_EXPECT_EQ(tdxm_release(scene.machine->m, id), 0);
	expect_added(&scene);
	EXPECT_STATUS(TDX_SUCCESS, other_leaf(&scene));
	machine_free(scene.machine);
}

static void hold_ends_by_itself(void)
{
	struct scene scene = scene_new();
	struct tdxm_rule rule = on_add(TDXM_HOLD_LOCKED);
	uint64_t status, calls = 0;
	uint32_t id;

	rule.timeout_ns = SECOND / 1000;
	id = arm(&scene, rule);
	while (try_add(&scene, GPA, &status) == TDXM_AGAIN)
		calls++;
	KTAP_EXPECT(calls > 0);
	EXPECT_STATUS(TDX_SUCCESS, status);
	KTAP_EXPECT_EQ(state_of(&scene, id).timeouts, 1);
	KTAP_EXPECT_EQ(state_of(&scene, id).hits, 1);
	machine_free(scene.machine);
}

/* An interrupt handler on the same LP makes calls of its own. */
static void call_in_between_is_another_one(void)
{
	struct scene scene = scene_new();
	struct tdxm_regs regs = { .rax = TDH_MEM_TRACK, .rcx = scene.td.tdr };
	uint32_t id = arm(&scene, on_add(TDXM_HOLD_ENTRY));

	expect_held(&scene);
	EXPECT_CALL(TDX_SUCCESS, scene.machine, 0, TDH_MEM_TRACK, scene.td.tdr, 0, 0, 0);
	KTAP_EXPECT_EQ(tdxm_seamcall(scene.machine->m, 0, CONTEXT, &regs), TDXM_DONE);
	expect_held(&scene);
	KTAP_EXPECT_EQ(tdxm_release(scene.machine->m, id), 0);
	expect_added(&scene);
	machine_free(scene.machine);
}

static void failed_call_changes_nothing(void)
{
	struct scene scene = scene_new();
	uint8_t before[48], after[48];
	uint64_t status;
	uint32_t id = arm(&scene, on_add(TDXM_FAIL));

	KTAP_EXPECT_EQ(tdxm_query_mrtd(scene.machine->m, scene.td.tdr, before), 0);
	KTAP_EXPECT_EQ(try_add(&scene, GPA, &status), TDXM_DONE);
	EXPECT_STATUS(INJECTED, status);
	KTAP_EXPECT_EQ(machine_page_type(scene.machine, scene.page), PT_NDA);
	KTAP_EXPECT_EQ(tdxm_query_mrtd(scene.machine->m, scene.td.tdr, after), 0);
	KTAP_EXPECT(!memcmp(before, after, sizeof(before)));
	expect_added(&scene);
	KTAP_EXPECT_EQ(state_of(&scene, id).hits, 1);
	KTAP_EXPECT_EQ(state_of(&scene, id).matches, 2);
	machine_free(scene.machine);
}

static void fails_from_the_nth_on_and_n_times(void)
{
	struct scene scene = scene_new();
	struct tdxm_rule rule = on_add(TDXM_FAIL);
	unsigned int i;

	rule.leaf = TDH_MEM_TRACK;
	rule.first = 2;
	rule.count = 3;
	arm(&scene, rule);
	for (i = 1; i <= 6; i++)
		EXPECT_STATUS(i >= 2 && i <= 4 ? INJECTED : TDX_SUCCESS, other_leaf(&scene));
	machine_free(scene.machine);
}

static void fails_always_until_disarmed(void)
{
	struct scene scene = scene_new();
	struct tdxm_rule rule = on_add(TDXM_FAIL);
	unsigned int i;

	rule.leaf = TDH_MEM_TRACK;
	rule.count = 0;
	arm(&scene, rule);
	for (i = 0; i < 100; i++)
		EXPECT_STATUS(INJECTED, other_leaf(&scene));
	KTAP_EXPECT_EQ(tdxm_disarm(scene.machine->m, 0), 0);
	EXPECT_STATUS(TDX_SUCCESS, other_leaf(&scene));
	machine_free(scene.machine);
}

static void disarmed_among_others_is_forgotten(void)
{
	struct scene scene = scene_new();
	struct tdxm_rule rule = on_add(TDXM_FAIL);
	uint32_t id;

	arm(&scene, rule);
	rule.leaf = TDH_MEM_TRACK;
	rule.count = 0;
	id = arm(&scene, rule);
	EXPECT_STATUS(INJECTED, other_leaf(&scene));
	KTAP_EXPECT_EQ(tdxm_disarm(scene.machine->m, id), 0);
	EXPECT_STATUS(TDX_SUCCESS, other_leaf(&scene));
	machine_free(scene.machine);
}

static void own_failure_is_no_match(void)
{
	struct scene scene = scene_new();
	uint64_t status;
	uint32_t id = arm(&scene, on_add(TDXM_FAIL));

	try_add(&scene, TDX_2M, &status);
	KTAP_EXPECT_EQ(tdx_status_code(status), TDX_EPT_WALK_FAILED);
	KTAP_EXPECT_EQ(state_of(&scene, id).matches, 0);
	try_add(&scene, GPA, &status);
	EXPECT_STATUS(INJECTED, status);
	machine_free(scene.machine);
}

static void filter_by_gpa_range(void)
{
	static const struct {
		uint64_t gpa;
		bool fits;
	} table[] = { { GPA, false }, { 2 * GPA, true }, { 3 * GPA, true }, { 4 * GPA, false } };
	struct scene scene = scene_new();
	struct tdxm_rule rule = on_add(TDXM_FAIL);
	unsigned int i;
	uint64_t status;

	rule.gpa = 2 * GPA;
	rule.gpa_size = 2 * GPA;
	rule.count = 0;
	arm(&scene, rule);
	for (i = 0; i < ARRAY_LEN(table); i++) {
		scene.page = machine_page(scene.machine);
		KTAP_EXPECT_EQ(try_add(&scene, table[i].gpa, &status), TDXM_DONE);
		EXPECT_STATUS(table[i].fits ? INJECTED : TDX_SUCCESS, status);
	}
	machine_free(scene.machine);
}

/* By TDR, and by a page of the TD. */
static void filter_by_td(void)
{
	struct scene scene = scene_new();
	struct test_td other = td_new(scene.machine, 3, STAGE_SEPT);
	struct tdxm_rule rule = on_add(TDXM_FAIL);

	rule.leaf = TDH_MEM_TRACK;
	rule.tdr = scene.td.tdr;
	rule.count = 0;
	arm(&scene, rule);
	rule.leaf = TDH_VP_RD;
	arm(&scene, rule);

	EXPECT_STATUS(INJECTED, other_leaf(&scene));
	EXPECT_CALL(TDX_SUCCESS, scene.machine, 1, TDH_MEM_TRACK, other.tdr, 0, 0, 0);
	EXPECT_CALL(INJECTED, scene.machine, 0, TDH_VP_RD, scene.td.vcpu.tdvpr, 0x9120000300000100,
		    0, 0);
	EXPECT_CALL(TDX_SUCCESS, scene.machine, 0, TDH_VP_RD, other.vcpu.tdvpr, 0x9120000300000100,
		    0, 0);
	machine_free(scene.machine);
}

/* An index that a failed VP.INIT kept would be missing at the end. */
static void failed_vp_init_gives_its_index_back(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_VCPU);
	struct test_vcpu vcpu = td_new_vcpu(&td);
	struct tdxm_rule rule = on_add(TDXM_FAIL);
	uint32_t id;

	/* Room for this one, and no more. */
	td_model(&td)->params.max_vcpus = 2;
	rule.leaf = TDH_VP_INIT;
	KTAP_EXPECT_EQ(tdxm_arm(machine->m, &rule, &id), 0);
	EXPECT_CALL(INJECTED, machine, 0, TDH_VP_INIT, vcpu.tdvpr, 0, 0, 0);
	KTAP_EXPECT_EQ(td_model(&td)->num_vcpus, 1);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_INIT, vcpu.tdvpr, 0, 0, 0);
	KTAP_EXPECT_EQ(td_model(&td)->num_vcpus, 2);
	machine_free(machine);
}

static void bad_rules_refused(void)
{
	struct scene scene = scene_new();
	struct tdxm *m = scene.machine->m;
	struct tdxm_rule good = on_add(TDXM_HOLD_LOCKED), bad[8];
	struct tdxm_rule_state state;
	uint32_t id;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(bad); i++)
		bad[i] = good;
	bad[0].action = (enum tdxm_rule_action)0;
	bad[1].action = (enum tdxm_rule_action)4;
	bad[2].leaf = 0xffff;
	bad[3].first = 0;
	bad[4].timeout_ns = 0;
	bad[5].timeout_ns = TDXM_MAX_HOLD_NS + 1;
	/* A leaf without TD, and without GPA. */
	bad[6].leaf = TDH_SYS_RD;
	bad[6].tdr = scene.td.tdr;
	bad[7].leaf = TDH_MEM_TRACK;
	bad[7].gpa_size = GPA;
	for (i = 0; i < ARRAY_LEN(bad); i++)
		KTAP_EXPECT_EQ(tdxm_arm(m, &bad[i], &id), -EINVAL);
	good.action = TDXM_FAIL;
	good.status = TDX_SUCCESS;
	KTAP_EXPECT_EQ(tdxm_arm(m, &good, &id), -EINVAL);

	KTAP_EXPECT_EQ(tdxm_release(m, 0), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_release(m, 77), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_disarm(m, 77), -ENOENT);
	KTAP_EXPECT_EQ(tdxm_rule_state(m, 0, &state), -ENOENT);
	machine_free(scene.machine);
}

static void slots_run_out_and_come_back(void)
{
	struct scene scene = scene_new();
	struct tdxm *m = scene.machine->m;
	struct tdxm_rule rule = on_add(TDXM_FAIL);
	uint32_t first = 0, id;
	unsigned int i;

	for (i = 0; i < TDXM_MAX_RULES; i++) {
		KTAP_EXPECT_EQ(tdxm_arm(m, &rule, &id), 0);
		first = first ? first : id;
	}
	KTAP_EXPECT_EQ(tdxm_arm(m, &rule, &id), -ENOSPC);
	KTAP_EXPECT_EQ(tdxm_disarm(m, first), 0);
	KTAP_EXPECT_EQ(tdxm_arm(m, &rule, &id), 0);
	/* The number of a rule that is gone means none, not the one in its slot. */
	KTAP_EXPECT(id != first);
	KTAP_EXPECT_EQ(tdxm_disarm(m, first), -ENOENT);
	machine_free(scene.machine);
}

static void each_leaf_is_busy_once(void)
{
	struct scene scene = scene_new();
	uint64_t status;

	tdxm_set_busy_once(scene.machine->m, true);
	/* No TD in it, hence not meant. */
	EXPECT_CALL(TDX_SUCCESS, scene.machine, 0, TDH_PHYMEM_PAGE_RDMD, scene.page, 0, 0, 0);
	EXPECT_STATUS(TDX_OPERAND_BUSY + OP_RCX, other_leaf(&scene));
	EXPECT_STATUS(TDX_SUCCESS, other_leaf(&scene));
	try_add(&scene, GPA, &status);
	EXPECT_STATUS(TDX_OPERAND_BUSY + OP_RDX, status);
	expect_added(&scene);
	EXPECT_CALL(TDX_OPERAND_BUSY + OP_RCX, scene.machine, 0, TDH_VP_RD, scene.td.vcpu.tdvpr,
		    0x9120000300000100, 0, 0);
	tdxm_set_busy_once(scene.machine->m, false);
	EXPECT_CALL(TDX_SUCCESS, scene.machine, 0, TDH_MNG_RD, scene.td.tdr, 0x110000000000000a, 0,
		    0);
	machine_free(scene.machine);
}

/* The page that is named comes before the TDR that is found through it. */
static void reclaim_is_busy_with_its_page(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);

	td_release_key(&td);
	tdxm_set_busy_once(machine->m, true);
	EXPECT_CALL(TDX_OPERAND_BUSY + OP_RCX, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, td.sept[2], 0,
		    0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_PAGE_RECLAIM, td.sept[2], 0, 0, 0);
	machine_free(machine);
}

/* What a call leaves behind when the machine is switched off in the middle. */
static void held_call_dies_with_the_module(void)
{
	struct scene scene = scene_new();

	arm(&scene, on_add(TDXM_HOLD_LOCKED));
	expect_held(&scene);
	scene.machine->unbalanced = true;
	machine_free(scene.machine);
}

struct killer {
	struct scene *scene;
	_Atomic bool stop;
};

static void *arm_and_disarm(void *arg)
{
	struct killer *killer = arg;
	struct tdxm *m = killer->scene->machine->m;
	struct tdxm_rule rule = on_add(TDXM_HOLD_LOCKED);
	uint32_t id;

	rule.leaf = TDH_MEM_TRACK;
	rule.count = 0;
	while (!killer->stop) {
		KTAP_EXPECT_EQ(tdxm_arm(m, &rule, &id), 0);
		KTAP_EXPECT_EQ(tdxm_release(m, id), 0);
		KTAP_EXPECT_EQ(tdxm_disarm(m, id), 0);
	}
	return NULL;
}

static void rules_come_and_go_under_calls(void)
{
	struct scene scene = scene_new();
	struct killer killer = { .scene = &scene };
	struct tdxm_regs regs;
	pthread_t thread;
	unsigned int i;

	pthread_create(&thread, NULL, arm_and_disarm, &killer);
	for (i = 0; i < 20000; i++) {
		do {
			regs = (struct tdxm_regs) { .rax = TDH_MEM_TRACK, .rcx = scene.td.tdr };
		} while (tdxm_seamcall(scene.machine->m, 0, 1, &regs) == TDXM_AGAIN);
		EXPECT_STATUS(TDX_SUCCESS, regs.rax);
	}
	killer.stop = true;
	pthread_join(thread, NULL);
	machine_free(scene.machine);
}

static const struct ktap_case cases[] = {
	{ "steer.held_on_entry_holds_no_lock", held_on_entry_holds_no_lock },
	{ "steer.held_locked_keeps_others_out", held_locked_keeps_others_out },
	{ "steer.hold_ends_by_itself", hold_ends_by_itself },
	{ "steer.call_in_between_is_another_one", call_in_between_is_another_one },
	{ "steer.failed_call_changes_nothing", failed_call_changes_nothing },
	{ "steer.fails_from_the_nth_on_and_n_times", fails_from_the_nth_on_and_n_times },
	{ "steer.fails_always_until_disarmed", fails_always_until_disarmed },
	{ "steer.disarmed_among_others_is_forgotten", disarmed_among_others_is_forgotten },
	{ "steer.own_failure_is_no_match", own_failure_is_no_match },
	{ "steer.filter_by_gpa_range", filter_by_gpa_range },
	{ "steer.filter_by_td", filter_by_td },
	{ "steer.failed_vp_init_gives_its_index_back", failed_vp_init_gives_its_index_back },
	{ "steer.bad_rules_refused", bad_rules_refused },
	{ "steer.slots_run_out_and_come_back", slots_run_out_and_come_back },
	{ "steer.each_leaf_is_busy_once", each_leaf_is_busy_once },
	{ "steer.reclaim_is_busy_with_its_page", reclaim_is_busy_with_its_page },
	{ "steer.held_call_dies_with_the_module", held_call_dies_with_the_module },
	{ "steer.rules_come_and_go_under_calls", rules_come_and_go_under_calls },
};

KTAP_MAIN(cases)
