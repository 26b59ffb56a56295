/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a host knows by looking at its own successful SEAMCALLs only: which TDs
 * there are, and which page went where. The model's state must agree with it.
 */
#ifndef TESTS_FUZZ_BOOKS_H
#define TESTS_FUZZ_BOOKS_H

#include "tests/fuzz/world.h"

struct book_td *books_td(struct world *w, uint64_t tdr);
/* The page that starts at @hpa, of a TD if there is one. */
struct book_page *books_page(struct world *w, uint64_t hpa);
/* The @n-th page of @type (any type for 0) and TD (any for 0), or NULL. */
struct book_page *books_nth(struct world *w, unsigned int n, unsigned int type, uint64_t tdr);
unsigned int books_count(struct world *w, unsigned int type, uint64_t tdr);
/* The first EPT or REG page of a TD at @gpa. */
struct book_page *books_gpa(struct world *w, unsigned int type, uint64_t tdr, uint64_t gpa,
			    unsigned int level);
void books_drop(struct world *w, struct book_page *page);

/* Enter a call that succeeded. */
void books_note(struct world *w, const struct tdxm_regs *in, const struct tdxm_regs *out);
/*
 * Sum over everything that a failing call must leave alone. Every lock word on
 * the way must be 0, unless a call is held. What a call of VP.* may have done
 * before it fails, association with an LP, and reserves while it is held, the
 * VCPU's index, goes to @assoc.
 */
uint64_t books_digest(struct world *w, uint64_t *assoc);
/* Compare books and model, entry by entry. */
void books_check(struct world *w);
/* All TDs are gone: nothing may be left. @thorough looks at all pages of the machine. */
void books_check_empty(struct world *w, bool thorough);

#endif /* TESTS_FUZZ_BOOKS_H */
