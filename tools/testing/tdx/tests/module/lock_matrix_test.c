// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lock matrix, written down a second time and independently of the model's
 * table: for each leaf and each resource, what happens while somebody else
 * holds it shared, and exclusively.
 */
#include "tests/module/scene.h"

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

/* Mode 'S' or 'E' and what contention answers; nothing for a lock not taken. */
struct cell {
	char mode;
	uint64_t busy;
};

static const struct row {
	const char *scene;
	struct cell cell[RESOURCES];
} rows[] = {
	{ "mng_create", { [PAGE] = { 'E', B(1) }, [KOT] = { 'E', B(0xba) } } },
	{ "mng_key_config", { [TDR] = { 'E', B(1) }, [KET] = { 'E', B(0xbb) } } },
	{ "mng_addcx", { [TDR] = { 'E', B(2) }, [PAGE] = { 'E', B(1) } } },
	{ "mng_init", { [TDR] = { 'E', B(1) } } },
	{ "mng_rd", { [TDR] = { 'S', B(1) }, [OPS] = { 'S', B(0xac) } } },
	{ "mng_vpflushdone", { [TDR] = { 'E', B(1) }, [KOT] = { 'E', B(0xba) } } },
	{ "mng_key_freeid", { [TDR] = { 'E', B(1) }, [KOT] = { 'E', B(0xba) } } },
	{ "vp_create",
	  { [TDR] = { 'S', B(2) }, [OPS] = { 'S', B(0xac) }, [PAGE] = { 'E', B(1) } } },
	{ "vp_addcx",
	  { [TDVPR] = { 'E', B(2) },
	    [TDR] = { 'S', B(0x80) },
	    [OPS] = { 'S', B(0xac) },
	    [PAGE] = { 'E', B(1) } } },
	{ "vp_init_v0",
	  { [TDVPR] = { 'E', B(1) }, [TDR] = { 'S', B(0x80) }, [OPS] = { 'S', B(0xac) } } },
	{ "vp_init_v1",
	  { [TDVPR] = { 'E', B(1) }, [TDR] = { 'E', B(0x80) }, [OPS] = { 'S', B(0xac) } } },
	{ "vp_rd",
	  { [TDVPR] = { 'S', B(1) }, [TDR] = { 'S', B(0x80) }, [OPS] = { 'S', B(0xac) } } },
	{ "vp_wr",
	  { [TDVPR] = { 'S', B(1) }, [TDR] = { 'S', B(0x80) }, [OPS] = { 'S', B(0xac) } } },
	{ "vp_flush", { [TDVPR] = { 'E', B(1) }, [TDR] = { 'S', B(0x80) } } },
	{ "vp_enter",
	  { [TDVPR] = { 'S', B(1) },
	    [TDR] = { 'S', B(0x80) },
	    [OPS] = { 'S', B(0xac) },
	    [EPOCH] = { 'S', B(0xa9) } } },
	{ "mem_sept_add",
	  { [TDR] = { 'S', B(2) },
	    [OPS] = { 'S', B(0xac) },
	    [TREE] = { 'S', B(0x92) },
	    [ENTRY] = { 'E', B(1) },
	    [PAGE] = { 'E', B(8) } } },
	{ "mem_page_add", { [TDR] = { 'E', B(2) }, [PAGE] = { 'E', B(8) } } },
	{ "mem_page_aug",
	  { [TDR] = { 'S', B(2) },
	    [OPS] = { 'S', B(0xac) },
	    [TREE] = { 'S', B(0x92) },
	    [ENTRY] = { 'E', B(1) },
	    [PAGE] = { 'E', B(8) } } },
	{ "mem_range_block",
	  { [TDR] = { 'S', B(2) },
	    [OPS] = { 'S', B(0xac) },
	    [TREE] = { 'E', B(0x92) },
	    [ENTRY] = { 'E', B(1) } } },
	{ "mem_track",
	  { [TDR] = { 'S', B(1) }, [OPS] = { 'S', B(0xac) }, [EPOCH] = { 'E', B(0xa9) } } },
	{ "mem_page_remove",
	  { [TDR] = { 'S', B(2) },
	    [OPS] = { 'S', B(0xac) },
	    [TREE] = { 'S', B(0x92) },
	    [ENTRY] = { 'E', B(1) },
	    [PAGE] = { 'E', B(1) } } },
	{ "mr_extend", { [TDR] = { 'E', B(2) } } },
	{ "mr_finalize", { [TDR] = { 'E', B(1) } } },
	{ "phymem_page_reclaim", { [PAGE] = { 'E', B(1) }, [TDR] = { 'S', B(0x80) } } },
	{ "phymem_page_rdmd", { [PAGE] = { 'S', B(1) } } },
	{ "phymem_page_wbinvd", { [PAGE] = { 'S', B(1) } } },
	{ "phymem_cache_wb", { [WBT] = { 'E', B(0xbc) }, [KOT] = { 'S', B(0xba) } } },
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
	const struct scene_row *call = scene_row(row->scene);
	struct scene scene = scene_new(call);
	struct sharex *lock;
	uint64_t status;

	lock = lock_of(&scene, resource);
	if (resource == ENTRY && scene.entry && exclusive)
		atomic_fetch_or(scene.entry, SEPTE_TDEL);
	else if (lock)
		KTAP_EXPECT(exclusive ? sharex_try_exclusive(lock) : sharex_try_shared(lock));
	else
		conflict = false;

	status = scene_call(&scene, call).rax;
	if (!KTAP_EXPECT(conflict ? status == cell->busy : !tdx_status_code(status)))
		printf("# %s while %s is held %s: %s (0x%" PRIx64 ")\n", row->scene,
		       resource_name[resource], exclusive ? "exclusively" : "shared",
		       tdxm_status_name(status), status);
	scene.machine->unbalanced = true;
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
