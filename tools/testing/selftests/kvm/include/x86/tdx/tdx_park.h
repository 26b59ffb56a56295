/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Parking: a source buffer with one page that is kept missing.
 *
 * Whoever pins that page (KVM_TDX_INIT_MEM_REGION by get_user_pages) sleeps
 * with all its locks held until it is released.  The fault itself reports the
 * arrival, so nothing has to be guessed.
 *
 * By which means the page is missing depends on the machine, see tdx_park_way.h;
 * TDX_INIT_MEM_PARK=uffd|dev|fuse chooses.  All other pages of the buffer are
 * ordinary private anonymous memory.
 */
#ifndef SELFTEST_KVM_TDX_PARK_H
#define SELFTEST_KVM_TDX_PARK_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct tdx_park {
	const struct tdx_park_way *way;
	void *mem; /* filled with a pattern, but for one page */
	size_t size;
	void *page;    /* the missing page */
	void *content; /* what it will contain, by default the pattern */
	bool released;

	/* Of the way. */
	int uffd;
	struct tdx_park_server *server;
};

/* Why parking is impossible here, or NULL. */
const char *tdx_park_lacks(void);

/* A buffer of @nr_pages pages, of which page @index is missing. */
void tdx_park_init(struct tdx_park *park, unsigned int nr_pages, unsigned int index);

/* Waits for the fault; false after the common deadline. */
bool tdx_park_wait(struct tdx_park *park);

/* Supplies the page, which wakes whoever waits for it.  May be repeated. */
void tdx_park_release(struct tdx_park *park);

/*
 * No page will come from here any more: whoever waits for it asks the memory
 * again, where it gets an empty page, or none if it was unmapped meanwhile.
 */
void tdx_park_abandon(struct tdx_park *park);

/* Releases and frees everything. */
void tdx_park_destroy(struct tdx_park *park);

#endif /* SELFTEST_KVM_TDX_PARK_H */
