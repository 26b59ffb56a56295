/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the emulated host tells of a TD is what KVM was asked to make of it.
 */
#ifndef TDX_INIT_MEM_EMULATOR_LOOK_H
#define TDX_INIT_MEM_EMULATOR_LOOK_H

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
	EXPECT_RESULT(0, td_add(&self->td, 0, 1));
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
	EXPECT_RESULT(0, tdx_emul_find_td(self->tdr, td));
	EXPECT_EQ(2, td->vcpus);
	EXPECT_EQ(TDCS_PAGES + 2 * TDVPS_PAGES, td->pages);

	ASSERT_EQ(0, td_add(&self->td, 0, 2));
	vm_tdx_finalize(self->td.vm);
	EXPECT_RESULT(0, tdx_emul_find_td(self->tdr, td));
	EXPECT_EQ(TDX_TD_RUNNABLE, td->op_state);
	EXPECT_EQ(TDCS_PAGES + 2 * TDVPS_PAGES + SEPT_PAGES + 2, td->pages);

	/* After FINALIZE a page goes by TRACK, which opens an epoch. */
	ASSERT_EQ(0, td_punch(&self->td, 0, 1));
	EXPECT_RESULT(0, tdx_emul_find_td(self->tdr, td));
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

/* What the emulator tells of the S-EPT at a GPA, against what must be there. */
static void look_expect_sept(struct __test_metadata *_metadata, const struct tdx_emul_sept *sept,
			     u64 gpa, unsigned int level, unsigned int state)
{
	EXPECT_TRUE(sept->level == level && sept->state == state)
	{
		TH_LOG("S-EPT at GPA 0x%lx: want an entry of level %u in state %u", gpa, level,
		       state);
		TH_LOG("  got level %u, state %u, hpa 0x%lx", sept->level, sept->state, sept->hpa);
	}
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
		look_expect_sept(_metadata, &sept, td_gpa(page), 0, TDX_SEPT_MAPPED);
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
	look_expect_sept(_metadata, &sept, TD_GPA, SEPT_PAGES, TDX_SEPT_FREE);

	ASSERT_EQ(0, td_add(&self->td, 0, 1));
	for (level = 1; level <= SEPT_PAGES; level++) {
		ASSERT_EQ(0, tdx_emul_sept(self->tdr, level < 3 ? TD_GPA : 0, level, &sept));
		look_expect_sept(_metadata, &sept, level < 3 ? TD_GPA : 0, level,
				 TDX_SEPT_NL_MAPPED);
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
	EXPECT_RESULT(-ENOENT, tdx_emul_read(self->tdr, td_gpa(1), bytes));
	EXPECT_RESULT(0, tdx_emul_read(self->tdr, td_gpa(0), bytes));
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
	EXPECT_RESULT(-EINVAL, td_add(&self->td, TD_NR_PAGES, 1));
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

#endif /* TDX_INIT_MEM_EMULATOR_LOOK_H */
