/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TDXQ_HOST_RAM_H
#define TDXQ_HOST_RAM_H

#include <stdint.h>

struct tdxq;

/*
 * Where in this process the 4K page at hpa is, 0 if it cannot be found. The page
 * must be the module's, as its bytes are changed for a moment.
 */
uint64_t tdxq_host_address(struct tdxq *q, uint64_t hpa);

#endif /* TDXQ_HOST_RAM_H */
