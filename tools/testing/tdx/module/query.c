// SPDX-License-Identifier: GPL-2.0-only
/*
 * Questions about the state of the module. Nothing that hangs on the list of
 * objects is freed while its mutex is held, so that is all the protection.
 */
#include "module/query.h"

#include <errno.h>

#include "module/model.h"

static struct tdxm_td *as_td(struct tdxm_object *object)
{
	return object && object->kind == TDXM_OBJECT_TD ? (struct tdxm_td *)object : NULL;
}

/* The TD with the smallest serial number above @serial. The list is not sorted. */
static struct tdxm_td *next_td(struct tdxm *m, uint64_t serial)
{
	struct tdxm_object *object;
	struct tdxm_td *found = NULL;

	for (object = m->objects.head; object; object = object->next) {
		struct tdxm_td *td = as_td(object);

		if (td && td->serial > serial && (!found || td->serial < found->serial))
			found = td;
	}
	return found;
}

static struct tdxm_td *find_td(struct tdxm *m, uint64_t tdr)
{
	struct tdxm_pamt_entry *entry = tdxm_pamt_find(m, tdr);

	return entry && !(tdr % TDX_PAGE_SIZE) ? as_td(entry->object) : NULL;
}

int tdxm_query_td(struct tdxm *m, unsigned int n, struct tdxm_td_info *info)
{
	struct tdxm_td *td;
	uint64_t serial = 0;

	pthread_mutex_lock(&m->objects.mutex);
	for (; (td = next_td(m, serial)) && n; n--)
		serial = td->serial;
	if (td)
		*info = (struct tdxm_td_info) {
			.tdr = td->tdr_hpa,
			.serial = td->serial,
			.chldcnt = (uint64_t)td->chldcnt,
			.epoch = td->epoch,
			.hkid = td->hkid,
			.lifecycle = td->lifecycle,
			.op_state = td->op_state,
			.num_vcpus = td->num_vcpus,
			.fatal = td->fatal,
		};
	pthread_mutex_unlock(&m->objects.mutex);
	return td ? 0 : -ENOENT;
}

/* The mutex is held. */
static int walk(struct tdxm *m, uint64_t tdr, uint64_t gpa, unsigned int level,
		struct tdxm_walk *walk)
{
	struct tdxm_td *td = find_td(m, tdr);

	if (!td || td->lifecycle != TD_KEYS_CONFIGURED || td->op_state == TD_UNINITIALIZED)
		return -ENOENT;
	if (level > td->root_level || gpa & (TDX_LEVEL_SIZE(level) - 1) ||
	    tdxm_gpa_check_private(td, gpa))
		return -EINVAL;
	*walk = (struct tdxm_walk) { .gpa = gpa, .want_level = level };
	tdxm_sept_find(m, td, walk);
	return 0;
}

int tdxm_query_sept(struct tdxm *m, uint64_t tdr, uint64_t gpa, unsigned int level,
		    struct tdxm_sept_info *info)
{
	struct tdxm_walk found;
	int err;

	pthread_mutex_lock(&m->objects.mutex);
	err = walk(m, tdr, gpa, level, &found);
	pthread_mutex_unlock(&m->objects.mutex);
	if (err)
		return err;
	*info = (struct tdxm_sept_info) { found.level, found.state, found.value & SEPTE_HPA };
	return 0;
}

int tdxm_query_page(struct tdxm *m, uint64_t hpa, struct tdxm_page_info *info)
{
	struct tdxm_pamt_entry *entry = tdxm_pamt_find_level(m, hpa, 1);
	unsigned int type, level = 1;

	if (hpa % TDX_PAGE_SIZE)
		return -EINVAL;
	if (!entry)
		return -ENOENT;
	if (atomic_load(&entry->type) != PT_REG) {
		entry = tdxm_pamt_find(m, hpa);
		level = 0;
	}
	type = atomic_load(&entry->type);
	*info = (struct tdxm_page_info) {
		.type = type,
		.level = level,
		.bepoch = atomic_load(&entry->bepoch),
	};
	if (type == PT_TDR)
		info->tdr = hpa;
	else if (type != PT_NDA && type != PT_RSVD)
		info->tdr = entry->owner;
	return 0;
}

int tdxm_query_bytes(struct tdxm *m, uint64_t tdr, uint64_t gpa, void *buf, unsigned int len)
{
	uint64_t offset = gpa % TDX_PAGE_SIZE;
	struct tdxm_walk found;
	int err;

	if (len > TDX_PAGE_SIZE - offset)
		return -EINVAL;
	pthread_mutex_lock(&m->objects.mutex);
	err = walk(m, tdr, gpa - offset, 0, &found);
	pthread_mutex_unlock(&m->objects.mutex);
	if (err)
		return err;
	if (found.state != SEPT_MAPPED)
		return -ENOENT;
	/* A page of 2M stops the walk above. */
	offset = gpa % TDX_LEVEL_SIZE(found.level);
	return m->ops.mem_read(m->opaque, (found.value & SEPTE_HPA) + offset, buf, len) ? 0 :
											  -ENOENT;
}

int tdxm_query_host_bytes(struct tdxm *m, uint64_t hpa, void *buf, unsigned int len)
{
	if (!len || hpa % len || len > TDX_PAGE_SIZE)
		return -EINVAL;
	/* Nothing but memory: to read a device may have effects. */
	if (!tdxm_pamt_find(m, hpa - hpa % TDX_PAGE_SIZE))
		return -ENOENT;
	return m->ops.mem_read(m->opaque, hpa, buf, len) ? 0 : -ENOENT;
}

int tdxm_query_mrtd(struct tdxm *m, uint64_t tdr, uint8_t mrtd[SHA384_DIGEST_SIZE])
{
	struct tdxm_td *td;
	int err = -ENOENT;

	pthread_mutex_lock(&m->objects.mutex);
	td = find_td(m, tdr);
	if (td && td->op_state != TD_UNINITIALIZED) {
		tdxm_mrtd_get(td, mrtd);
		err = 0;
	}
	pthread_mutex_unlock(&m->objects.mutex);
	return err;
}

struct count_request {
	unsigned int leaf;
	uint64_t status;
	uint64_t mask;
	uint64_t sum;
};

static void add_count(void *arg, const struct tdxm_count *count)
{
	struct count_request *request = arg;

	if (count->leaf == request->leaf && !((count->status ^ request->status) & request->mask))
		request->sum += count->count;
}

uint64_t tdxm_query_count(struct tdxm *m, unsigned int leaf, uint64_t status, uint64_t mask)
{
	struct count_request request = {
		.leaf = leaf,
		.status = status,
		/* Details are not counted apart. */
		.mask = mask & ~0xffffffffULL,
	};

	tdxm_for_each_count(m, add_count, &request);
	return request.sum;
}
