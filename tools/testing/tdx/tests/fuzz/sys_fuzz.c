// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that was just loaded, on a machine that the input describes: bring-up
 * with TDMRs good and bad, shutdown, update.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/call.h"
#include "tests/fuzz/input.h"

#define MAX_LETTERS 64
/* Each GiB that is initialised costs as much as everything else together. */
#define MAX_TDMR_INITS 600
#define MAX_TDMRS_HERE 4
/* PAMTs of TDMR i, behind all TDMRs. */
#define PAMT_OF(i) ((8 + (i)) * TDX_1G)

static uint64_t mutate(uint64_t value, struct input *in)
{
	static const uint64_t others[] = {
		0,	     0x1000,	      WORLD_LOW_HOLE, TDX_2M,	   TDX_1G,
		2 * TDX_1G,  TDX_1G - 0x1000, PAMT_OF(0),     PAMT_OF(1),  4 * TDX_1G,
		BIT_U64(46), BIT_U64(52),     ~0ULL,	      16 * TDX_1G, MASK_U64(63, 12),
	};
	uint8_t how = input_u8(in);

	if (how < 0x60)
		return others[how % ARRAY_LEN(others)];
	if (how < 0x80)
		return value + TDX_PAGE_SIZE * (how % 8);
	if (how < 0xa0)
		return value - TDX_PAGE_SIZE * (how % 8);
	if (how < 0xf0)
		return value ^ BIT_U64(how % 64);
	return input_uint(in, 8);
}

static void mutate_platform(struct tdxm_platform *platform, struct input *in)
{
	uint8_t which = input_u8(in);

	switch (which % 8) {
	case 0:
		platform->nr_lps = mutate(0, in);
		break;
	case 1:
		platform->nr_packages = mutate(0, in);
		break;
	case 2:
		platform->lp_package[which / 8] = mutate(0, in);
		break;
	case 3:
		platform->maxphyaddr = which / 8 + 30;
		break;
	case 4:
		platform->keyid_bits = which / 8;
		break;
	case 5:
		platform->nr_tdx_keyids = mutate(0, in);
		break;
	case 6:
		platform->tsc_khz = mutate(0, in);
		platform->nr_cmrs = which / 8;
		break;
	case 7:
		platform->cmr[which / 16 % 2].base = mutate(WORLD_LOW_HOLE, in);
		platform->cmr[which / 16 % 2].size = mutate(TDX_1G, in);
		break;
	}
}

static struct tdxm_platform read_platform(struct input *in)
{
	uint8_t how = input_u8(in);
	struct tdxm_platform platform = {
		.nr_lps = 1 + how % 4,
		.nr_packages = 1 + how / 4 % 2,
		.maxphyaddr = 52,
		.keyid_bits = 6,
		.nr_mktme = how / 8 % 4,
		.nr_tdx_keyids = how & 0x20 ? 8 : 2,
		.native_cpuid_1_eax = 0xa06d1,
		.la57 = how & 0x40,
		.td_preserving = how & 0x80,
		.tsc_khz = 1000000,
		.nr_cmrs = 2,
		.cmr = { { WORLD_LOW_HOLE, 4 * TDX_1G - WORLD_LOW_HOLE },
			 { 4 * TDX_1G, 12 * TDX_1G } },
	};
	unsigned int i, count = input_u8(in);

	for (i = 0; i < platform.nr_lps; i++)
		platform.lp_package[i] = i % platform.nr_packages;
	/* Most machines are sane. */
	for (count = count < 0xc0 ? 0 : count % 4; count--;)
		mutate_platform(&platform, in);
	return platform;
}

static struct tdx_tdmr_info good_tdmr(unsigned int i)
{
	return (struct tdx_tdmr_info) {
		.base = i * TDX_1G,
		.size = TDX_1G,
		.pamt = { { PAMT_OF(i), 0x1000 },
			  { PAMT_OF(i) + 0x1000, 0x2000 },
			  { PAMT_OF(i) + 0x3000, 0x400000 } },
		.reserved = { { 0, i ? 0 : WORLD_LOW_HOLE } },
	};
}

static uint64_t call(struct world *w, unsigned int lp, uint64_t rax, uint64_t rcx, uint64_t rdx,
		     uint64_t r8, uint64_t r9)
{
	struct tdxm_regs in = { .rax = rax, .rcx = rcx, .rdx = rdx, .r8 = r8, .r9 = r9 }, out = in;
	unsigned int before = w->m->sys_state;
	enum tdxm_outcome outcome;

	lp %= w->m->platform.nr_lps;
	w->clock += 1000;
	outcome = tdxm_seamcall(w->m, lp, lp + 1, &out);
	if (outcome == TDXM_AGAIN) {
		w->pending[0] = (struct pending) { .used = true };
		return out.rax;
	}
	if (outcome == TDXM_VMFAIL_INVALID) {
		if (memcmp(&in, &out, sizeof(in)) || w->m->sys_state != before)
			world_broken("VMfailInvalid, and something changed");
		return out.rax;
	}
	if (!(in.rax & TDX_RAX_SEAMLDR) && !w->injected)
		fuzz_check_result(&in, &out);
	if (out.rax && w->m->sys_state != before)
		world_broken("%s: %s, and the system went from state %u to %u",
			     tdxm_leaf_name(in.rax & TDX_RAX_LEAF_MASK), tdxm_status_name(out.rax),
			     before, w->m->sys_state);
	if (w->pending[0].used)
		return out.rax;
	if (w->m->sys_lock.word || w->m->kot_lock.word || w->m->tdmr[0].lock.word)
		world_broken("a lock is held, and nobody is there");
	return out.rax;
}

static void play_config(struct world *w, struct input *in)
{
	uint8_t how = input_u8(in);
	unsigned int i, count = 1 + how % MAX_TDMRS_HERE;
	unsigned int mutations = how / 4 % 8 < 4 ? 0 : how / 4 % 4;
	uint64_t *array = world_at(w, WORLD_TDMRS);
	uint64_t rcx = WORLD_TDMRS, rdx = count, r8 = w->m->platform.nr_mktme + 1;

	for (i = 0; i < count; i++) {
		struct tdx_tdmr_info tdmr = good_tdmr(i);

		array[i] = WORLD_TDMRS + 512 * (i + 1);
		memcpy(world_at(w, array[i]), &tdmr, sizeof(tdmr));
	}
	while (mutations--) {
		unsigned int which = input_u8(in), word = input_u8(in);

		if (which < 0xe0)
			word = (1 + which % count) * 64 +
			       word % (sizeof(struct tdx_tdmr_info) / sizeof(uint64_t));
		else
			word %= count;
		array[word] = mutate(array[word], in);
	}
	if (how >= 0xe0) {
		rcx = mutate(rcx, in);
		rdx = mutate(rdx, in);
		r8 = mutate(r8, in);
	}
	call(w, how, TDH_SYS_CONFIG, rcx, rdx, r8, 0);
}

static void play_tdmr_init(struct world *w, struct input *in)
{
	uint8_t how = input_u8(in);
	unsigned int count = how & 0x80 ? 257 : 1;
	uint64_t base = how / 4 % 4 * TDX_1G;

	if (how & 0x40)
		base = mutate(base, in);
	while (count-- && w->nr_calls++ < MAX_TDMR_INITS)
		call(w, how, TDH_SYS_TDMR_INIT, base, 0, 0, 0);
}

static void play_install(struct world *w, struct input *in)
{
	uint8_t how = input_u8(in);
	uint64_t *params = world_at(w, WORLD_PARAMS);
	unsigned int lp;

	memset(params, 0, TDX_PAGE_SIZE);
	params[0] = BIT_U64(32); /* version 0, scenario UPDATE */
	params[1] = WORLD_SOURCE;
	params[15] = 1;
	params[16] = WORLD_SOURCE;
	if (how & 0x40)
		params[input_u8(in) % 20] = mutate(0, in);
	if (how & 0x80) {
		call(w, how, TDX_RAX_SEAMLDR + input_u8(in) % 3, WORLD_PARAMS, 0, 0, 0);
		return;
	}
	for (lp = 0; lp < w->m->platform.nr_lps; lp++)
		call(w, lp, TDX_RAX_SEAMLDR + 1, WORLD_PARAMS, 0, 0, 0);
}

/* All that Linux does, up to READY. */
static void play_bring_up(struct world *w, struct input *in)
{
	unsigned int lp;

	call(w, 0, TDH_SYS_INIT, 0, 0, 0, 0);
	for (lp = 0; lp < w->m->platform.nr_lps; lp++)
		call(w, lp, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	play_config(w, in);
	for (lp = 0; lp < w->m->platform.nr_lps; lp++)
		call(w, lp, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
}

/* Those whose operands are easy. */
static const uint8_t sys_leaves[] = {
	TDH_SYS_INIT,	 TDH_SYS_LP_INIT, TDH_SYS_KEY_CONFIG,  TDH_SYS_SHUTDOWN, TDH_SYS_UPDATE,
	TDH_SYS_DISABLE, TDH_SYS_INFO,	  TDH_SYS_LP_SHUTDOWN, TDH_SYS_CONFIG,	 TDH_SYS_TDMR_INIT,
};

/* Hold a call, or make it fail, while another LP makes one. */
static void play_held(struct world *w, struct input *in)
{
	uint8_t how = input_u8(in);
	struct tdxm_rule rule = {
		.action = TDXM_HOLD_ENTRY + how % 3,
		.leaf = sys_leaves[how / 4 % ARRAY_LEN(sys_leaves)],
		.first = 1,
		.status = TDX_RND_NO_ENTROPY,
		.timeout_ns = TDXM_MAX_HOLD_NS,
	};
	uint64_t rcx = rule.leaf == TDH_SYS_SHUTDOWN ? TDX_MODULE_HV : 0;
	uint32_t id;

	if (tdxm_arm(w->m, &rule, &id))
		return;
	call(w, 0, rule.leaf, rcx, 0, 0, 0);
	how = input_u8(in);
	if (w->pending[0].used && w->m->platform.nr_lps > 1)
		call(w, 1, sys_leaves[how % ARRAY_LEN(sys_leaves)], how & 0x80 ? 1 : rcx, 0, 0, 0);
	tdxm_disarm(w->m, id);
	if (w->pending[0].used) {
		w->pending[0].used = false;
		call(w, 0, rule.leaf, rcx, 0, 0, 0);
	}
	if (w->pending[0].used)
		world_broken("a call is held, and no rule is there");
}

static void play(struct world *w, struct input *in)
{
	uint8_t letter = input_u8(in), how;
	uint64_t rax, rcx, r9;

	switch (letter % 9) {
	case 0:
		play_bring_up(w, in);
		break;
	case 1:
		play_config(w, in);
		break;
	case 2:
		play_tdmr_init(w, in);
		break;
	case 3:
		play_install(w, in);
		break;
	case 4:
		how = input_u8(in);
		w->lp_state[how % WORLD_NR_LPS][how / 4 % 4] = how / 16;
		break;
	case 5:
		/* Leaves of a TD, whose page may be in no TDMR yet. */
		how = input_u8(in);
		rcx = WORLD_POOL + how % 4 * TDX_PAGE_SIZE;
		call(w, letter / 9, how / 4 % 48, how & 2 ? mutate(rcx, in) : rcx,
		     how & 1 ? WORLD_POOL : w->m->platform.nr_mktme + 2, WORLD_POOL, 0);
		break;
	case 6:
		call(w, letter / 9, TDH_SYS_RD, 0, ~0ULL >> input_u8(in) % 64, 0, 0);
		break;
	case 7:
		play_held(w, in);
		break;
	default:
		how = input_u8(in);
		rax = sys_leaves[how % ARRAY_LEN(sys_leaves)];
		rcx = rax == TDH_SYS_SHUTDOWN ? TDX_MODULE_HV : 0;
		if (how & 0x40)
			rax |= 1 << TDX_RAX_VERSION_SHIFT;
		r9 = how & 0x80 ? mutate(0, in) : 0;
		call(w, letter / 9, rax, how & 0x80 ? mutate(rcx, in) : rcx, 0, 0, r9);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct tdxm_platform platform = read_platform(&in);
	struct world *w = world_power_on(&platform);
	unsigned int i;

	for (i = 0; w && i < MAX_LETTERS && in.left; i++)
		play(w, &in);
	if (w)
		world_free(w);
	return 0;
}
