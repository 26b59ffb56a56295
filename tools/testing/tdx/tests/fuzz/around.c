// SPDX-License-Identifier: GPL-2.0-only
/* Letters that change what is around the module: TD_PARAMS, the LPs, rules. */
#include "tests/fuzz/alphabet.h"

#include <errno.h>

#include "module/query.h"
#include "tests/fuzz/books.h"
#include "tests/fuzz/call.h"

#define AT(member) offsetof(struct tdx_td_params, member)

/* Bytes of TD_PARAMS that decide something; the rest comes from the input as it is. */
static const uint16_t interesting[] = {
	AT(attributes),
	AT(attributes) + 3,
	AT(attributes) + 7,
	AT(xfam),
	AT(xfam) + 1,
	AT(xfam) + 2,
	AT(max_vcpus),
	AT(max_vcpus) + 1,
	AT(num_l2_vms),
	AT(msr_config_ctls),
	AT(reserved20) + 3,
	AT(eptp_controls),
	AT(config_flags),
	AT(tsc_frequency),
	AT(tsc_frequency) + 1,
	AT(reserved42) + 37,
	AT(arch_capabilities),
	AT(reserved232),
	AT(cpuid),
	AT(cpuid) + 1,
	AT(cpuid) + 2,
	AT(cpuid[5].ebx),
	AT(cpuid[5].ebx) + 1,
	AT(cpuid[9]),
	AT(cpuid[12].eax),
	AT(cpuid[12].ecx) + 1,
	AT(cpuid[13].eax),
	AT(cpuid[13].ecx) + 1,
	AT(cpuid[28]),
};

void around_params(struct world *w, struct input *in, const struct letter *letter)
{
	uint8_t *params = world_at(w, WORLD_PARAMS);
	unsigned int count = input_u8(in) % 4;

	(void)letter;
	alphabet_default_params(w);
	/* A debug TD with five levels of tables is right, and rarely guessed. */
	if (!count) {
		params[AT(attributes)] = TDX_ATTR_DEBUG;
		params[AT(eptp_controls)] = 6 | 4 << 3;
		params[AT(config_flags)] = input_u8(in) & TDX_CONFIG_FLAGS_ALLOWED;
	}
	while (count--) {
		uint8_t which = input_u8(in);
		unsigned int at = which < 0xc0 ? interesting[which % ARRAY_LEN(interesting)] :
						 input_uint(in, 2) % sizeof(struct tdx_td_params);

		params[at] = input_u8(in);
	}
}

void around_lp_state(struct world *w, struct input *in, const struct letter *letter)
{
	uint8_t which = input_u8(in);

	(void)letter;
	w->lp_state[which % WORLD_NR_LPS][which / 16 % 4] = which >> 6;
}

void around_arm(struct world *w, struct input *in, const struct letter *letter)
{
	static const uint8_t leaves[] = {
		TDH_VP_ENTER,	     TDH_MEM_PAGE_ADD,	  TDH_MEM_SEPT_ADD,	   TDH_MEM_PAGE_AUG,
		TDH_MEM_RANGE_BLOCK, TDH_MEM_PAGE_REMOVE, TDH_MEM_TRACK,	   TDH_MR_EXTEND,
		TDH_VP_INIT,	     TDH_VP_WR,		  TDH_PHYMEM_PAGE_RECLAIM, TDH_MNG_CREATE,
		TDH_MNG_ADDCX,	     TDH_MNG_KEY_FREEID,  TDH_MNG_VPFLUSHDONE,	   TDH_VP_FLUSH,
	};
	/* What Linux knows how to handle, and what it does not. */
	static const uint64_t statuses[] = {
		TDX_OPERAND_BUSY + OP_RCX,    TDX_OPERAND_BUSY + OP_TDR,
		TDX_OPERAND_INVALID + OP_RCX, TDX_PREVIOUS_TLB_EPOCH_BUSY,
		TDX_RND_NO_ENTROPY,	      TDX_EXIT_REASON_TDCALL,
		TDX_NON_RECOVERABLE_TD,	      TDX_SUCCESS,
	};
	uint8_t how = input_u8(in), where = input_u8(in), when = input_u8(in);
	struct tdxm_rule rule = {
		.action = how % 4,
		.leaf = how < 0xc0 ? leaves[how / 4 % ARRAY_LEN(leaves)] : input_u8(in),
		.tdr = where & 1 && w->nr_tds ? w->td[where / 2 % w->nr_tds].tdr : 0,
		.gpa = (where / 16 & 3) * TDX_PAGE_SIZE,
		.gpa_size = where & 0x80 ? TDX_PAGE_SIZE : 0,
		.first = when % 4,
		.count = when / 4 % 4,
		.status = statuses[when / 16 % ARRAY_LEN(statuses)],
		.timeout_ns = when & 0x80 ? TDXM_MAX_HOLD_NS : when / 16 * 1000,
	};
	uint32_t id;

	(void)letter;
	tdxm_arm(w->m, &rule, &id);
}

void around_release(struct world *w, struct input *in, const struct letter *letter)
{
	uint8_t which = input_u8(in);
	uint32_t id = w->m->steer.armed[which % TDXM_MAX_RULES].id;
	struct tdxm_rule_state state;

	(void)letter;
	tdxm_rule_state(w->m, id, &state);
	if (which < 0x80)
		tdxm_release(w->m, id);
	else
		tdxm_disarm(w->m, id);
}

void around_busy_once(struct world *w, struct input *in, const struct letter *letter)
{
	(void)letter;
	tdxm_set_busy_once(w->m, input_u8(in) & 1);
}

/* None of this changes anything, whatever is held. */
void around_query(struct world *w, struct input *in, const struct letter *letter)
{
	uint8_t what = input_u8(in), which = input_u8(in);
	uint64_t tdr = w->nr_tds ? w->td[which % w->nr_tds].tdr : WORLD_POOL;
	uint64_t gpa = which / 16 * TDX_PAGE_SIZE;
	struct tdxm_td_info td;
	struct tdxm_sept_info sept;
	struct tdxm_page_info page;
	uint8_t buf[64];

	(void)letter;
	switch (what % 8) {
	case 0:
		if (tdxm_query_td(w->m, which % 8, &td) != (which % 8 < w->nr_tds ? 0 : -ENOENT))
			world_broken("query of TD %u of %u", which % 8, w->nr_tds);
		break;
	case 1:
		tdxm_query_sept(w->m, tdr, gpa, what / 8 % 6, &sept);
		break;
	case 2:
		tdxm_query_page(w->m, tdr + gpa, &page);
		break;
	case 3:
		tdxm_query_bytes(w->m, tdr, gpa + what / 8 * 64, buf, sizeof(buf));
		break;
	case 4:
		tdxm_query_mrtd(w->m, tdr, buf);
		break;
	case 5:
		tdxm_query_count(w->m, which % 80, 0, 0);
		break;
	case 6:
		tdxm_host_store(w->m, what / 8 % 4 - 1, which < 0x80 ? tdr + gpa : WORLD_PAMT, NULL,
				0);
		break;
	case 7:
		tdxm_set_latency(w->m, which);
		break;
	}
	fuzz_expect_unchanged(w, "a query");
}

void around_resume(struct world *w, struct input *in, const struct letter *letter)
{
	uint8_t slot = input_u8(in);

	(void)letter;
	/* Time may be up, too. */
	if (slot & 0x80)
		w->clock += 10000;
	fuzz_resume(w, slot % WORLD_CONTEXTS);
}
