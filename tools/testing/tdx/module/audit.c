// SPDX-License-Identifier: GPL-2.0-only
/* What is left of TDs. */
#include "module/audit.h"

#include "module/model.h"

static const char *lifecycle_name(unsigned int lifecycle)
{
	static const char *const name[] = {
		[TD_HKID_ASSIGNED] = "HKID_ASSIGNED",
		[TD_KEYS_CONFIGURED] = "KEYS_CONFIGURED",
		[TD_BLOCKED] = "BLOCKED",
		[TD_TEARDOWN] = "TEARDOWN",
	};

	return lifecycle < ARRAY_LEN(name) ? name[lifecycle] : "unknown";
}

void tdxm_for_each_td(struct tdxm *m, void (*fn)(void *arg, const struct tdxm_td_left *td),
		      void *arg)
{
	struct tdxm_object *object;

	/* Keeps objects from being freed; all that is read of them is atomic or constant. */
	pthread_mutex_lock(&m->objects.mutex);
	for (object = m->objects.head; object; object = object->next) {
		struct tdxm_td *td = (struct tdxm_td *)object;

		if (object->kind != TDXM_OBJECT_TD)
			continue;
		fn(arg, &(struct tdxm_td_left) {
				.tdr = td->tdr_hpa,
				.hkid = td->hkid,
				.lifecycle = lifecycle_name(td->lifecycle),
				.pages = (uint64_t)td->chldcnt + 1,
				.excused = td->mishaps & MISHAP_INJECTED,
			});
	}
	pthread_mutex_unlock(&m->objects.mutex);
}

static void count_td(void *arg, const struct tdxm_td_left *td)
{
	struct tdxm_audit *audit = arg;

	(void)td;
	audit->tds++;
}

static void count_finding(void *arg, const struct tdxm_finding *finding)
{
	struct tdxm_audit *audit = arg;

	audit->findings += finding->kind == TDXM_FINDING_SANITIZER;
}

void tdxm_audit(struct tdxm *m, struct tdxm_audit *audit)
{
	unsigned int i;

	*audit = (struct tdxm_audit) {
		.pages = m->owned_pages,
		.suspended = atomic_load(&m->steer.num_suspended),
	};
	tdxm_for_each_td(m, count_td, audit);
	tdxm_for_each_finding(m, count_finding, audit);
	for (i = 0; i < TDX_MAX_HKIDS; i++) {
		unsigned int state = m->kot[i].state;

		audit->keyids += state == KOT_ASSIGNED || state == KOT_FLUSHED;
	}
}
