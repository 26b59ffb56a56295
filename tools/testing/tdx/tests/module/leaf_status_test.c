// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of leaves and statuses. With -t this program prints it, for
 * tests/status_table.py: leaf, status, mask of the status, names.
 */
#include "module/leaf_status.h"
#include "tests/module/machine.h"

static void print_row(void *arg, uint32_t leaf, const struct tdxm_leaf_status *status)
{
	uint64_t mask = status->any_details ? ~TDX_STATUS_DETAILS_MASK : ~0ULL;

	(void)arg;
	printf("0x%x 0x%016" PRIx64 " 0x%016" PRIx64 " %s %s\n", leaf, status->status, mask,
	       leaf == TDXM_LEAF_ANY ? "any" : tdxm_leaf_name(leaf),
	       tdxm_status_name(status->status));
}

struct search {
	uint32_t leaf;
	bool found;
};

static void compare(void *arg, uint32_t leaf, const struct tdxm_leaf_status *status)
{
	struct search *search = arg;

	(void)status;
	search->found |= leaf == search->leaf;
}

static bool declares_anything(uint32_t leaf)
{
	struct search search = { .leaf = leaf };

	tdxm_for_each_leaf_status(compare, &search);
	return search.found;
}

static void every_leaf_that_exists_declares_statuses(void)
{
	unsigned int number;

	for (number = 0; number < 256; number++) {
		const struct tdxm_leaf *leaf = tdxm_leaf_find(number);

		if (leaf && leaf->check && !KTAP_EXPECT(declares_anything(number)))
			printf("# %s\n", leaf->name);
		if (!(leaf && leaf->check) && !KTAP_EXPECT(!declares_anything(number)))
			printf("# leaf %u\n", number);
	}
}

static void details_count_unless_they_are_a_number(void)
{
	KTAP_EXPECT(tdxm_leaf_status_declared(TDH_MNG_CREATE, TDX_OPERAND_BUSY + OP_RCX));
	KTAP_EXPECT(!tdxm_leaf_status_declared(TDH_MNG_CREATE, TDX_OPERAND_BUSY + OP_RDX));
	KTAP_EXPECT(tdxm_leaf_status_declared(TDH_SYS_LP_INIT, TDX_INVALID_PKG_ID + 77));
	KTAP_EXPECT(!tdxm_leaf_status_declared(TDH_SYS_LP_INIT, TDX_SYS_SHUTDOWN));
	KTAP_EXPECT(tdxm_leaf_status_declared(TDXM_LEAF_ANY, TDX_SYS_SHUTDOWN));
	KTAP_EXPECT(!tdxm_leaf_status_declared(TDH_MEM_RD, TDX_SUCCESS));
}

static void undeclared_answer_is_found(void)
{
	struct machine *machine = machine_new(1, 1);
	struct tdxm_call call = { .m = machine->m };

	tdxm_leaf_status_check(&call, TDH_MEM_TRACK, TDX_SUCCESS);
	tdxm_leaf_status_check(&call, TDH_MEM_TRACK, TDX_SYS_NOT_READY);
	KTAP_EXPECT_EQ(machine_findings(machine).unimplemented, 0);
	tdxm_leaf_status_check(&call, TDH_MEM_TRACK, TDX_OPERAND_BUSY + OP_R8);
	KTAP_EXPECT_EQ(machine_findings(machine).unimplemented, 1);
	machine_forget_findings(machine);
	call.injected = true;
	tdxm_leaf_status_check(&call, TDH_MEM_TRACK, TDX_OPERAND_BUSY + OP_R8);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "leaf_status.every_leaf_that_exists_declares_statuses",
	  every_leaf_that_exists_declares_statuses },
	{ "leaf_status.details_count_unless_they_are_a_number",
	  details_count_unless_they_are_a_number },
	{ "leaf_status.undeclared_answer_is_found", undeclared_answer_is_found },
};

int main(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "-t"))
		return ktap_main(cases, ARRAY_LEN(cases), argc, argv);
	tdxm_for_each_leaf_status(print_row, NULL);
	return 0;
}
