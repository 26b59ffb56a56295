// SPDX-License-Identifier: GPL-2.0-only
/*
 * TDX_OPERAND_BUSY is KVM's own business: the TDX module says it to one of two
 * calls that KVM made at the same time, and user space, which made two ioctls
 * that are both allowed, has to notice nothing but time.
 *
 * Up to 6.18 all of it shows, and no case makes the kernel complain:
 *
 *	scripts/tdx-init-mem run --kernel v6.18 --test busy
 */
#include "tdx_init_mem_busy.h"

FIXTURE(busy)
{
	struct busy busy;
};

FIXTURE_VARIANT(busy)
{
	struct busy_race race;
};

#define BUSY(_name) FIXTURE_VARIANT_ADD(busy, _name)

/*
 * Up to 6.18 PAGE.ADD is busy after the page was mapped in the mirror: -EBUSY,
 * -EEXIST to whoever tries again, and -EINVAL of FINALIZE_VM, as a page is due.
 * Gone since 6b5b71ffabf9 (6.19): it is added while it is mapped, or tried again.
 */
BUSY(add_while_reading_cpuid)
{
	.race = {
		.holder = &busy_read_cpuid,
		.holder_leaf = TDH_MNG_RD,
		.victim = &busy_add,
	},
};

/*
 * Up to 6.18 MR.EXTEND is busy after the page was added: -EIO, and -EEXIST to
 * whoever tries again.  It is there, and never measured; the TD can be finalized.
 * Gone, as is the rest, since 15945e9ec195 (6.19) takes the mutex of every vCPU.
 */
BUSY(measure_while_reading_cpuid)
{
	.race = {
		.holder = &busy_read_cpuid,
		.holder_leaf = TDH_MNG_RD,
		.victim = &busy_measure,
		.stop_leaf = TDH_MR_EXTEND,
		.stop_call = 1,
	},
};

/* Up to 6.18 MR.FINALIZE is busy: -EBUSY. */
BUSY(finalize_while_reading_cpuid)
{
	.race = {
		.holder = &busy_read_cpuid,
		.holder_leaf = TDH_MNG_RD,
		.victim = &busy_finalize,
	},
};

/* Up to 6.18 MNG.RD of the first leaf is busy: -EIO. */
BUSY(read_cpuid_while_adding)
{
	.race = {
		.holder = &busy_add,
		.holder_leaf = TDH_MEM_PAGE_ADD,
		.victim = &busy_read_cpuid,
	},
};

FIXTURE_SETUP(busy)
{
	busy_create(&self->busy);
}

FIXTURE_TEARDOWN(busy)
{
	busy_destroy(&self->busy);
	td_audit(_metadata);
}

TD_TEST_F(busy, both_succeed)
{
	struct td *td = &self->busy.td;
	struct busy_outcome outcome;
	int r;

	busy_race(&self->busy, &variant->race, &outcome);
	busy_expect_fine(_metadata, &variant->race, &outcome);
	if (variant->race.victim == &busy_finalize)
		return;

	if (outcome.victim) {
		r = variant->race.victim == &busy_read_cpuid ? busy_read_cpuid_fn(&self->busy) :
							       td_add(td, 0, 1);
		EXPECT_EQ(0, r)
		{
			TH_LOG("and called again: want success, got %s", tdx_errno_name(r));
		}
	}
	td_complete(_metadata, td);
}

/*
 * KVM takes any error of MNG.RD for the module's word that there is no such leaf.
 * Up to 6.18 a busy one is missing from what GET_CPUID returns with success.  The
 * first two calls read leaf 0, without which it would fail.
 */
FIXTURE(cpuid)
{
	struct busy busy;
};

FIXTURE_SETUP(cpuid)
{
	busy_create(&self->busy);
}

FIXTURE_TEARDOWN(cpuid)
{
	busy_destroy(&self->busy);
	td_audit(_metadata);
}

TD_TEST_F(cpuid, read_while_adding_is_complete)
{
	static const struct busy_race race = {
		.holder = &busy_add,
		.holder_leaf = TDH_MEM_PAGE_ADD,
		.victim = &busy_read_cpuid,
		.stop_leaf = TDH_MNG_RD,
		.stop_call = 3,
		.last_call = 5,
	};
	struct busy *busy = &self->busy;
	struct busy_outcome outcome;
	unsigned int nent;

	ASSERT_EQ(0, busy_read_cpuid_fn(busy));
	nent = busy->cpuid->nent;

	busy_race(busy, &race, &outcome);
	busy_expect_fine(_metadata, &race, &outcome);
	EXPECT_EQ(nent, busy->cpuid->nent)
	{
		TH_LOG("GET_CPUID says %s, and gives %u of %u entries",
		       tdx_errno_name(outcome.victim), busy->cpuid->nent, nent);
	}
	td_complete(_metadata, &busy->td);
}

#include "tdx_init_mem_main.h"
