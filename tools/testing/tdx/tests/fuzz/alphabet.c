// SPDX-License-Identifier: GPL-2.0-only
/* Letters that are one SEAMCALL: the table of leaves, and the choice of operands. */
#include "tests/fuzz/alphabet.h"

#include <string.h>

#include "tests/fuzz/books.h"
#include "tests/fuzz/call.h"

enum operand {
	NONE,
	NEW_PAGE, /* what a leaf is to take: mostly a fresh page, of the size it wants */
	OWNED_PAGE,
	CACHED_PAGE, /* address and KeyID */
	A_TDR,
	A_TDR_OR_BIT0,
	A_TDVPR,
	GPA_4K,
	GPA_TABLE,
	GPA_LEAF,
	GPA_ANY,
	GPA_CHUNK,
	AN_HKID,
	PARAMS,
	SOURCE,
	SYS_FIELD,
	TD_FIELD,
	VCPU_FIELD,
	FIELD_VALUE,
	FIELD_MASK,
	SMALL,
};

/* A byte from here on asks for a value that is wrong in some way. */
#define WRONG 0xe8

/* Mark in @used, a map of pages from @base on, where @hpa is. */
static void mark(bool *used, unsigned int count, uint64_t base, uint64_t size, uint64_t hpa)
{
	if (hpa >= base && (hpa - base) / size < count)
		used[(hpa - base) / size] = true;
}

uint64_t alphabet_fresh_page(struct world *w, unsigned int level)
{
	uint64_t base = level ? WORLD_POOL_2M : WORLD_POOL;
	uint64_t size = level ? TDX_2M : TDX_PAGE_SIZE;
	unsigned int count = level ? WORLD_POOL_2M_PAGES : WORLD_POOL_PAGES, i;
	bool used[WORLD_POOL_PAGES] = {};

	for (i = 0; i < w->nr_tds; i++)
		mark(used, count, base, size, w->td[i].tdr);
	for (i = 0; i < w->nr_pages; i++) {
		if (w->page[i].tdr)
			mark(used, count, base, size, w->page[i].hpa);
	}
	for (i = 0; i < count - 1 && used[i]; i++)
		;
	return base + i * size;
}

uint16_t alphabet_free_hkid(struct world *w)
{
	uint16_t hkid = WORLD_GLOBAL_HKID;
	unsigned int i;
	bool used;

	do {
		hkid++;
		for (i = 0, used = false; i < w->nr_tds; i++)
			used |= w->td[i].hkid == hkid && w->td[i].has_hkid;
	} while (used);
	return hkid;
}

static uint64_t new_page(struct world *w, uint8_t byte, uint64_t rcx, unsigned int leaf)
{
	unsigned int level = leaf == TDH_MEM_PAGE_AUG ? rcx & TDX_GPA_LEVEL_MASK : 0;

	if (byte < 0xa0)
		return alphabet_fresh_page(w, level);
	if (byte < 0xb0)
		return WORLD_POOL + byte % 16 * TDX_PAGE_SIZE;
	if (byte < 0xc0)
		return WORLD_POOL_2M + byte % 4 * TDX_2M + byte / 4 % 2 * TDX_PAGE_SIZE;
	if (byte < 0xd0)
		return alphabet_fresh_page(w, !level);
	return w->nr_pages ? w->page[byte % w->nr_pages].hpa : WORLD_POOL;
}

static uint64_t owned_page(struct world *w, uint8_t byte)
{
	if (byte >= 0xd0 && w->nr_tds)
		return w->td[byte % w->nr_tds].tdr;
	return w->nr_pages ? w->page[byte % w->nr_pages].hpa : WORLD_POOL;
}

static uint64_t cached_page(struct world *w, uint8_t byte)
{
	struct book_page *page = w->nr_pages ? &w->page[byte % w->nr_pages] : NULL;

	if (!page || byte >= 0xd0)
		return WITH_KEYID(WORLD_POOL + byte % 16 * TDX_PAGE_SIZE, byte % 16);
	return WITH_KEYID(page->hpa, page->hkid);
}

static uint64_t a_tdr(struct world *w, uint8_t byte)
{
	return w->nr_tds ? w->td[byte % w->nr_tds].tdr : WORLD_POOL;
}

static uint64_t a_tdvpr(struct world *w, uint8_t byte)
{
	unsigned int count = books_count(w, PT_TDVPR, 0);

	return count ? books_nth(w, byte % count, PT_TDVPR, 0)->hpa : WORLD_POOL;
}

static uint64_t a_gpa(uint8_t byte, unsigned int level)
{
	/* Neighbours in one table, other tables, and both sides of the shared bit. */
	static const uint64_t gpas[16] = {
		0,	     0x1000,	      0x2000,	   0x1ff000,
		TDX_2M,	     TDX_2M + 0x1000, 2 * TDX_2M,  TDX_1G,
		TDX_1G * 2,  BIT_U64(39),     BIT_U64(46), BIT_U64(47),
		BIT_U64(48), BIT_U64(50),     BIT_U64(51), MASK_U64(46, 12),
	};

	return (gpas[byte % 16] & ~(TDX_LEVEL_SIZE(level) - 1)) | level;
}

static uint64_t an_hkid(struct world *w, uint8_t byte)
{
	return byte < 0xc0 ? alphabet_free_hkid(w) : byte % 16;
}

static uint64_t sys_field(uint8_t byte)
{
	static const uint64_t ids[] = {
		~0ULL,
		0x0a00000300000008,
		0x9100000100000008,
		0x9100000100000010,
		0x9100000100000012,
		0x9800000100000200,
		0x1900000300000000,
		0x1900000300000003,
		0x9900000100000004,
		0x9900000100000008,
		0x9900000300000400,
		0x990000030000041b,
		0x9900000300000500,
		0x9900000300000537,
		0x0800000100000003,
		0x8900000100000000,
		0x0a00001300000008,
		0x0a80000300000008,
		0x3f00000000000000,
	};

	return ids[byte % ARRAY_LEN(ids)];
}

static uint64_t td_field(uint8_t byte)
{
	static const uint64_t ids[] = {
		~0ULL,
		0x110000000000000a,
		0x111000030000000b,
		0x8010000300000004,
		0x8010000200000005,
		0x8110000100000001,
		0x9010000200000001,
		0x9010000200000002,
		0x9010000200000004,
		0x9210000300000000,
		0x9210000100000001,
		0x1310000300000000,
		0x1310000300000005,
		0x1310000300000006,
		0x3f10000000000000,
	};
	static const uint32_t leaves[] = { 0x0,	 0x1,  0x2,  0x4,	 0x7,	     0xd,
					   0x15, 0x18, 0x1f, 0x80000000, 0x80000008, 0x40000000 };
	uint32_t leaf = leaves[byte % ARRAY_LEN(leaves)];

	if (byte < 0x80)
		return ids[byte % ARRAY_LEN(ids)];
	return 0x9410000300000000ULL | (uint64_t)(leaf >> 31) << 16 | (leaf & 0x7f) << 9 |
	       (byte & 0x40 ? 0x1fe : (byte & 0x30) >> 3) | (byte & 1);
}

static uint64_t vcpu_field(uint8_t byte)
{
	static const uint64_t ids[] = {
		0x0002,
		0x2016,
		0x4000,
		0x203c,
		0x401e,
		0x4024,
		0x202000000000000b,
		0x9120000300000100,
		~0ULL,
		0x4002,
		0x3f20000000000000,
	};

	return ids[byte % ARRAY_LEN(ids)];
}

static uint64_t field_value(struct world *w, uint8_t byte)
{
	static const uint64_t values[] = {
		0,
		1,
		0x20,
		0x80,
		0xf2,
		0xff,
		0x100,
		~0ULL,
		0xffff,
		WORLD_SOURCE,
		WORLD_SOURCE + 64,
		WORLD_SOURCE + 32,
		BIT_U64(31),
	};

	if (byte >= 0xc0)
		return owned_page(w, byte);
	return values[byte % ARRAY_LEN(values)];
}

static uint64_t field_mask(uint8_t byte)
{
	static const uint64_t masks[] = { ~0ULL, 0xff, 0xffff, BIT_U64(7), 0, MASK_U64(51, 12), 1 };

	return masks[byte % ARRAY_LEN(masks)];
}

/* A value as the kernel would pass it, if @byte is below WRONG. */
static uint64_t choose(struct world *w, enum operand kind, uint8_t byte, unsigned int leaf,
		       uint64_t rcx)
{
	switch (kind) {
	case NONE:
		return 0;
	case NEW_PAGE:
		return new_page(w, byte, rcx, leaf);
	case OWNED_PAGE:
		return owned_page(w, byte);
	case CACHED_PAGE:
		return cached_page(w, byte);
	case A_TDR:
		return a_tdr(w, byte);
	case A_TDR_OR_BIT0:
		return a_tdr(w, byte / 2) | (byte & 1);
	case A_TDVPR:
		return a_tdvpr(w, byte);
	case GPA_4K:
		return a_gpa(byte, 0);
	case GPA_TABLE:
		return a_gpa(byte, byte / 16 % 4 + 1);
	case GPA_LEAF:
		return a_gpa(byte, byte / 16 % 4 == 3);
	case GPA_ANY:
		return a_gpa(byte, byte < 0x80 ? 0 : byte / 16 % 8 % 6);
	case GPA_CHUNK:
		return a_gpa(byte, 0) + byte / 16 * 256;
	case AN_HKID:
		return an_hkid(w, byte);
	case PARAMS:
		return WORLD_PARAMS;
	case SOURCE:
		return byte < 0x80 ? WORLD_SOURCE :
		       byte < 0xa0 ? owned_page(w, byte) :
				     WITH_KEYID(WORLD_SOURCE, 1);
	case SYS_FIELD:
		return sys_field(byte);
	case TD_FIELD:
		return td_field(byte);
	case VCPU_FIELD:
		return vcpu_field(byte);
	case FIELD_VALUE:
		return field_value(w, byte);
	case FIELD_MASK:
		return field_mask(byte);
	case SMALL:
		return byte % 8;
	}
	return 0;
}

static uint64_t spoil(struct world *w, struct input *in, uint64_t value)
{
	uint8_t how = input_u8(in);

	if (how < 0xc0)
		return value ^ BIT_U64(how % 64);
	if (how < 0xd0)
		return value + (how % 16) * 256;
	if (how < 0xe0)
		return w->nr_pages ? w->page[how % w->nr_pages].hpa : 0;
	if (how < 0xf0)
		return ~0ULL;
	return input_uint(in, 8);
}

static uint64_t read_operand(struct world *w, struct input *in, enum operand kind,
			     unsigned int leaf, uint64_t rcx)
{
	uint8_t byte;
	uint64_t value;

	if (kind == NONE)
		return 0;
	byte = input_u8(in);
	value = choose(w, kind, byte, leaf, rcx);
	return byte < WRONG ? value : spoil(w, in, value);
}

static void play_call(struct world *w, struct input *in, const struct letter *letter)
{
	uint8_t how = input_u8(in);
	uint64_t rax = letter->leaf | (uint64_t)letter->version << TDX_RAX_VERSION_SHIFT;
	uint64_t rcx, rdx, r8, r9;

	if (how >= 0xf8)
		rax ^= BIT_U64(16 + input_u8(in) % 47);
	else if (how >= 0xd0)
		rax ^= BIT_U64(TDX_RAX_VERSION_SHIFT);
	rcx = read_operand(w, in, letter->rcx, letter->leaf, 0);
	rdx = read_operand(w, in, letter->rdx, letter->leaf, 0);
	r8 = read_operand(w, in, letter->r8, letter->leaf, rcx);
	r9 = read_operand(w, in, letter->r9, letter->leaf, rcx);
	fuzz_call4(w, how % WORLD_NR_LPS, rax, rcx, rdx, r8, r9);
}

/* Any leaf number, but for those that take the whole module down. */
static void play_raw(struct world *w, struct input *in, const struct letter *letter)
{
	unsigned int leaf = input_u8(in) % (TDH_SYS_DISABLE + 2);

	(void)letter;
	if (leaf == TDH_SYS_SHUTDOWN)
		return;
	fuzz_call4(w, 0, leaf, input_uint(in, 8), input_uint(in, 8), input_uint(in, 2),
		   input_uint(in, 2));
}

#define CALL(num, ...)                                        \
	{                                                     \
		.play = play_call, .leaf = (num), __VA_ARGS__ \
	}

static const struct letter letters[] = {
	{ .play = recipe_build },
	{ .play = recipe_vcpu },
	{ .play = recipe_zap },
	{ .play = recipe_release_key },
	{ .play = around_params },
	{ .play = around_lp_state },
	{ .play = around_arm },
	{ .play = around_release },
	{ .play = around_busy_once },
	{ .play = around_resume },
	{ .play = around_query },
	{ .play = play_raw },
	CALL(TDH_VP_ENTER, .rcx = A_TDVPR),
	CALL(TDH_MNG_ADDCX, .rcx = NEW_PAGE, .rdx = A_TDR),
	CALL(TDH_MEM_PAGE_ADD, .rcx = GPA_4K, .rdx = A_TDR, .r8 = NEW_PAGE, .r9 = SOURCE),
	CALL(TDH_MEM_SEPT_ADD, .rcx = GPA_TABLE, .rdx = A_TDR_OR_BIT0, .r8 = NEW_PAGE),
	CALL(TDH_VP_ADDCX, .rcx = NEW_PAGE, .rdx = A_TDVPR),
	CALL(TDH_MEM_PAGE_AUG, .rcx = GPA_LEAF, .rdx = A_TDR, .r8 = NEW_PAGE),
	CALL(TDH_MEM_RANGE_BLOCK, .rcx = GPA_ANY, .rdx = A_TDR),
	CALL(TDH_MNG_KEY_CONFIG, .rcx = A_TDR),
	CALL(TDH_MNG_CREATE, .rcx = NEW_PAGE, .rdx = AN_HKID),
	CALL(TDH_VP_CREATE, .rcx = NEW_PAGE, .rdx = A_TDR),
	CALL(TDH_MNG_RD, .rcx = A_TDR, .rdx = TD_FIELD),
	CALL(TDH_MR_EXTEND, .rcx = GPA_CHUNK, .rdx = A_TDR),
	CALL(TDH_MR_FINALIZE, .rcx = A_TDR),
	CALL(TDH_VP_FLUSH, .rcx = A_TDVPR),
	CALL(TDH_MNG_VPFLUSHDONE, .rcx = A_TDR),
	CALL(TDH_MNG_KEY_FREEID, .rcx = A_TDR),
	CALL(TDH_MNG_INIT, .rcx = A_TDR, .rdx = PARAMS),
	CALL(TDH_VP_INIT, .version = 1, .rcx = A_TDVPR, .rdx = SMALL, .r8 = SMALL),
	CALL(TDH_PHYMEM_PAGE_RDMD, .rcx = OWNED_PAGE),
	CALL(TDH_VP_RD, .rcx = A_TDVPR, .rdx = VCPU_FIELD),
	CALL(TDH_PHYMEM_PAGE_RECLAIM, .rcx = OWNED_PAGE),
	CALL(TDH_MEM_PAGE_REMOVE, .rcx = GPA_ANY, .rdx = A_TDR),
	CALL(TDH_SYS_RD, .rdx = SYS_FIELD),
	CALL(TDH_MEM_TRACK, .rcx = A_TDR),
	CALL(TDH_PHYMEM_CACHE_WB, .rcx = SMALL),
	CALL(TDH_PHYMEM_PAGE_WBINVD, .rcx = CACHED_PAGE),
	CALL(TDH_VP_WR, .rcx = A_TDVPR, .rdx = VCPU_FIELD, .r8 = FIELD_VALUE, .r9 = FIELD_MASK),
	CALL(TDH_SYS_TDMR_INIT, .rcx = SMALL),
	CALL(TDH_SYS_CONFIG, .rcx = PARAMS, .rdx = SMALL, .r8 = SMALL),
	CALL(TDH_SYS_INIT, .rcx = SMALL),
	CALL(TDH_SYS_LP_INIT),
	CALL(TDH_SYS_KEY_CONFIG),
	CALL(TDH_SYS_DISABLE),
};

void alphabet_play(struct world *w, struct input *in)
{
	const struct letter *letter = &letters[input_u8(in) % ARRAY_LEN(letters)];

	letter->play(w, in, letter);
}

void alphabet_default_params(struct world *w)
{
	struct tdx_td_params *params = world_at(w, WORLD_PARAMS);

	*params = (struct tdx_td_params) {
		.xfam = TDX_XFAM_FIXED1,
		.max_vcpus = 4,
		.eptp_controls = 6 | 3 << 3,
		.config_flags = TDX_CONFIG_FLAGS_NO_RBP_MOD,
		.tsc_frequency = 40,
	};
}
