/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A TD whose pages are converted, with another slot right behind its own, and an
 * oracle that knows what they may be then.
 */
#ifndef TDX_INIT_MEM_CONVERSION_H
#define TDX_INIT_MEM_CONVERSION_H

#include "tdx_init_mem.h"
#include "tdx_init_mem_oracle.h"

#define OTHER_SLOT (TD_SLOT + 1)
#define OTHER_PAGES 4
/* Right behind the first slot, in terms of its pages. */
#define OTHER_FIRST TD_NR_PAGES
#define NO_SLOT_FIRST (OTHER_FIRST + 2 * OTHER_PAGES)

struct conversion {
	struct td td;
	struct td_slot other;
	struct td_oracle oracle;
};

static inline void conversion_create(struct conversion *c)
{
	td_create(&c->td);
	td_slot_create(&c->other, &c->td, OTHER_SLOT, td_gpa(OTHER_FIRST), OTHER_PAGES);
	td_oracle_init(&c->oracle, &c->td);
}

static inline void conversion_destroy(struct conversion *c)
{
	td_destroy(&c->td);
	td_slot_free(&c->other);
}

static inline int to_shared(struct conversion *c, unsigned int page, unsigned int nr)
{
	return td_oracle_convert(&c->oracle, page, nr, false);
}

static inline int to_private(struct conversion *c, unsigned int page, unsigned int nr)
{
	return td_oracle_convert(&c->oracle, page, nr, true);
}

static inline int add(struct conversion *c, unsigned int page, unsigned int nr)
{
	return td_oracle_add(&c->oracle, page, nr);
}

/*
 * What populate says to a page that was in the TD.  Up to 6.19 to have been is as
 * good as to be, until there is a hole.
 */
static const struct tdx_errno again_errno[TDX_ERRNO_MAX] = {
	TDX_ERRNO(EEXIST),
	TDX_ERRNO_SINCE(7, 0, TDX_NO_ERROR),
};
static const struct tdx_errno again_shared_errno[TDX_ERRNO_MAX] = {
	TDX_ERRNO(EEXIST),
	TDX_ERRNO_SINCE(7, 0, EINVAL),
};

static inline void expect_errno(struct __test_metadata *_metadata, const struct tdx_errno *errs,
				int r, const char *what)
{
	EXPECT_TRUE(tdx_errno_allows(errs, -r))
	{
		TH_LOG("INIT_MEM_REGION of a page that %s: want %s, got %s", what,
		       tdx_errno_name(tdx_errno_wanted(errs)), tdx_errno_name(r));
	}
}

/* The pages are what they may be, also if all are private; and each can be had. */
static inline void expect_and_complete(struct __test_metadata *_metadata, struct conversion *c)
{
	td_oracle_expect(_metadata, &c->oracle);
	EXPECT_RESULT(0, to_private(c, 0, TD_NR_PAGES));
	td_oracle_expect(_metadata, &c->oracle);
	EXPECT_FALSE(vm_tdx_is_dead(c->td.vm));
	td_complete(_metadata, &c->td);
}

#endif /* TDX_INIT_MEM_CONVERSION_H */
