// SPDX-License-Identifier: GPL-2.0-only
/* One successful call of each leaf that works on TDs or pages. */
#include "tests/module/scene.h"

#define GPA 0x1000ULL

static void rcx_tdr(struct scene *scene)
{
	scene->rcx = scene->td.tdr;
	scene->rdx = 0x110000000000000a; /* for MNG.RD: TSC_OFFSET */
}

static void rcx_page_rdx_hkid(struct scene *scene)
{
	scene->page = machine_page(scene->machine);
	scene->rcx = scene->page;
	scene->rdx = 5;
}

static void rcx_page_rdx_tdr(struct scene *scene)
{
	scene->page = machine_page(scene->machine);
	scene->rcx = scene->page;
	scene->rdx = scene->td.tdr;
}

static void rcx_tdr_rdx_params(struct scene *scene)
{
	struct tdx_td_params params = td_default_params();

	memcpy(machine_ram(scene->machine, scene->td.params), &params, sizeof(params));
	scene->rcx = scene->td.tdr;
	scene->rdx = scene->td.params;
}

static void flushed_vcpu(struct scene *scene)
{
	EXPECT_CALL(TDX_SUCCESS, scene->machine, 0, TDH_VP_FLUSH, scene->td.vcpu.tdvpr, 0, 0, 0);
	scene->rcx = scene->td.tdr;
}

static void flushed_key(struct scene *scene)
{
	flushed_vcpu(scene);
	EXPECT_CALL(TDX_SUCCESS, scene->machine, 0, TDH_MNG_VPFLUSHDONE, scene->td.tdr, 0, 0, 0);
	scene->rcx = 0;
}

static void written_back_key(struct scene *scene)
{
	flushed_key(scene);
	EXPECT_CALL(TDX_SUCCESS, scene->machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	scene->rcx = scene->td.tdr;
}

static void freed_key(struct scene *scene)
{
	td_release_key(&scene->td);
	scene->page = scene->td.sept[0];
	scene->rcx = scene->page;
}

static void rcx_page_rdx_tdvpr(struct scene *scene)
{
	scene->td.vcpu = td_new_vcpu(&scene->td);
	scene->page = machine_page(scene->machine);
	scene->rcx = scene->page;
	scene->rdx = scene->td.vcpu.tdvpr;
}

static void rcx_new_tdvpr(struct scene *scene)
{
	scene->td.vcpu = td_new_vcpu(&scene->td);
	scene->rcx = scene->td.vcpu.tdvpr;
}

static void rcx_tdvpr(struct scene *scene)
{
	scene->rcx = scene->td.vcpu.tdvpr;
	scene->rdx = 0x9120000300000100; /* for VP.RD: VCPU_STATE_DETAILS */
}

static void rcx_tdvpr_rdx_nmi(struct scene *scene)
{
	scene->rcx = scene->td.vcpu.tdvpr;
	scene->rdx = 0x202000000000000b;
	scene->r8 = 1;
	scene->r9 = 1;
}

static _Atomic uint64_t *entry_of(struct scene *scene, unsigned int table, unsigned int index)
{
	struct tdxm_pamt_entry *pamt = tdxm_pamt_find(scene->machine->m, scene->td.sept[table]);

	return &((struct tdxm_sept_page *)pamt->object)->entry[index];
}

static void new_guest_page(struct scene *scene)
{
	scene->rcx = GPA;
	scene->rdx = scene->td.tdr;
	scene->page = machine_page(scene->machine);
	scene->r8 = scene->page;
	scene->r9 = scene->td.source;
	scene->entry = entry_of(scene, 2, 1);
}

static void new_page_table(struct scene *scene)
{
	new_guest_page(scene);
	scene->rcx = TDX_2M | 1;
	scene->entry = entry_of(scene, 1, 1);
}

static void old_guest_page(struct scene *scene)
{
	scene->page = td_add_page(&scene->td, GPA);
	scene->rcx = GPA;
	scene->rdx = scene->td.tdr;
	scene->entry = entry_of(scene, 2, 1);
}

static void host_page(struct scene *scene)
{
	scene->page = machine_page(scene->machine);
	scene->rcx = scene->page;
}

const struct scene_row scene_rows[] = {
	{ "mng_create", TDH_MNG_CREATE, STAGE_CREATED, rcx_page_rdx_hkid },
	{ "mng_key_config", TDH_MNG_KEY_CONFIG, STAGE_CREATED, rcx_tdr },
	{ "mng_addcx", TDH_MNG_ADDCX, STAGE_KEYED, rcx_page_rdx_tdr },
	{ "mng_init", TDH_MNG_INIT, STAGE_ADDCX, rcx_tdr_rdx_params },
	{ "mng_rd", TDH_MNG_RD, STAGE_SEPT, rcx_tdr },
	{ "mng_vpflushdone", TDH_MNG_VPFLUSHDONE, STAGE_SEPT, flushed_vcpu },
	{ "mng_key_freeid", TDH_MNG_KEY_FREEID, STAGE_SEPT, written_back_key },
	{ "vp_create", TDH_VP_CREATE, STAGE_INITIALIZED, rcx_page_rdx_tdr },
	{ "vp_addcx", TDH_VP_ADDCX, STAGE_INITIALIZED, rcx_page_rdx_tdvpr },
	{ "vp_init_v0", TDH_VP_INIT, STAGE_INITIALIZED, rcx_new_tdvpr },
	{ "vp_init_v1", TDH_VP_INIT | SCENE_V1, STAGE_INITIALIZED, rcx_new_tdvpr },
	{ "vp_rd", TDH_VP_RD, STAGE_SEPT, rcx_tdvpr },
	{ "vp_wr", TDH_VP_WR, STAGE_SEPT, rcx_tdvpr_rdx_nmi },
	{ "vp_flush", TDH_VP_FLUSH, STAGE_SEPT, rcx_tdvpr },
	{ "vp_enter", TDH_VP_ENTER, STAGE_RUNNABLE, rcx_tdvpr },
	{ "mem_sept_add", TDH_MEM_SEPT_ADD, STAGE_SEPT, new_page_table },
	{ "mem_page_add", TDH_MEM_PAGE_ADD, STAGE_SEPT, new_guest_page },
	{ "mem_page_aug", TDH_MEM_PAGE_AUG, STAGE_SEPT, new_guest_page },
	{ "mem_range_block", TDH_MEM_RANGE_BLOCK, STAGE_SEPT, old_guest_page },
	{ "mem_track", TDH_MEM_TRACK, STAGE_SEPT, rcx_tdr },
	{ "mem_page_remove", TDH_MEM_PAGE_REMOVE, STAGE_SEPT, old_guest_page },
	{ "mr_extend", TDH_MR_EXTEND, STAGE_SEPT, old_guest_page },
	{ "mr_finalize", TDH_MR_FINALIZE, STAGE_SEPT, rcx_tdr },
	{ "phymem_page_reclaim", TDH_PHYMEM_PAGE_RECLAIM, STAGE_SEPT, freed_key },
	{ "phymem_page_rdmd", TDH_PHYMEM_PAGE_RDMD, STAGE_CREATED, host_page },
	{ "phymem_page_wbinvd", TDH_PHYMEM_PAGE_WBINVD, STAGE_CREATED, host_page },
	{ "phymem_cache_wb", TDH_PHYMEM_CACHE_WB, STAGE_SEPT, flushed_key },
};

const unsigned int scene_row_count = ARRAY_LEN(scene_rows);

const struct scene_row *scene_row(const char *name)
{
	unsigned int i;

	for (i = 0; i < scene_row_count; i++) {
		if (!strcmp(scene_rows[i].name, name))
			return &scene_rows[i];
	}
	abort();
}

struct scene scene_new(const struct scene_row *row)
{
	struct scene scene = { .machine = machine_new_booted() };

	scene.td = td_new(scene.machine, 2, row->stage);
	row->set(&scene);
	return scene;
}

struct tdxm_regs scene_call(struct scene *scene, const struct scene_row *row)
{
	return machine_call(scene->machine, 0, row->leaf, scene->rcx, scene->rdx, scene->r8,
			    scene->r9);
}
