// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looking into the emulated TDX host: what it tells of a TD, its S-EPT, its
 * pages and their contents is what KVM was asked to make of them; what is asked
 * wrongly is refused and harms nothing.  Steering is in tdx_init_mem_steer_test.
 */
#include "tdx_init_mem.h"
#include "tdx_init_mem_emulator_look.h"

/* Requests that are wrong.  Three values stand for what only the run knows. */
#define TDR 0xfeed01
#define GPA 0xfeed02
#define RULE_64 0xfeed03

struct bad {
	struct td td;
	u64 tdr;
	u64 rule;
};

FIXTURE(bad)
{
	struct bad b;
};

FIXTURE_VARIANT(bad)
{
	struct tdx_emul_regs regs;
	int err;
};

#define BAD(_name) FIXTURE_VARIANT_ADD(bad, _name)

BAD(request_0) { { .rcx = 0 }, EINVAL };
BAD(request_15) { { .rcx = TDX_EMUL_READ_HOST + 1 }, EINVAL };
BAD(request_max) { { .rcx = 0xffffffff }, EINVAL };

/* clang-format off */
#define ARM(_action, _leaf) .rcx = TDX_EMUL_ARM, .rbx = TDX_EMUL_RULE(_action, _leaf)
#define HOLD(_leaf) ARM(TDX_EMUL_HOLD_ENTRY, _leaf)
/* clang-format on */

BAD(arm_action_0) { { ARM(0, TDH_MEM_PAGE_ADD), .r8 = 1, .r11 = 1 }, EINVAL };
BAD(arm_action_4) { { ARM(4, TDH_MEM_PAGE_ADD), .r8 = 1, .r11 = 1 }, EINVAL };
BAD(arm_unknown_leaf) { { HOLD(255), .r8 = 1, .r11 = 1 }, EINVAL };
BAD(arm_leaf_past_table) { { HOLD(0x10002), .r8 = 1, .r11 = 1 }, EINVAL };
BAD(arm_zeroth_call) { { HOLD(TDH_MEM_PAGE_ADD), .r11 = 1 }, EINVAL };
BAD(arm_no_timeout) { { HOLD(TDH_MEM_PAGE_ADD), .r8 = 1 }, EINVAL };
BAD(arm_endless) { { HOLD(TDH_MEM_PAGE_ADD), .r8 = 1, .r11 = 60001 }, EINVAL };
BAD(arm_fail_with_success) { { ARM(TDX_EMUL_FAIL, TDH_MEM_PAGE_ADD), .r8 = 1 }, EINVAL };
BAD(arm_gpa_without_gpa) { { HOLD(TDH_MNG_INIT), .rdi = 1, .r8 = 1, .r11 = 1 }, EINVAL };

BAD(release_none) { { .rcx = TDX_EMUL_RELEASE, .rbx = 0 }, ENOENT };
BAD(release_unknown) { { .rcx = TDX_EMUL_RELEASE, .rbx = 0x7fffffff }, ENOENT };
BAD(release_high_bits) { { .rcx = TDX_EMUL_RELEASE, .rbx = RULE_64 }, ENOENT };
BAD(disarm_unknown) { { .rcx = TDX_EMUL_DISARM, .rbx = 0x7fffffff }, ENOENT };
BAD(disarm_high_bits) { { .rcx = TDX_EMUL_DISARM, .rbx = RULE_64 }, ENOENT };
BAD(state_of_none) { { .rcx = TDX_EMUL_RULE_STATE, .rbx = 0 }, ENOENT };
BAD(state_of_unknown) { { .rcx = TDX_EMUL_RULE_STATE, .rbx = 0x7fffffff }, ENOENT };
BAD(state_high_bits) { { .rcx = TDX_EMUL_RULE_STATE, .rbx = RULE_64 }, ENOENT };

BAD(count_leaf_past_32_bits) { { .rcx = TDX_EMUL_COUNT, .rbx = BIT_ULL(32) }, EINVAL };

BAD(td_past_last) { { .rcx = TDX_EMUL_TD, .rbx = 1000 }, ENOENT };
BAD(td_past_32_bits) { { .rcx = TDX_EMUL_TD, .rbx = BIT_ULL(32) }, EINVAL };

BAD(sept_no_td) { { .rcx = TDX_EMUL_SEPT, .rbx = 0, .rdx = GPA }, ENOENT };
BAD(sept_no_tdr) { { .rcx = TDX_EMUL_SEPT, .rbx = 0x100000, .rdx = GPA }, ENOENT };
BAD(sept_no_address) { { .rcx = TDX_EMUL_SEPT, .rbx = ~0ull, .rdx = GPA }, ENOENT };
BAD(sept_level_5) { { .rcx = TDX_EMUL_SEPT, .rbx = TDR, .rdx = 0, .rsi = 5 }, EINVAL };
BAD(sept_level_4_of_4) { { .rcx = TDX_EMUL_SEPT, .rbx = TDR, .rdx = 0, .rsi = 4 }, EINVAL };
BAD(sept_level_max) { { .rcx = TDX_EMUL_SEPT, .rbx = TDR, .rdx = 0, .rsi = ~0ull }, EINVAL };
BAD(sept_gpa_unaligned) { { .rcx = TDX_EMUL_SEPT, .rbx = TDR, .rdx = 1 }, EINVAL };
BAD(sept_gpa_unaligned_2m) { { .rcx = TDX_EMUL_SEPT, .rbx = TDR, .rdx = 4096, .rsi = 1 }, EINVAL };
BAD(sept_gpa_shared) { { .rcx = TDX_EMUL_SEPT, .rbx = TDR, .rdx = VM_TDX_SHARED_BIT }, EINVAL };
BAD(sept_gpa_max) { { .rcx = TDX_EMUL_SEPT, .rbx = TDR, .rdx = -4096ull }, EINVAL };

BAD(page_unaligned) { { .rcx = TDX_EMUL_PAGE, .rbx = 0x100001 }, EINVAL };
BAD(page_beyond_memory) { { .rcx = TDX_EMUL_PAGE, .rbx = BIT_ULL(50) }, ENOENT };
BAD(page_max) { { .rcx = TDX_EMUL_PAGE, .rbx = -4096ull }, ENOENT };

BAD(read_no_td) { { .rcx = TDX_EMUL_READ, .rbx = 0, .rdx = GPA }, ENOENT };
BAD(read_not_mapped) { { .rcx = TDX_EMUL_READ, .rbx = TDR, .rdx = 0 }, ENOENT };
BAD(read_over_page_end) { { .rcx = TDX_EMUL_READ, .rbx = TDR, .rdx = TD_GPA + 4033 }, EINVAL };
BAD(read_gpa_shared) { { .rcx = TDX_EMUL_READ, .rbx = TDR, .rdx = VM_TDX_SHARED_BIT }, EINVAL };
BAD(read_gpa_max) { { .rcx = TDX_EMUL_READ, .rbx = TDR, .rdx = -64ull }, EINVAL };

BAD(read_host_unaligned) { { .rcx = TDX_EMUL_READ_HOST, .rbx = 8 }, EINVAL };
BAD(read_host_beyond_memory) { { .rcx = TDX_EMUL_READ_HOST, .rbx = BIT_ULL(50) }, ENOENT };
BAD(read_host_max) { { .rcx = TDX_EMUL_READ_HOST, .rbx = -64ull }, ENOENT };

BAD(mrtd_no_td) { { .rcx = TDX_EMUL_MRTD, .rbx = 0 }, ENOENT };
BAD(mrtd_unaligned) { { .rcx = TDX_EMUL_MRTD, .rbx = TDR + 1 }, ENOENT };
BAD(mrtd_of_gpa) { { .rcx = TDX_EMUL_MRTD, .rbx = GPA }, ENOENT };

BAD(latency_above_limit) { { .rcx = TDX_EMUL_LATENCY, .rbx = 100001 }, EINVAL };
BAD(latency_max) { { .rcx = TDX_EMUL_LATENCY, .rbx = ~0ull }, EINVAL };
BAD(busy_once_twice) { { .rcx = TDX_EMUL_BUSY_ONCE, .rbx = 2 }, EINVAL };

/* Every register has a value of its own, so that a changed one is noticed. */
static void bad_resolve(const struct bad *b, struct tdx_emul_regs *regs)
{
	u64 *reg = (u64 *)regs;
	unsigned int i;

	for (i = 0; i < sizeof(*regs) / sizeof(*reg); i++) {
		if (reg[i] == TDR || reg[i] == TDR + 1)
			reg[i] += b->tdr - TDR;
		else if (reg[i] == GPA)
			reg[i] = TD_GPA;
		else if (reg[i] == RULE_64)
			reg[i] = b->rule | BIT_ULL(32);
	}
	regs->rax = TDX_EMUL_LEAF_CONTROL;
	regs->r12 = 0x1212121212121212;
	regs->r13 = 0x1313131313131313;
	regs->r14 = 0x1414141414141414;
	regs->r15 = 0x1515151515151515;
}

FIXTURE_SETUP(bad)
{
	const struct tdx_emul_rule rule = {
		.action = TDX_EMUL_HOLD_ENTRY,
		.leaf = TDH_MNG_CREATE,
	};
	struct tdx_emul_td newest;

	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	tdx_emul_reset();
	td_create(&self->b.td);
	ASSERT_EQ(0, tdx_emul_newest_td(&newest));
	self->b.tdr = newest.tdr;
	ASSERT_EQ(0, td_add(&self->b.td, 0, 1));
	ASSERT_EQ(0, tdx_emul_arm(&rule, &self->b.rule));
}

FIXTURE_TEARDOWN(bad)
{
	tdx_emul_reset();
	td_destroy(&self->b.td);
	td_audit(_metadata);
}

TD_TEST_F(bad, request_is_refused)
{
	struct tdx_emul_regs before = variant->regs, after;
	struct tdx_emul_rule_state state;

	bad_resolve(&self->b, &before);
	after = before;
	tdx_emul_cpuid(&after);
	EXPECT_EQ(variant->err, after.rax)
	{
		TH_LOG("want %s, got %s", tdx_errno_name(variant->err), tdx_errno_name(after.rax));
	}

	after.rax = before.rax;
	EXPECT_TRUE(!memcmp(&before, &after, sizeof(before)))
	{
		TH_LOG("a refused request changed a register besides RAX");
	}
	EXPECT_EQ(0, tdx_emul_rule_state(self->b.rule, &state))
	{
		TH_LOG("the rule that is armed is gone");
	}
}

TD_TEST_F(look, rules_run_out)
{
	const struct tdx_emul_rule rule = {
		.action = TDX_EMUL_HOLD_ENTRY,
		.leaf = TDH_MEM_PAGE_ADD,
		.tdr = self->tdr,
	};
	unsigned int i;
	u64 id, first = 0;

	for (i = 0; i < TDX_EMUL_MAX_RULES; i++) {
		ASSERT_EQ(0, tdx_emul_arm(&rule, &id));
		first = first ?: id;
	}
	EXPECT_RESULT(-ENOSPC, tdx_emul_arm(&rule, &id));
	EXPECT_RESULT(0, tdx_emul_disarm(first));
	EXPECT_RESULT(0, tdx_emul_arm(&rule, &id));
	EXPECT_NE(first, id);
	EXPECT_RESULT(-ENOENT, tdx_emul_release(first));
	EXPECT_RESULT(0, tdx_emul_disarm(0));
	EXPECT_RESULT(-ENOENT, tdx_emul_release(id));
	EXPECT_RESULT(0, td_add(&self->td, 0, 1));
}

/*
 * Anything at all may be asked.  It may change how later calls go, nothing
 * else: the TD and its memory, the source, and the host's books are as before.
 */
#define FUZZ_REQUESTS 5000

/* Values that mean something in one register or another, besides random ones. */
static u64 fuzz_value(u64 *random, const struct tdx_emul_sept *sept, u64 tdr)
{
	const u64 values[] = {
		tdr,
		sept->hpa,
		TD_GPA,
		td_gpa(1),
		0,
		1,
		2,
		4,
		PAGE_SIZE,
		~0ull,
		BIT_ULL(32),
		TDX_EMUL_RULE(TDX_EMUL_FAIL, TDH_MEM_PAGE_ADD),
		TDX_EMUL_RULE(TDX_EMUL_HOLD_LOCKED, TDH_MEM_SEPT_ADD),
	};
	u64 choice = td_random(random) >> 32;

	if (choice % 4 == 0)
		return td_random(random);
	if (choice % 4 == 1)
		return td_random(random) >> (choice >> 8) % 64;

	return values[(choice >> 8) % ARRAY_SIZE(values)];
}

TD_TEST_F(look, random_requests_harm_nothing)
{
	struct tdx_emul_audit books_before, books_after;
	struct tdx_emul_td td_before, td_after;
	u8 mrtd_before[TDX_EMUL_MRTD_SIZE], mrtd_after[TDX_EMUL_MRTD_SIZE];
	void *source = td_mmap(TD_SIZE);
	unsigned int i, reg, page, answered = 0;
	struct tdx_emul_sept sept;

	look_fill(&self->td, &self->random);
	memcpy(source, self->td.source, TD_SIZE);
	ASSERT_EQ(0, td_add(&self->td, 0, TD_NR_PAGES));
	ASSERT_EQ(0, tdx_emul_sept(self->tdr, TD_GPA, 0, &sept));
	ASSERT_EQ(0, tdx_emul_find_td(self->tdr, &td_before));
	ASSERT_EQ(0, tdx_emul_mrtd(self->tdr, mrtd_before));
	ASSERT_EQ(0, tdx_emul_audit(&books_before));

	for (i = 0; i < FUZZ_REQUESTS; i++) {
		struct tdx_emul_regs regs;

		for (reg = 0; reg < sizeof(regs) / sizeof(u64); reg++)
			((u64 *)&regs)[reg] = fuzz_value(&self->random, &sept, self->tdr);
		regs.rax = TDX_EMUL_LEAF_CONTROL;
		regs.rcx = (td_random(&self->random) >> 32) % (TDX_EMUL_READ_HOST + 3);
		tdx_emul_cpuid(&regs);
		answered += !regs.rax;
		EXPECT_TRUE(regs.rax == 0 || regs.rax == EINVAL || regs.rax == ENOENT ||
			    regs.rax == ENOSPC)
		{
			TH_LOG("request %u: undocumented answer %lu", i, regs.rax);
		}
	}
	printf("# %u random requests, %u of them answered\n", i, answered);
	tdx_emul_reset();

	ASSERT_EQ(0, tdx_emul_find_td(self->tdr, &td_after));
	ASSERT_EQ(0, tdx_emul_mrtd(self->tdr, mrtd_after));
	ASSERT_EQ(0, tdx_emul_audit(&books_after));
	EXPECT_TRUE(!memcmp(&td_before, &td_after, sizeof(td_before)));
	EXPECT_TRUE(!memcmp(mrtd_before, mrtd_after, sizeof(mrtd_before)));
	EXPECT_TRUE(!memcmp(&books_before, &books_after, sizeof(books_before)));
	EXPECT_TRUE(!memcmp(source, self->td.source, TD_SIZE));
	for (page = 0; page < TD_NR_PAGES; page++) {
		EXPECT_TRUE(look_same(self->tdr, page, td_source(&self->td, page)))
		{
			TH_LOG("page %u was changed by a request", page);
		}
	}
	munmap(source, TD_SIZE);
	td_complete(_metadata, &self->td);
}

#include "tdx_init_mem_main.h"
