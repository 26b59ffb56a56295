/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Host stores to memory that belongs to the TDX module or to a TD, caught
 * without any cost for the stores that are fine: guest RAM is memory of the
 * process that the plugin lives in, so such pages are made read-only there.
 * The store that faults is noted, its page opened, and the store goes on.
 *
 * What QEMU has a system call write there (a disk image read without a bounce
 * buffer) fails with EFAULT instead; the device then reports an error.
 */
#ifndef TDXQ_WATCH_H
#define TDXQ_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tdxq;

/* For tdxm_ops. Ranges are 4K granular and do not leave a range of RAM. */
void tdxq_page_owned(void *opaque, uint64_t hpa, uint64_t len, bool owned);

/*
 * Tell the model of the stores that were caught. Comes before each SEAMCALL,
 * which may change what is known of the page, and before questions to the model.
 */
void tdxq_watch_drain(struct tdxq *q);
/* The same before the report, which also gets what could not be watched. */
void tdxq_watch_end(struct tdxq *q);

/* The module's own stores to a watched page. */
bool tdxq_watched_write(struct tdxq *q, uint64_t hpa, const void *buf, size_t len);

#endif /* TDXQ_WATCH_H */
