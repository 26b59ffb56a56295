// SPDX-License-Identifier: GPL-2.0-only
/* Life of the objects behind TD pages. */
#include "module/object.h"

#include <stddef.h>

void tdxm_object_add(struct tdxm_object_list *list, struct tdxm_object *object)
{
	pthread_mutex_lock(&list->mutex);
	object->next = list->head;
	object->link = &list->head;
	if (object->next)
		object->next->link = &object->next;
	list->head = object;
	pthread_mutex_unlock(&list->mutex);
}

void tdxm_object_drop(struct tdxm_object_list *list, struct tdxm_object *object)
{
	if (!object)
		return;

	pthread_mutex_lock(&list->mutex);
	if (object->link) {
		*object->link = object->next;
		if (object->next)
			object->next->link = object->link;
	}
	pthread_mutex_unlock(&list->mutex);
	object->free(object);
}

void tdxm_object_drop_all(struct tdxm_object_list *list)
{
	while (list->head)
		tdxm_object_drop(list, list->head);
}
