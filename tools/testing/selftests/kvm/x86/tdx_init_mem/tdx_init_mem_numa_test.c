// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of a guest_memfd comes from where a memory policy says, whoever is the
 * first to want it: populate, fallocate() or user space.  Of two policies the one
 * of the file, by mbind() on a mapping of it, goes before that of the task.
 */
#include <linux/mempolicy.h>
#include <sys/syscall.h>

#include "tdx_init_mem_gmem_td.h"
#include "tdx_init_mem_gmem_user.h"

#define NR_PAGES (2 * FOLIO_PAGES)
#define NR_NODES 2
#define ZONEINFO "/proc/zoneinfo"

/* Since then a file keeps policies; before, they are those of a mapping. */
#define POLICY_SINCE TDX_KERNEL(6, 19)

/* Of the node that has the memory at @hpa, -1 if none has. */
static int node_of(u64 hpa)
{
	u64 pfn = hpa / PAGE_SIZE, start, spanned = 0;
	FILE *file = fopen(ZONEINFO, "re");
	int node = -1, found = -1;
	char line[128];

	TEST_ASSERT(file, ZONEINFO ": errno %d", errno);
	/* Of each zone the node, then its size, then where it begins. */
	while (found < 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Node %d, zone", &node) == 1 ||
		    sscanf(line, " spanned %lu", &spanned) == 1 ||
		    sscanf(line, " start_pfn: %lu", &start) != 1)
			continue;
		if (pfn >= start && pfn < start + spanned)
			found = node;
	}
	fclose(file);
	return found;
}

static const char *nodes_lack(void)
{
	return access("/sys/devices/system/node/node1", F_OK) ?
		       "this machine has a single NUMA node" :
		       NULL;
}

static const char *policies_lack(void)
{
	return tdx_host_kernel() < POLICY_SINCE ? "guest_memfd keeps no memory policy before 6.19" :
						  NULL;
}

/* From here on the memory of this task is from @node, or, below zero, from anywhere. */
static void task_policy(int node)
{
	unsigned long mask = node < 0 ? 0 : BIT(node);

	TEST_ASSERT(!syscall(SYS_set_mempolicy, node < 0 ? MPOL_DEFAULT : MPOL_BIND,
			     node < 0 ? NULL : &mask, node < 0 ? 0 : BITS_PER_LONG),
		    "set_mempolicy: errno %d", errno);
}

/* The node that the policy of the memory at @addr names, -1 if it is another kind of policy. */
static int policy_at(const void *addr)
{
	unsigned long mask = 0;
	int mode = 0;

	TEST_ASSERT(!syscall(SYS_get_mempolicy, &mode, &mask, BITS_PER_LONG, addr, MPOL_F_ADDR),
		    "get_mempolicy: errno %d", errno);
	return mode == MPOL_BIND && mask ? __builtin_ctzl(mask) : -1;
}

static void file_policy(const struct gmem *g, unsigned int first, unsigned int nr, int node)
{
	unsigned long mask = BIT(node);

	TEST_ASSERT(!syscall(SYS_mbind, gmem_user_page(g, first), nr * (u64)PAGE_SIZE, MPOL_BIND,
			     &mask, BITS_PER_LONG, 0),
		    "mbind: errno %d", errno);
}

FIXTURE(td)
{
	struct gmem_td t;
	unsigned int nr_huge;
};

FIXTURE_VARIANT(td)
{
	bool huge;
};

FIXTURE_VARIANT_ADD(td, with_4k_folios) { false };
FIXTURE_VARIANT_ADD(td, with_2m_folios) { true };

FIXTURE_SETUP(td)
{
	if (nodes_lack())
		SKIP(return, "%s", nodes_lack());
	if (gmem_td_lacks(variant->huge))
		SKIP(return, "%s", gmem_td_lacks(variant->huge));

	self->nr_huge = gmem_nr_huge();
	/* Below 6.18 there is no such flag, and no mapping. */
	__gmem_td_create(&self->t, NR_PAGES, variant->huge, GMEM_GPA,
			 policies_lack() ? 0 : GUEST_MEMFD_FLAG_MMAP);
	self->t.g.sparse = true;
	ASSERT_EQ(0, gmem_bind(&self->t.g, GMEM_SLOT, 0, NR_PAGES));
	if (!policies_lack())
		gmem_map(&self->t.g);
}

FIXTURE_TEARDOWN(td)
{
	task_policy(-1);
	gmem_td_destroy(&self->t);
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	td_audit(_metadata);
}

static void expect_node(struct __test_metadata *_metadata, const struct gmem_td *t,
			unsigned int first, unsigned int nr, int want)
{
	unsigned int page;
	int node;

	for (page = first; page < first + nr; page++) {
		if (!gmem_is_used(&t->g, page))
			continue;
		node = node_of(gmem_hpa(&t->g, t->tdr, page));
		EXPECT_EQ(want, node)
		{
			TH_LOG("page %u of %u+%u, at 0x%lx, is on node %d, its policy wants %d",
			       page, first, nr, gmem_hpa(&t->g, t->tdr, page), node, want);
		}
		if (node != want)
			return;
	}
}

/* Both nodes, as memory of one of them may be had by chance. */
TD_TEST_F(td, populate_heeds_the_policy_of_its_task)
{
	struct gmem_td *t = &self->t;
	int node;

	for (node = 0; node < NR_NODES; node++) {
		task_policy(node);
		ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, node * FOLIO_PAGES, FOLIO_PAGES));
	}
	for (node = 0; node < NR_NODES; node++)
		expect_node(_metadata, t, node * FOLIO_PAGES, FOLIO_PAGES, node);
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->huge ? NR_NODES : 0);
}

TD_TEST_F(td, populate_heeds_the_policy_of_the_file)
{
	struct gmem_td *t = &self->t;
	int node;

	if (policies_lack())
		SKIP(return, "%s", policies_lack());

	for (node = 0; node < NR_NODES; node++) {
		task_policy(!node);
		file_policy(&t->g, node * FOLIO_PAGES, FOLIO_PAGES, node);
		ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, node * FOLIO_PAGES, FOLIO_PAGES));
	}
	for (node = 0; node < NR_NODES; node++)
		expect_node(_metadata, t, node * FOLIO_PAGES, FOLIO_PAGES, node);
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->huge ? NR_NODES : 0);
}

TD_TEST_F(td, allocation_heeds_the_policy_of_the_file)
{
	struct gmem_td *t = &self->t;
	int node;

	if (policies_lack())
		SKIP(return, "%s", policies_lack());

	for (node = 0; node < NR_NODES; node++)
		file_policy(&t->g, node * FOLIO_PAGES, FOLIO_PAGES, !node);
	ASSERT_EQ(0, gmem_allocate(&t->g, 0, NR_PAGES));
	/* What is there already stays where it is. */
	for (node = 0; node < NR_NODES; node++)
		file_policy(&t->g, node * FOLIO_PAGES, FOLIO_PAGES, node);
	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, NR_PAGES));
	for (node = 0; node < NR_NODES; node++)
		expect_node(_metadata, t, node * FOLIO_PAGES, FOLIO_PAGES, !node);
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->huge ? NR_NODES : 0);
}

/* Where a folio is, it is as a whole: two policies for it are one too many. */
TD_TEST_F(td, two_policies_are_heeded_page_by_page)
{
	const unsigned int middle = FOLIO_PAGES / 2;
	struct gmem_td *t = &self->t;

	if (policies_lack())
		SKIP(return, "%s", policies_lack());

	file_policy(&t->g, 0, middle, 1);
	file_policy(&t->g, middle, middle, 0);
	file_policy(&t->g, FOLIO_PAGES, FOLIO_PAGES, 1);
	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, NR_PAGES));
	expect_node(_metadata, t, 0, middle, 1);
	expect_node(_metadata, t, middle, middle, 0);
	expect_node(_metadata, t, FOLIO_PAGES, FOLIO_PAGES, 1);
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->huge);
}

/* A page that comes back after a hole is like a new one; only a whole folio goes away. */
TD_TEST_F(td, new_policy_holds_for_pages_after_a_hole)
{
	struct gmem_td *t = &self->t;

	if (policies_lack())
		SKIP(return, "%s", policies_lack());

	file_policy(&t->g, 0, FOLIO_PAGES, 0);
	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, FOLIO_PAGES));
	expect_node(_metadata, t, 0, FOLIO_PAGES, 0);

	ASSERT_EQ(0, gmem_punch(&t->g, 0, FOLIO_PAGES));
	file_policy(&t->g, 0, FOLIO_PAGES, 1);
	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, FOLIO_PAGES));
	expect_node(_metadata, t, 0, FOLIO_PAGES, 1);
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->huge);
}

/* An ordinary VM: user space is the first to touch its memory. */
FIXTURE(user)
{
	struct gmem_user u;
};

FIXTURE_VARIANT(user)
{
	bool huge;
};

FIXTURE_VARIANT_ADD(user, with_4k_folios) { false };
FIXTURE_VARIANT_ADD(user, with_2m_folios) { true };

FIXTURE_SETUP(user)
{
	if (nodes_lack())
		SKIP(return, "%s", nodes_lack());
	if (policies_lack())
		SKIP(return, "%s", policies_lack());
	if (gmem_user_lacks(variant->huge))
		SKIP(return, "%s", gmem_user_lacks(variant->huge));

	gmem_user_create(&self->u, NR_PAGES, variant->huge, TD_GPA);
}

FIXTURE_TEARDOWN(user)
{
	gmem_user_destroy(&self->u);
	td_audit(_metadata);
}

/* Each mapping says so, not just the one by which it was set. */
TD_TEST_F(user, each_mapping_says_the_policy_of_the_file)
{
	struct gmem *g = &self->u.g;
	void *mem = mmap(NULL, gmem_size(g), PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, 0);

	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(-1, policy_at(mem));
	file_policy(g, 0, FOLIO_PAGES, 1);
	EXPECT_EQ(1, policy_at(gmem_user_page(g, 0)));
	EXPECT_EQ(1, policy_at(mem));
	EXPECT_EQ(1, policy_at(mem + FOLIO_SIZE - PAGE_SIZE));
	EXPECT_EQ(-1, policy_at(mem + FOLIO_SIZE));
	munmap(mem, gmem_size(g));
}

TD_TEST_F(user, fault_heeds_the_policy_of_the_file)
{
	struct gmem *g = &self->u.g;
	unsigned int page;
	int node;

	for (node = 0; node < NR_NODES; node++)
		file_policy(g, node * FOLIO_PAGES, FOLIO_PAGES, !node);
	for (page = 0; page < NR_PAGES; page += GMEM_SPARSE) {
		*gmem_user_page(g, page) = 1;
		EXPECT_EQ(page < FOLIO_PAGES, node_of(gmem_user_hpa(g, page)))
		{
			TH_LOG("page %u, at 0x%lx", page, gmem_user_hpa(g, page));
		}
	}
}

#include "tdx_init_mem_main.h"
