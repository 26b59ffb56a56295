// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looking into the emulated TDX host: what it tells of a TD, its S-EPT, its
 * pages and their contents is what KVM was asked to make of them; what is asked
 * wrongly is refused and harms nothing.  Steering is in tdx_init_mem_steer_test.
 */
#include "tdx_init_mem.h"

/* TDCS, and TDVPR with its TDCX pages: what Linux gives a TD with one vCPU. */
#define TDCS_PAGES 6
#define TDVPS_PAGES 6
/* Page tables for the first page: levels 3, 2 and 1. */
#define SEPT_PAGES 3

FIXTURE(look)
{
	struct td td;
	struct tdx_emul_td at_start;
	u64 tdr;
	u64 random;
};

FIXTURE_SETUP(look)
{
	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	tdx_emul_reset();
	self->random = tdx_host_seed();
	td_create(&self->td);
	ASSERT_EQ(0, tdx_emul_newest_td(&self->at_start));
	self->tdr = self->at_start.tdr;
}

FIXTURE_TEARDOWN(look)
{
	tdx_emul_reset();
	td_destroy(&self->td);
	td_audit(_metadata);
}

static void look_fill(struct td *td, u64 *random)
{
	u64 *word = td->source;
	size_t i;

	for (i = 0; i < TD_SIZE / sizeof(*word); i++)
		word[i] = td_random(random);
}

/* KVM may destroy a VM after its last close() returned. */
static bool look_is_gone(u64 tdr)
{
	u64 deadline = tdx_now_ms() + tdx_host_deadline_ms();
	struct tdx_emul_td td;

	while (tdx_emul_find_td(tdr, &td) != -ENOENT) {
		if (tdx_now_ms() >= deadline)
			return false;
		usleep(1000);
	}

	return true;
}

/* A page as the TD has it, byte by byte. */
static bool look_same(u64 tdr, unsigned int page, const void *source)
{
	u8 bytes[TDX_EMUL_READ_SIZE];
	unsigned int offset;

	for (offset = 0; offset < PAGE_SIZE; offset += sizeof(bytes)) {
		if (tdx_emul_read(tdr, td_gpa(page) + offset, bytes) ||
		    memcmp(bytes, source + offset, sizeof(bytes)))
			return false;
	}

	return true;
}

TD_TEST_F(look, version_is_ours)
{
	struct tdx_emul_regs regs = { .rax = TDX_EMUL_LEAF_SIGNATURE };

	tdx_emul_cpuid(&regs);
	EXPECT_LE(TDX_EMUL_LEAF_CONTROL, regs.rax);
	EXPECT_EQ(TDX_EMUL_SIGNATURE_EBX, regs.rbx);
	EXPECT_EQ(TDX_EMUL_SIGNATURE_ECX, regs.rcx);
	EXPECT_EQ(TDX_EMUL_SIGNATURE_EDX, regs.rdx);

	regs = (struct tdx_emul_regs) { .rax = TDX_EMUL_LEAF_VERSION };
	tdx_emul_cpuid(&regs);
	EXPECT_EQ(TDX_EMUL_ABI_VERSION, regs.rax);
	EXPECT_NE(0, regs.rbx);

	/* This goes without steering, so that a kernel which hangs here does so at once. */
	EXPECT_EQ(0, td_add(&self->td, 0, 1));
}

TD_TEST_F(look, td_goes_through_its_states)
{
	struct tdx_emul_td *td = &self->at_start;

	EXPECT_EQ(TDX_TD_KEYS_CONFIGURED, td->lifecycle);
	EXPECT_EQ(TDX_TD_INITIALIZED, td->op_state);
	EXPECT_FALSE(td->fatal);
	EXPECT_EQ(1, td->vcpus);
	EXPECT_EQ(TDCS_PAGES + TDVPS_PAGES, td->pages);
	EXPECT_EQ(1, td->epoch);
	EXPECT_NE(0, td->hkid);

	vm_tdx_vcpu_add(self->td.vm, 1);
	EXPECT_EQ(0, tdx_emul_find_td(self->tdr, td));
	EXPECT_EQ(2, td->vcpus);
	EXPECT_EQ(TDCS_PAGES + 2 * TDVPS_PAGES, td->pages);

	ASSERT_EQ(0, td_add(&self->td, 0, 2));
	vm_tdx_finalize(self->td.vm);
	EXPECT_EQ(0, tdx_emul_find_td(self->tdr, td));
	EXPECT_EQ(TDX_TD_RUNNABLE, td->op_state);
	EXPECT_EQ(TDCS_PAGES + 2 * TDVPS_PAGES + SEPT_PAGES + 2, td->pages);

	/* After FINALIZE a page goes by TRACK, which opens an epoch. */
	ASSERT_EQ(0, td_punch(&self->td, 0, 1));
	EXPECT_EQ(0, tdx_emul_find_td(self->tdr, td));
	EXPECT_EQ(TDCS_PAGES + 2 * TDVPS_PAGES + SEPT_PAGES + 1, td->pages);
	EXPECT_LT(1, td->epoch);
}

TD_TEST_F(look, newest_td_is_the_last_created)
{
	struct tdx_emul_td newest;
	struct td other;

	td_create(&other);
	ASSERT_EQ(0, tdx_emul_newest_td(&newest));
	EXPECT_NE(self->tdr, newest.tdr);
	EXPECT_NE(self->at_start.hkid, newest.hkid);
	EXPECT_LT(self->at_start.serial, newest.serial);
	td_destroy(&other);
	EXPECT_TRUE(look_is_gone(newest.tdr));

	ASSERT_EQ(0, tdx_emul_newest_td(&newest));
	EXPECT_EQ(self->tdr, newest.tdr);
}

TD_TEST_F(look, added_pages_are_the_source)
{
	struct tdx_emul_sept sept;
	struct tdx_emul_page owner;
	unsigned int page;

	look_fill(&self->td, &self->random);
	ASSERT_EQ(0, td_add(&self->td, 0, TD_NR_PAGES));
	for (page = 0; page < TD_NR_PAGES; page++) {
		ASSERT_EQ(0, tdx_emul_sept(self->tdr, td_gpa(page), 0, &sept));
		EXPECT_EQ(0, sept.level);
		EXPECT_EQ(TDX_SEPT_MAPPED, sept.state);
		EXPECT_NE(0, sept.hpa);

		ASSERT_EQ(0, tdx_emul_page(sept.hpa, &owner));
		EXPECT_EQ(TDX_PAGE_REG, owner.type);
		EXPECT_EQ(self->tdr, owner.tdr);
		EXPECT_EQ(0, owner.level);
		EXPECT_TRUE(look_same(self->tdr, page, td_source(&self->td, page)))
		{
			TH_LOG("page %u has other contents than its source", page);
		}
	}

	ASSERT_EQ(0, tdx_emul_page(self->tdr, &owner));
	EXPECT_EQ(TDX_PAGE_TDR, owner.type);
	EXPECT_EQ(self->tdr, owner.tdr);
}

TD_TEST_F(look, page_tables_are_there)
{
	struct tdx_emul_sept sept;
	struct tdx_emul_page owner;
	unsigned int level;

	/* Nothing was added: the walk ends where the first table is missing. */
	ASSERT_EQ(0, tdx_emul_sept(self->tdr, TD_GPA, 0, &sept));
	EXPECT_EQ(TDX_SEPT_FREE, sept.state);
	EXPECT_EQ(SEPT_PAGES, sept.level);

	ASSERT_EQ(0, td_add(&self->td, 0, 1));
	for (level = 1; level <= SEPT_PAGES; level++) {
		ASSERT_EQ(0, tdx_emul_sept(self->tdr, level < 3 ? TD_GPA : 0, level, &sept));
		EXPECT_EQ(level, sept.level);
		EXPECT_EQ(TDX_SEPT_NL_MAPPED, sept.state);
		ASSERT_EQ(0, tdx_emul_page(sept.hpa, &owner));
		EXPECT_EQ(TDX_PAGE_EPT, owner.type);
		EXPECT_EQ(self->tdr, owner.tdr);
	}
}

TD_TEST_F(look, punched_page_is_free)
{
	struct tdx_emul_sept sept;
	struct tdx_emul_page owner;
	u8 bytes[TDX_EMUL_READ_SIZE];
	u64 hpa;

	ASSERT_EQ(0, td_add(&self->td, 0, 2));
	ASSERT_EQ(0, tdx_emul_sept(self->tdr, td_gpa(1), 0, &sept));
	hpa = sept.hpa;

	ASSERT_EQ(0, td_punch(&self->td, 1, 1));
	ASSERT_EQ(0, tdx_emul_sept(self->tdr, td_gpa(1), 0, &sept));
	EXPECT_EQ(TDX_SEPT_FREE, sept.state);
	ASSERT_EQ(0, tdx_emul_page(hpa, &owner));
	EXPECT_EQ(TDX_PAGE_NDA, owner.type);
	EXPECT_EQ(0, owner.tdr);
	EXPECT_EQ(-ENOENT, tdx_emul_read(self->tdr, td_gpa(1), bytes));
	EXPECT_EQ(0, tdx_emul_read(self->tdr, td_gpa(0), bytes));
}

TD_TEST_F(look, calls_are_counted_by_leaf_and_status)
{
	u64 adds = tdx_emul_count(TDH_MEM_PAGE_ADD, TDX_SUCCESS);
	u64 extends = tdx_emul_count(TDH_MR_EXTEND, TDX_SUCCESS);
	u64 busy = tdx_emul_count(TDH_MEM_PAGE_ADD, TDX_OPERAND_BUSY);
	u64 any, more;

	ASSERT_EQ(0, tdx_emul_count_masked(TDH_MEM_PAGE_ADD, 0, 0, &any));
	ASSERT_EQ(0, td_add(&self->td, 0, 3));
	vm_tdx_init_mem_region(self->td.vcpu, td_source(&self->td, 3), td_gpa(3), 2,
			       KVM_TDX_MEASURE_MEMORY_REGION);

	EXPECT_EQ(adds + 5, tdx_emul_count(TDH_MEM_PAGE_ADD, TDX_SUCCESS));
	EXPECT_EQ(extends + 2 * PAGE_SIZE / 256, tdx_emul_count(TDH_MR_EXTEND, TDX_SUCCESS));
	EXPECT_EQ(busy, tdx_emul_count(TDH_MEM_PAGE_ADD, TDX_OPERAND_BUSY));
	EXPECT_EQ(0, tdx_emul_count_masked(TDH_MEM_PAGE_ADD, 0, 0, &more));
	EXPECT_EQ(any + 5, more);
}

TD_TEST_F(look, mrtd_follows_adds_only)
{
	u8 before[TDX_EMUL_MRTD_SIZE], after[TDX_EMUL_MRTD_SIZE];

	ASSERT_EQ(0, tdx_emul_mrtd(self->tdr, before));
	ASSERT_EQ(0, td_add(&self->td, 0, 1));
	ASSERT_EQ(0, tdx_emul_mrtd(self->tdr, after));
	EXPECT_TRUE(memcmp(before, after, sizeof(before)));

	ASSERT_EQ(0, td_punch(&self->td, 0, 1));
	EXPECT_EQ(-EINVAL, td_add(&self->td, TD_NR_PAGES, 1));
	vm_tdx_finalize(self->td.vm);
	ASSERT_EQ(0, tdx_emul_mrtd(self->tdr, before));
	EXPECT_TRUE(!memcmp(before, after, sizeof(before)));
}

/* The audit of every program: it knows what lives, and names what is left. */
TD_TEST_F(look, audit_counts_what_lives)
{
	struct tdx_emul_audit one, two;
	struct tdx_emul_td newest;
	char excess[128];
	struct td other;

	ASSERT_EQ(0, tdx_emul_audit(&one));
	td_create(&other);
	ASSERT_EQ(0, td_add(&other, 0, TD_NR_PAGES));
	ASSERT_EQ(0, tdx_emul_newest_td(&newest));
	ASSERT_EQ(0, tdx_emul_audit(&two));
	EXPECT_EQ(one.tds + 1, two.tds);
	EXPECT_EQ(one.keyids + 1, two.keyids);
	EXPECT_EQ(one.pages + 1 + newest.pages, two.pages);
	EXPECT_EQ(0, two.suspended);

	EXPECT_FALSE(tdx_emul_is_clean_now(excess, sizeof(excess)));
	EXPECT_TRUE(!!strstr(excess, "2 more TDs, 2 more KeyIDs, "))
	{
		TH_LOG("got \"%s\"", excess);
	}

	td_destroy(&other);
	EXPECT_TRUE(look_is_gone(newest.tdr));
	ASSERT_EQ(0, tdx_emul_audit(&two));
	EXPECT_TRUE(!memcmp(&one, &two, sizeof(one)));
	EXPECT_FALSE(tdx_emul_is_clean_now(excess, sizeof(excess)));
}

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
	EXPECT_EQ(-ENOSPC, tdx_emul_arm(&rule, &id));
	EXPECT_EQ(0, tdx_emul_disarm(first));
	EXPECT_EQ(0, tdx_emul_arm(&rule, &id));
	EXPECT_NE(first, id);
	EXPECT_EQ(-ENOENT, tdx_emul_release(first));
	EXPECT_EQ(0, tdx_emul_disarm(0));
	EXPECT_EQ(-ENOENT, tdx_emul_release(id));
	EXPECT_EQ(0, td_add(&self->td, 0, 1));
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
