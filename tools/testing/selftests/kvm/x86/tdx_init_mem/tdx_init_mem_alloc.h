/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An operation with its allocations failing: each of them in turn, or all as soon as
 * memory has run out, a little later each time; until it succeeds without any that
 * failed.
 */
#ifndef TDX_INIT_MEM_ALLOC_H
#define TDX_INIT_MEM_ALLOC_H

#include "tdx_init_mem.h"
#include "tdx/tdx_fault.h"

/* More than any operation makes; who gets there goes round in circles. */
#define ALLOC_MAX_GOES 2000u

/* Less than a node of an xarray, so that none is passed over. */
#define ALLOC_STEP 512

/*
 * struct alloc_op - what is to fail
 * @fn:		returns a negative errno, else success
 * @prepare:	comes before each go, may be NULL
 * @check:	what must be true after a go with the result @r, in which an allocation
 *		failed; undoes it as far as the next go needs that; may be NULL
 * @step:	bytes that memory runs out later from go to go, by default ALLOC_STEP
 */
struct alloc_op {
	const char *name;
	int (*fn)(void *arg);
	void (*prepare)(void *arg);
	void (*check)(struct __test_metadata *_metadata, void *arg, int r);
	unsigned int step;
};

struct alloc_goes {
	unsigned int nr;	 /* in which an allocation failed */
	unsigned int nr_refused; /* in which the operation failed, too */
};

/* Returns what the last go said, in which no allocation failed. */
static int alloc_fail(struct __test_metadata *_metadata, const struct alloc_op *op, bool runs_out,
		      void *arg, struct alloc_goes *goes)
{
	unsigned int i;
	bool failed;
	int r;

	*goes = (struct alloc_goes) {};
	for (i = 0; i < ALLOC_MAX_GOES; i++) {
		if (op->prepare)
			op->prepare(arg);

		if (runs_out)
			tdx_fault_arm_after(i * (op->step ?: ALLOC_STEP));
		else
			tdx_fault_arm(1 + i);
		r = op->fn(arg);
		failed = tdx_fault_disarm();
		if (!failed)
			break;

		goes->nr++;
		goes->nr_refused += r < 0;
		EXPECT_TRUE(r >= 0 || r == -ENOMEM)
		{
			TH_LOG("%s, go %u: want success or ENOMEM, got %s", op->name, i,
			       tdx_errno_name(r));
		}
		if (op->check)
			op->check(_metadata, arg, r);
	}

	EXPECT_GT(ALLOC_MAX_GOES, i)
	{
		TH_LOG("%s has allocations without an end", op->name);
	}
	EXPECT_LE(0, r)
	{
		TH_LOG("%s, no allocation fails: want success, got %s", op->name,
		       tdx_errno_name(r));
	}
	printf("# %s: %u times without %s, %u times refused\n", op->name, goes->nr,
	       runs_out ? "memory from some time on" : "one allocation", goes->nr_refused);
	return r;
}

#endif /* TDX_INIT_MEM_ALLOC_H */
