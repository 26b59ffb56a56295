/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * State that the model keeps for pages of a TD (TDR, TDVPR, EPT). Objects hang
 * on the PAMT entry of their page; a list of all of them serves tdxm_destroy().
 */
#ifndef TDXM_OBJECT_H
#define TDXM_OBJECT_H

#include <pthread.h>

enum tdxm_object_kind {
	TDXM_OBJECT_TD,
	TDXM_OBJECT_VCPU,
	TDXM_OBJECT_SEPT,
};

struct tdxm_object {
	enum tdxm_object_kind kind;
	struct tdxm_object *next, **link; /* link is NULL while not on the list */
	void (*free)(struct tdxm_object *object);
};

struct tdxm_object_list {
	pthread_mutex_t mutex;
	struct tdxm_object *head;
};

void tdxm_object_add(struct tdxm_object_list *list, struct tdxm_object *object);
/* Off the list and freed; NULL is fine. */
void tdxm_object_drop(struct tdxm_object_list *list, struct tdxm_object *object);
void tdxm_object_drop_all(struct tdxm_object_list *list);

#endif /* TDXM_OBJECT_H */
