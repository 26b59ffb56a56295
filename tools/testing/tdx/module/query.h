/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Questions about the state of the module, for tests. They read only, take no
 * lock that a SEAMCALL could find busy, and may be asked at any time, from any
 * thread; what they tell of a TD in the middle of a call is from before or after it.
 *
 * All return 0, -ENOENT when there is no such thing, or -EINVAL.
 */
#ifndef TDXM_QUERY_H
#define TDXM_QUERY_H

#include <stdbool.h>
#include <stdint.h>

struct tdxm;

struct tdxm_td_info {
	uint64_t tdr;
	uint64_t serial; /* number of its creation, from 1 */
	uint64_t chldcnt;
	uint64_t epoch;
	unsigned int hkid;
	unsigned int lifecycle; /* enum tdx_lifecycle */
	unsigned int op_state;	/* enum tdx_op_state */
	unsigned int num_vcpus;
	bool fatal;
};

struct tdxm_sept_info {
	unsigned int level; /* that the walk reached */
	unsigned int state; /* enum tdx_sept_state */
	uint64_t hpa;	    /* of a leaf or of the next table, else 0 */
};

struct tdxm_page_info {
	unsigned int type; /* enum tdx_page_type */
	unsigned int level;
	uint64_t tdr; /* of the owner; of a TDR itself; 0 if there is none */
	uint64_t bepoch;
};

/* The n-th TD alive, in the order of creation, from 0. */
int tdxm_query_td(struct tdxm *m, unsigned int n, struct tdxm_td_info *info);
int tdxm_query_sept(struct tdxm *m, uint64_t tdr, uint64_t gpa, unsigned int level,
		    struct tdxm_sept_info *info);
int tdxm_query_page(struct tdxm *m, uint64_t hpa, struct tdxm_page_info *info);
/* @len bytes of one MAPPED page. */
int tdxm_query_bytes(struct tdxm *m, uint64_t tdr, uint64_t gpa, void *buf, unsigned int len);

/* The same of memory that TDs can have, at @hpa, which is aligned to @len. */
int tdxm_query_host_bytes(struct tdxm *m, uint64_t hpa, void *buf, unsigned int len);
/* 48 bytes: the measurement as it is now. */
int tdxm_query_mrtd(struct tdxm *m, uint64_t tdr, uint8_t mrtd[48]);
/* Completed calls of a leaf whose status, without details, is @status in the bits of @mask. */
uint64_t tdxm_query_count(struct tdxm *m, unsigned int leaf, uint64_t status, uint64_t mask);

#endif /* TDXM_QUERY_H */
