// SPDX-License-Identifier: GPL-2.0-only
/*
 * What all leaves have in common: how they refuse a page that a register names,
 * and a TD in the wrong state. One table, checked leaf by leaf.
 */
#include "tests/module/scene.h"

enum {
	REG_RCX = 1,
	REG_RDX = 2,
	REG_R8 = 8
};

/* A register that names a private page of a type other than that of page 0. */
struct named_page {
	uint8_t reg; /* equals its operand id */
	bool free;   /* the host's, to be taken by the TD */
};

/* Refusals by the state of the TD, in the order of the checks. */
enum {
	FATAL = 1, /* TD_FATAL */
	KEYS = 2,  /* TD_KEYS_NOT_CONFIGURED, after VPFLUSHDONE */
	TDCS = 4,  /* TDCS_NOT_ALLOCATED, TDR named by a register */
	OPS = 8,   /* OP_STATE_INCORRECT, TDR named by a register */
	TD = FATAL | KEYS | TDCS | OPS,
	VCPU = FATAL | KEYS,
};

static const struct row {
	const char *scene;
	struct named_page page[2];
	unsigned int td;
} rows[] = {
	{ "mng_create", { { REG_RCX, true } }, 0 },
	{ "mng_key_config", { { REG_RCX, false } }, FATAL },
	{ "mng_addcx", { { REG_RCX, true }, { REG_RDX, false } }, FATAL | KEYS },
	{ "mng_init", { { REG_RCX, false } }, TD },
	{ "mng_rd", { { REG_RCX, false } }, TD },
	{ "mng_vpflushdone", { { REG_RCX, false } }, 0 },
	{ "mng_key_freeid", { { REG_RCX, false } }, 0 },
	{ "vp_create", { { REG_RCX, true }, { REG_RDX, false } }, TD },
	{ "vp_addcx", { { REG_RCX, true }, { REG_RDX, false } }, VCPU },
	{ "vp_init_v0", { { REG_RCX, false } }, VCPU },
	{ "vp_init_v1", { { REG_RCX, false } }, VCPU },
	{ "vp_rd", { { REG_RCX, false } }, VCPU },
	{ "vp_wr", { { REG_RCX, false } }, VCPU },
	{ "vp_flush", { { REG_RCX, false } }, KEYS },
	{ "vp_enter", { { REG_RCX, false } }, VCPU },
	{ "mem_sept_add", { { REG_RDX, false }, { REG_R8, true } }, TD },
	{ "mem_page_add", { { REG_RDX, false }, { REG_R8, true } }, TD },
	{ "mem_page_aug", { { REG_RDX, false }, { REG_R8, true } }, TD },
	{ "mem_range_block", { { REG_RDX, false } }, TD },
	{ "mem_track", { { REG_RCX, false } }, TD },
	{ "mem_page_remove", { { REG_RDX, false } }, TD },
	{ "mr_extend", { { REG_RDX, false } }, TD },
	{ "mr_finalize", { { REG_RCX, false } }, TD },
	{ "phymem_page_reclaim", { { REG_RCX, false } }, 0 },
	{ "phymem_page_wbinvd", { { REG_RCX, true } }, 0 },
};

static uint64_t *reg_of(struct scene *scene, unsigned int reg)
{
	return reg == REG_RCX ? &scene->rcx : reg == REG_RDX ? &scene->rdx : &scene->r8;
}

static void expect(struct scene *scene, const struct row *row, uint64_t want)
{
	if (!EXPECT_STATUS(want, scene_call(scene, scene_row(row->scene)).rax))
		printf("# %s\n", row->scene);
}

/* In the order of the checks, so that each call has one thing wrong only. */
static void refuse_page(struct scene *scene, const struct row *row, const struct named_page *page,
			uint64_t taken)
{
	uint64_t *reg = reg_of(scene, page->reg), good = *reg;

	*reg = good | 0x800;
	expect(scene, row, TDX_OPERAND_INVALID + page->reg);
	*reg = TDX_1G;
	expect(scene, row, TDX_OPERAND_ADDR_RANGE_ERROR + page->reg);
	/* Page 0 is RSVD, which is neither free nor anybody's. */
	*reg = 0;
	expect(scene, row, TDX_PAGE_METADATA_INCORRECT + page->reg);
	*reg = page->free ? taken : machine_page(scene->machine);
	expect(scene, row, TDX_PAGE_METADATA_INCORRECT + page->reg);
	if (page->free)
		machine_forget_findings(scene->machine);
	*reg = good;
}

static void named_pages_are_checked(void)
{
	unsigned int i, j;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene scene = scene_new(scene_row(rows[i].scene));
		struct test_td other = td_new(scene.machine, 3, STAGE_CREATED);
		struct tdxm_regs regs;

		for (j = 0; j < 2 && rows[i].page[j].reg; j++)
			refuse_page(&scene, &rows[i], &rows[i].page[j], other.tdr);
		/* What was refused changed nothing. */
		regs = scene_call(&scene, scene_row(rows[i].scene));
		if (!KTAP_EXPECT(!tdx_status_code(regs.rax)))
			printf("# %s\n", rows[i].scene);
		machine_free(scene.machine);
	}
}

static void refuse_fatal_td(const struct row *row)
{
	struct scene scene = scene_new(scene_row(row->scene));

	td_kill(&scene.td);
	expect(&scene, row, TDX_TD_FATAL);
	machine_free(scene.machine);
}

static void refuse_td_without_keys(const struct row *row)
{
	struct scene scene = scene_new(scene_row(row->scene));

	if (scene.td.stage >= STAGE_VCPU)
		EXPECT_CALL(TDX_SUCCESS, scene.machine, 0, TDH_VP_FLUSH, scene.td.vcpu.tdvpr, 0, 0,
			    0);
	EXPECT_CALL(TDX_SUCCESS, scene.machine, 0, TDH_MNG_VPFLUSHDONE, scene.td.tdr, 0, 0, 0);
	expect(&scene, row, TDX_TD_KEYS_NOT_CONFIGURED);
	machine_free(scene.machine);
}

/* The same call, on another TD that has not come as far, or is further. */
static void refuse_td_at_stage(const struct row *row, enum td_stage stage, uint64_t want)
{
	struct scene scene = scene_new(scene_row(row->scene));
	struct test_td other = td_new(scene.machine, 3, stage);

	*(scene.rcx == scene.td.tdr ? &scene.rcx : &scene.rdx) = other.tdr;
	expect(&scene, row, want);
	machine_free(scene.machine);
}

static void state_of_td_is_checked(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		bool init = scene_row(row->scene)->leaf == TDH_MNG_INIT;

		if (row->td & FATAL)
			refuse_fatal_td(row);
		if (row->td & KEYS)
			refuse_td_without_keys(row);
		if (row->td & TDCS)
			refuse_td_at_stage(row, STAGE_KEYED, TDX_TDCS_NOT_ALLOCATED);
		if (row->td & OPS)
			refuse_td_at_stage(row, init ? STAGE_INITIALIZED : STAGE_ADDCX,
					   TDX_OP_STATE_INCORRECT +
						   (init ? TD_INITIALIZED : TD_UNINITIALIZED));
	}
}

static void every_scene_succeeds(void)
{
	unsigned int i;

	for (i = 0; i < scene_row_count; i++) {
		struct scene scene = scene_new(&scene_rows[i]);

		if (!KTAP_EXPECT(!tdx_status_code(scene_call(&scene, &scene_rows[i]).rax)))
			printf("# %s\n", scene_rows[i].name);
		machine_free(scene.machine);
	}
}

static const struct ktap_case cases[] = {
	{ "operand.every_scene_succeeds", every_scene_succeeds },
	{ "operand.named_pages_are_checked", named_pages_are_checked },
	{ "operand.state_of_td_is_checked", state_of_td_is_checked },
};

KTAP_MAIN(cases)
