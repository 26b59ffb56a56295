// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lock matrix, written down a second time and independently of the model's
 * table: for each leaf and each resource, what happens while somebody else
 * holds it shared, and exclusively.
 */
#include "tests/module/machine.h"

#define GPA 0x1000ULL
#define V1 BIT_U64(TDX_RAX_VERSION_SHIFT)
#define B(operand) (TDX_OPERAND_BUSY + (operand))

enum {
	SYS,
	KOT,
	WBT,
	KET,
	TDR,
	OPS,
	TREE,
	ENTRY,
	PAGE,
	TDVPR,
	EPOCH,
	RESOURCES
};

static const char *const resource_name[RESOURCES] = {
	"global",     "KOT",	     "WBT",  "KET",   "TDR",   "op-state",
	"S-EPT tree", "S-EPT entry", "page", "TDVPR", "epoch",
};

/* A call that would succeed, and the page and entry that it is about. */
struct scene {
	struct machine *machine;
	struct test_td td;
	uint64_t rcx, rdx, r8, r9;
	uint64_t page;
	_Atomic uint64_t *entry;
};

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

/* Mode 'S' or 'E' and what contention answers; nothing for a lock not taken. */
struct cell {
	char mode;
	uint64_t busy;
};

static const struct row {
	const char *name;
	uint64_t leaf;
	enum td_stage stage;
	void (*set)(struct scene *scene);
	struct cell cell[RESOURCES];
} rows[] = {
	{ "mng_create",
	  TDH_MNG_CREATE,
	  STAGE_CREATED,
	  rcx_page_rdx_hkid,
	  { [PAGE] = { 'E', B(1) }, [KOT] = { 'E', B(0xba) } } },
	{ "mng_key_config",
	  TDH_MNG_KEY_CONFIG,
	  STAGE_CREATED,
	  rcx_tdr,
	  { [TDR] = { 'E', B(1) }, [KET] = { 'E', B(0xbb) } } },
	{ "mng_addcx",
	  TDH_MNG_ADDCX,
	  STAGE_KEYED,
	  rcx_page_rdx_tdr,
	  { [TDR] = { 'E', B(2) }, [PAGE] = { 'E', B(1) } } },
	{ "mng_init", TDH_MNG_INIT, STAGE_ADDCX, rcx_tdr_rdx_params, { [TDR] = { 'E', B(1) } } },
	{ "mng_rd",
	  TDH_MNG_RD,
	  STAGE_SEPT,
	  rcx_tdr,
	  { [TDR] = { 'S', B(1) }, [OPS] = { 'S', B(0xac) } } },
	{ "mng_vpflushdone",
	  TDH_MNG_VPFLUSHDONE,
	  STAGE_SEPT,
	  flushed_vcpu,
	  { [TDR] = { 'E', B(1) }, [KOT] = { 'E', B(0xba) } } },
	{ "mng_key_freeid",
	  TDH_MNG_KEY_FREEID,
	  STAGE_SEPT,
	  written_back_key,
	  { [TDR] = { 'E', B(1) }, [KOT] = { 'E', B(0xba) } } },
	{ "vp_create",
	  TDH_VP_CREATE,
	  STAGE_INITIALIZED,
	  rcx_page_rdx_tdr,
	  { [TDR] = { 'S', B(2) }, [OPS] = { 'S', B(0xac) }, [PAGE] = { 'E', B(1) } } },
	{ "vp_addcx",
	  TDH_VP_ADDCX,
	  STAGE_INITIALIZED,
	  rcx_page_rdx_tdvpr,
	  { [TDVPR] = { 'E', B(2) },
	    [TDR] = { 'S', B(0x80) },
	    [OPS] = { 'S', B(0xac) },
	    [PAGE] = { 'E', B(1) } } },
	{ "vp_init_v0",
	  TDH_VP_INIT,
	  STAGE_INITIALIZED,
	  rcx_new_tdvpr,
	  { [TDVPR] = { 'E', B(1) }, [TDR] = { 'S', B(0x80) }, [OPS] = { 'S', B(0xac) } } },
	{ "vp_init_v1",
	  TDH_VP_INIT | V1,
	  STAGE_INITIALIZED,
	  rcx_new_tdvpr,
	  { [TDVPR] = { 'E', B(1) }, [TDR] = { 'E', B(0x80) }, [OPS] = { 'S', B(0xac) } } },
	{ "vp_rd",
	  TDH_VP_RD,
	  STAGE_SEPT,
	  rcx_tdvpr,
	  { [TDVPR] = { 'S', B(1) }, [TDR] = { 'S', B(0x80) }, [OPS] = { 'S', B(0xac) } } },
	{ "vp_wr",
	  TDH_VP_WR,
	  STAGE_SEPT,
	  rcx_tdvpr_rdx_nmi,
	  { [TDVPR] = { 'S', B(1) }, [TDR] = { 'S', B(0x80) }, [OPS] = { 'S', B(0xac) } } },
	{ "vp_flush",
	  TDH_VP_FLUSH,
	  STAGE_SEPT,
	  rcx_tdvpr,
	  { [TDVPR] = { 'E', B(1) }, [TDR] = { 'S', B(0x80) } } },
	{ "vp_enter",
	  TDH_VP_ENTER,
	  STAGE_RUNNABLE,
	  rcx_tdvpr,
	  { [TDVPR] = { 'S', B(1) },
	    [TDR] = { 'S', B(0x80) },
	    [OPS] = { 'S', B(0xac) },
	    [EPOCH] = { 'S', B(0xa9) } } },
	{ "mem_sept_add",
	  TDH_MEM_SEPT_ADD,
	  STAGE_SEPT,
	  new_page_table,
	  { [TDR] = { 'S', B(2) },
	    [OPS] = { 'S', B(0xac) },
	    [TREE] = { 'S', B(0x92) },
	    [ENTRY] = { 'E', B(1) },
	    [PAGE] = { 'E', B(8) } } },
	{ "mem_page_add",
	  TDH_MEM_PAGE_ADD,
	  STAGE_SEPT,
	  new_guest_page,
	  { [TDR] = { 'E', B(2) }, [PAGE] = { 'E', B(8) } } },
	{ "mem_page_aug",
	  TDH_MEM_PAGE_AUG,
	  STAGE_SEPT,
	  new_guest_page,
	  { [TDR] = { 'S', B(2) },
	    [OPS] = { 'S', B(0xac) },
	    [TREE] = { 'S', B(0x92) },
	    [ENTRY] = { 'E', B(1) },
	    [PAGE] = { 'E', B(8) } } },
	{ "mem_range_block",
	  TDH_MEM_RANGE_BLOCK,
	  STAGE_SEPT,
	  old_guest_page,
	  { [TDR] = { 'S', B(2) },
	    [OPS] = { 'S', B(0xac) },
	    [TREE] = { 'E', B(0x92) },
	    [ENTRY] = { 'E', B(1) } } },
	{ "mem_track",
	  TDH_MEM_TRACK,
	  STAGE_SEPT,
	  rcx_tdr,
	  { [TDR] = { 'S', B(1) }, [OPS] = { 'S', B(0xac) }, [EPOCH] = { 'E', B(0xa9) } } },
	{ "mem_page_remove",
	  TDH_MEM_PAGE_REMOVE,
	  STAGE_SEPT,
	  old_guest_page,
	  { [TDR] = { 'S', B(2) },
	    [OPS] = { 'S', B(0xac) },
	    [TREE] = { 'S', B(0x92) },
	    [ENTRY] = { 'E', B(1) },
	    [PAGE] = { 'E', B(1) } } },
	{ "mr_extend", TDH_MR_EXTEND, STAGE_SEPT, old_guest_page, { [TDR] = { 'E', B(2) } } },
	{ "mr_finalize", TDH_MR_FINALIZE, STAGE_SEPT, rcx_tdr, { [TDR] = { 'E', B(1) } } },
	{ "phymem_page_reclaim",
	  TDH_PHYMEM_PAGE_RECLAIM,
	  STAGE_SEPT,
	  freed_key,
	  { [PAGE] = { 'E', B(1) }, [TDR] = { 'S', B(0x80) } } },
	{ "phymem_page_rdmd",
	  TDH_PHYMEM_PAGE_RDMD,
	  STAGE_CREATED,
	  host_page,
	  { [PAGE] = { 'S', B(1) } } },
	{ "phymem_page_wbinvd",
	  TDH_PHYMEM_PAGE_WBINVD,
	  STAGE_CREATED,
	  host_page,
	  { [PAGE] = { 'S', B(1) } } },
	{ "phymem_cache_wb",
	  TDH_PHYMEM_CACHE_WB,
	  STAGE_SEPT,
	  flushed_key,
	  { [WBT] = { 'E', B(0xbc) }, [KOT] = { 'S', B(0xba) } } },
};

/* NULL when the scene has no such thing. */
static struct sharex *lock_of(struct scene *scene, unsigned int resource)
{
	struct tdxm *m = scene->machine->m;
	struct tdxm_td *td = td_model(&scene->td);

	switch (resource) {
	case SYS:
		return &m->sys_lock;
	case KOT:
		return &m->kot_lock;
	case WBT:
		return &m->wbt_lock[0];
	case KET:
		return &m->ket_lock[0];
	case TDR:
		return &tdxm_pamt_find(m, scene->td.tdr)->lock;
	case OPS:
		return &td->op_state_lock;
	case TREE:
		return &td->sept_lock;
	case PAGE:
		return scene->page ? &tdxm_pamt_find(m, scene->page)->lock : NULL;
	case TDVPR:
		return scene->td.vcpu.tdvpr ? &tdxm_pamt_find(m, scene->td.vcpu.tdvpr)->lock : NULL;
	case EPOCH:
		return &td->epoch_lock;
	}
	return NULL;
}

/* Make the call of @row while another call holds @resource. */
static void contend(const struct row *row, unsigned int resource, bool exclusive)
{
	const struct cell *cell = &row->cell[resource];
	bool conflict = cell->mode == 'E' || (cell->mode == 'S' && exclusive);
	struct scene scene = { .machine = machine_new_booted() };
	struct sharex *lock;
	uint64_t status;

	scene.td = td_new(scene.machine, 2, row->stage);
	row->set(&scene);
	lock = lock_of(&scene, resource);
	if (resource == ENTRY && scene.entry && exclusive)
		atomic_fetch_or(scene.entry, SEPTE_TDEL);
	else if (lock)
		KTAP_EXPECT(exclusive ? sharex_try_exclusive(lock) : sharex_try_shared(lock));
	else
		conflict = false;

	status = machine_call(scene.machine, 0, row->leaf, scene.rcx, scene.rdx, scene.r8, scene.r9)
			 .rax;
	if (!KTAP_EXPECT(conflict ? status == cell->busy : !tdx_status_code(status)))
		printf("# %s while %s is held %s: %s (0x%" PRIx64 ")\n", row->name,
		       resource_name[resource], exclusive ? "exclusively" : "shared",
		       tdxm_status_name(status), status);
	machine_free(scene.machine);
}

static void matrix_holds(void)
{
	unsigned int i, resource;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		for (resource = 0; resource < RESOURCES; resource++) {
			contend(&rows[i], resource, false);
			contend(&rows[i], resource, true);
		}
	}
}

static const struct ktap_case cases[] = {
	{ "lock_matrix.every_leaf_and_resource_as_documented", matrix_holds },
};

KTAP_MAIN(cases)
