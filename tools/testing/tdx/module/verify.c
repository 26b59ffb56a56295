// SPDX-License-Identifier: GPL-2.0-only
/*
 * Consistency of the model: each fact that it keeps in two places is counted in
 * one and compared with the other. Pages of a TD are counted by type from the
 * PAMT; leaves and tables from the S-EPT. Sets are compared by size and by a sum
 * of hashes, which finds one page that is mapped twice in place of another.
 */
#include "module/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "module/model.h"

#define MAX_TDS 64
#define NR_TYPES (PT_EPT + 1)

/* What a TD has. */
struct tally {
	uint64_t tdr;
	struct tdxm_td *td;
	int64_t pages[NR_TYPES]; /* 4K */
	uint64_t hash[NR_TYPES];
	uint32_t vcpus; /* initialised */
	uint32_t associated;
	uint32_t inside[2];
	unsigned int vcpu_pages; /* TDVPRs and their TDCX */
};

struct verify {
	struct tdxm *m;
	struct tally tally[MAX_TDS];
	unsigned int nr_tallies;
	uint64_t pages;
	unsigned int keyid_users[TDX_MAX_HKIDS];
	char *why;
	size_t len;
	bool ok;
};

__attribute__((format(printf, 2, 3))) static bool wrong(struct verify *v, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (v->ok)
		vsnprintf(v->why, v->len, fmt, args);
	va_end(args);
	v->ok = false;
	return false;
}

#define HEX(x) ((unsigned long long)(x))

static uint64_t hash_of(uint64_t hpa, unsigned int level)
{
	uint64_t x = (hpa | level) * 0x9e3779b97f4a7c15ULL;

	x ^= x >> 29;
	return x * 0xbf58476d1ce4e5b9ULL;
}

static struct tally *tally_of(struct verify *v, uint64_t tdr)
{
	struct tdxm_pamt_entry *entry = tdxm_pamt_find(v->m, tdr);
	struct tally *tally;
	unsigned int i;

	for (i = 0; i < v->nr_tallies; i++) {
		if (v->tally[i].tdr == tdr)
			return &v->tally[i];
	}
	if (!entry || entry->type != PT_TDR || !entry->object || v->nr_tallies == MAX_TDS)
		return NULL;
	tally = &v->tally[v->nr_tallies++];
	tally->tdr = tdr;
	tally->td = (struct tdxm_td *)entry->object;
	return tally;
}

static void count_vcpu(struct tally *tally, const struct tdxm_vcpu *vcpu)
{
	tally->vcpu_pages += vcpu->num_pages;
	tally->vcpus += vcpu->state != VCPU_UNINITIALIZED;
	tally->associated += vcpu->assoc_lp != TDXM_NO_LP;
	if (vcpu->state == VCPU_ACTIVE)
		tally->inside[vcpu->epoch & 1]++;
}

static bool check_object(struct verify *v, uint64_t hpa, unsigned int type,
			 struct tdxm_object *object)
{
	static const struct {
		bool wanted;
		enum tdxm_object_kind kind;
	} by_type[NR_TYPES] = {
		[PT_TDR] = { true, TDXM_OBJECT_TD },
		[PT_TDVPR] = { true, TDXM_OBJECT_VCPU },
		[PT_EPT] = { true, TDXM_OBJECT_SEPT },
	};

	if (!!object != by_type[type].wanted || (object && object->kind != by_type[type].kind))
		return wrong(v, "page 0x%llx of type %u has the wrong object", HEX(hpa), type);
	if (type == PT_TDR && ((struct tdxm_td *)object)->tdr_hpa != hpa)
		return wrong(v, "TDR 0x%llx thinks that it is elsewhere", HEX(hpa));
	return true;
}

static bool count_page(void *arg, uint64_t hpa, unsigned int level, struct tdxm_pamt_entry *entry)
{
	unsigned int type = entry->type;
	struct tdxm_object *object = entry->object;
	struct verify *v = arg;
	struct tally *tally;

	if (entry->lock.word)
		return wrong(v, "PAMT entry of 0x%llx, level %u, is locked", HEX(hpa), level);
	if (type == PT_NDA || type == PT_RSVD)
		return object ? wrong(v, "page 0x%llx is free, yet has an object", HEX(hpa)) : true;
	if (type >= NR_TYPES || (level && type != PT_REG))
		return wrong(v, "page 0x%llx, level %u, has type %u", HEX(hpa), level, type);
	if (!level && tdxm_pamt_find_level(v->m, hpa, 1)->type != PT_NDA)
		return wrong(v, "page 0x%llx belongs to a TD twice", HEX(hpa));
	tally = tally_of(v, type == PT_TDR ? hpa : entry->owner);
	if (!tally)
		return wrong(v, "page 0x%llx has owner 0x%llx, no TDR", HEX(hpa),
			     HEX(entry->owner));
	if (!check_object(v, hpa, type, object))
		return false;
	if (type == PT_TDVPR)
		count_vcpu(tally, (struct tdxm_vcpu *)object);
	tally->pages[type] += TDX_LEVEL_SIZE(level) / TDX_PAGE_SIZE;
	tally->hash[type] += hash_of(hpa, level);
	v->pages += TDX_LEVEL_SIZE(level) / TDX_PAGE_SIZE;
	return true;
}

/* What the S-EPT of a TD refers to. */
struct links {
	struct verify *v;
	struct tally *tally;
	int64_t pages[NR_TYPES];
	uint64_t hash[NR_TYPES];
};

static bool follow(struct links *links, struct tdxm_sept_page *table, unsigned int level)
{
	struct verify *v = links->v;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(table->entry); i++) {
		uint64_t septe = table->entry[i], hpa = septe & SEPTE_HPA;
		enum tdx_sept_state state;
		unsigned int type, size;
		struct tdxm_pamt_entry *entry;

		if (septe & SEPTE_TDEL)
			return wrong(v, "S-EPT entry 0x%llx is locked", HEX(septe));
		state = tdxm_septe_state(septe);
		if (state == SEPT_FREE)
			continue;
		type = tdxm_sept_state_is_leaf(state) ? PT_REG : PT_EPT;
		size = type == PT_REG ? level : 0;
		entry = tdxm_pamt_find_level(v->m, hpa, size);
		if (!entry || entry->type != type || entry->owner != links->tally->tdr)
			return wrong(v, "S-EPT entry 0x%llx: the page is none of the TD's",
				     HEX(septe));
		links->pages[type] += TDX_LEVEL_SIZE(size) / TDX_PAGE_SIZE;
		links->hash[type] += hash_of(hpa, size);
		/* A loop would not end by itself. */
		if (links->pages[type] > links->tally->pages[type])
			return wrong(v, "S-EPT of TD 0x%llx: a page is linked twice",
				     HEX(links->tally->tdr));
		if (type == PT_EPT && (!level || !follow(links, (void *)entry->object, level - 1)))
			return wrong(v, "S-EPT of TD 0x%llx is too deep", HEX(links->tally->tdr));
	}
	return true;
}

static bool check_sept(struct verify *v, struct tally *tally)
{
	struct links links = { .v = v, .tally = tally };
	struct tdxm_td *td = tally->td;
	unsigned int type;

	/* The root is there before MNG.INIT tells how high it is. */
	if (td->root && td->op_state != TD_UNINITIALIZED &&
	    !follow(&links, td->root, td->root_level))
		return false;
	for (type = PT_REG; type <= PT_EPT; type += PT_EPT - PT_REG) {
		if (links.pages[type] != tally->pages[type] ||
		    links.hash[type] != tally->hash[type])
			return wrong(v, "TD 0x%llx: S-EPT has %lld pages of type %u, PAMT %lld",
				     HEX(tally->tdr), (long long)links.pages[type], type,
				     (long long)tally->pages[type]);
	}
	return true;
}

static bool check_counts(struct verify *v, struct tally *tally)
{
	struct tdxm_td *td = tally->td;
	int64_t owned = 0;
	unsigned int type;

	for (type = 0; type < NR_TYPES; type++)
		owned += type == PT_TDR ? 0 : tally->pages[type];
	if (td->chldcnt != owned || td->private_pages != tally->pages[PT_REG])
		return wrong(v, "TD 0x%llx counts %lld pages, %lld private, and has %lld, %lld",
			     HEX(tally->tdr), (long long)td->chldcnt, (long long)td->private_pages,
			     (long long)owned, (long long)tally->pages[PT_REG]);
	/* From here on pages go one by one. */
	if (td->lifecycle == TD_TEARDOWN)
		return true;
	if (td->num_tdcx + tally->vcpu_pages != tally->pages[PT_TDCX] + tally->pages[PT_TDVPR])
		return wrong(v, "TD 0x%llx: TDCS and VCPUs have not the pages that the PAMT says",
			     HEX(tally->tdr));
	if (td->num_vcpus != td->vcpus_reserved)
		return wrong(v, "TD 0x%llx reserves %u VCPUs, and has %u", HEX(tally->tdr),
			     td->vcpus_reserved, td->num_vcpus);
	if (td->num_vcpus != tally->vcpus || td->num_assoc_vcpus != tally->associated)
		return wrong(v, "TD 0x%llx counts %u VCPUs, %u associated, and has %u, %u",
			     HEX(tally->tdr), td->num_vcpus, td->num_assoc_vcpus, tally->vcpus,
			     tally->associated);
	if (td->refcount[0] != tally->inside[0] || td->refcount[1] != tally->inside[1])
		return wrong(v, "TD 0x%llx counts %u + %u VCPUs inside, and has %u + %u",
			     HEX(tally->tdr), td->refcount[0], td->refcount[1], tally->inside[0],
			     tally->inside[1]);
	return check_sept(v, tally);
}

static bool check_td(struct verify *v, struct tally *tally)
{
	static const enum tdx_kot_state of_lifecycle[] = {
		[TD_HKID_ASSIGNED] = KOT_ASSIGNED,
		[TD_KEYS_CONFIGURED] = KOT_ASSIGNED,
		[TD_BLOCKED] = KOT_FLUSHED,
	};
	struct tdxm_td *td = tally->td;

	if (td->op_state_lock.word || td->sept_lock.word || td->epoch_lock.word)
		return wrong(v, "TD 0x%llx has a lock left", HEX(tally->tdr));
	if (td->lifecycle != TD_TEARDOWN) {
		v->keyid_users[td->hkid]++;
		if (v->m->kot[td->hkid].state != of_lifecycle[td->lifecycle])
			return wrong(v, "TD 0x%llx: KeyID %u is in state %u", HEX(tally->tdr),
				     td->hkid, v->m->kot[td->hkid].state);
	}
	return check_counts(v, tally);
}

static bool check_module(struct verify *v)
{
	struct tdxm *m = v->m;
	unsigned int i;

	if (m->calls_inside)
		return wrong(v, "%u calls are inside", m->calls_inside);
	if (m->sys_lock.word || m->kot_lock.word)
		return wrong(v, "a lock of the module is left");
	for (i = 0; i < TDX_MAX_PACKAGES; i++) {
		if (m->wbt_lock[i].word || m->ket_lock[i].word)
			return wrong(v, "a lock of package %u is left", i);
	}
	for (i = 0; i < m->num_tdmrs; i++) {
		if (m->tdmr[i].lock.word)
			return wrong(v, "the lock of TDMR %u is left", i);
	}
	if (m->owned_pages != v->pages)
		return wrong(v, "%llu pages are owned, the PAMT has %llu", HEX(m->owned_pages),
			     HEX(v->pages));
	for (i = 0; i < TDX_MAX_HKIDS; i++) {
		unsigned int state = m->kot[i].state;

		if (v->keyid_users[i] != (state == KOT_ASSIGNED || state == KOT_FLUSHED))
			return wrong(v, "KeyID %u, state %u, has %u TDs", i, state,
				     v->keyid_users[i]);
	}
	return true;
}

bool tdxm_verify(struct tdxm *m, char *why, size_t len)
{
	struct verify *v = calloc(1, sizeof(*v));
	unsigned int i;
	bool ok;

	if (!v)
		tdxm_bug("out of memory");
	v->m = m;
	v->why = why;
	v->len = len;
	v->ok = true;
	tdxm_pamt_for_each(m, count_page, v);
	for (i = 0; v->ok && i < v->nr_tallies; i++)
		check_td(v, &v->tally[i]);
	ok = v->ok && check_module(v);
	free(v);
	return ok;
}
