// SPDX-License-Identifier: GPL-2.0-only
/* Who looks at the rules: when a call ends, when a page is offered, when the host stores. */
#include "module/sanitize.h"

#include <stdarg.h>

#include "module/finding.h"
#include "module/model.h"

#define ANY_LEAF 0xffff
#define CHUNK_SIZE 256
#define ALL_CHUNKS 0xffff

static struct tdxm_finding finding_of(enum tdxm_san_rule rule, uint64_t hpa)
{
	static const char *const severity[] = {
		[TDXM_CORRUPTS] = "corrupts",
		[TDXM_REFUSED] = "refused",
		[TDXM_LEAKS] = "leaks",
	};
	const struct tdxm_san_row *row = &tdxm_san_table[rule];

	return (struct tdxm_finding) {
		.kind = TDXM_FINDING_SANITIZER,
		.rule = row->id,
		.severity = severity[row->severity],
		.invariant = row->invariant,
		.hpa = hpa,
		.lp = TDXM_NO_LP,
	};
}

void tdxm_sanitizer(struct tdxm_call *call, enum tdxm_san_rule rule, uint64_t hpa, const char *fmt,
		    ...)
{
	struct tdxm_finding about = finding_of(rule, hpa);
	va_list args;

	about.lp = (int)call->lp;
	about.time_ns = call->start_ns - call->m->power_on_ns;
	va_start(args, fmt);
	tdxm_finding_vadd(call->m, &about, true, fmt, args);
	va_end(args);
}

/* Refusals that no kernel in order ever gets; @muted: by what the TD went through. */
static const struct refusal {
	unsigned int leaf;
	uint64_t code;
	enum tdxm_san_rule rule;
	unsigned int muted;
	const char *text;
} refusals[] = {
	{ TDH_MNG_CREATE, TDX_HKID_NOT_FREE, SAN_KEYID_REUSED, 0, "the KeyID is still in use" },
	{ TDH_PHYMEM_PAGE_RECLAIM, TDX_LIFECYCLE_STATE_INCORRECT, SAN_RECLAIM_BEFORE_TEARDOWN,
	  MISHAP_INJECTED, "the KeyID of the TD is not free yet" },
	{ TDH_PHYMEM_PAGE_RECLAIM, TDX_TD_ASSOCIATED_PAGES_EXIST, SAN_TDR_WITH_CHILDREN, ANY_MISHAP,
	  "the TD has other pages left" },
	{ TDH_PHYMEM_PAGE_WBINVD, TDX_PAGE_METADATA_INCORRECT, SAN_WBINVD_OF_OWNED_PAGE, 0,
	  "the page is not the host's" },
	{ TDH_MNG_KEY_FREEID, TDX_WBCACHE_NOT_COMPLETE, SAN_KEYID_FREED_EARLY, ANY_MISHAP,
	  "not every package has written back" },
	{ TDH_MEM_PAGE_REMOVE, TDX_GPA_RANGE_NOT_BLOCKED, SAN_UNTRACKED_REMOVE, ANY_MISHAP,
	  "the page is not blocked" },
	{ TDH_MEM_PAGE_REMOVE, TDX_TLB_TRACKING_NOT_DONE, SAN_UNTRACKED_REMOVE, ANY_MISHAP,
	  "a VCPU may still have a translation" },
	{ TDH_VP_ENTER, TDX_VCPU_ASSOCIATED, SAN_VCPU_NOT_FLUSHED, ANY_MISHAP,
	  "the VCPU belongs to another LP" },
	{ TDH_VP_RD, TDX_VCPU_ASSOCIATED, SAN_VCPU_NOT_FLUSHED, ANY_MISHAP,
	  "the VCPU belongs to another LP" },
	{ TDH_VP_WR, TDX_VCPU_ASSOCIATED, SAN_VCPU_NOT_FLUSHED, ANY_MISHAP,
	  "the VCPU belongs to another LP" },
	{ ANY_LEAF, TDX_TD_KEYS_NOT_CONFIGURED, SAN_CALL_AFTER_TEARDOWN, MISHAP_INJECTED,
	  "the KeyID of the TD is free already" },
	{ ANY_LEAF, TDX_LIFECYCLE_STATE_INCORRECT, SAN_CALL_AFTER_TEARDOWN, MISHAP_INJECTED,
	  "the KeyID of the TD is free already" },
};

static const struct refusal *find_refusal(const struct tdxm_call *call, uint64_t status)
{
	uint64_t code = tdx_status_code(status);
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(refusals); i++) {
		const struct refusal *row = &refusals[i];

		if (row->code == code && row->leaf == call->leaf->number)
			return row;
		if (row->code == code && row->leaf == ANY_LEAF && call->td &&
		    call->td->lifecycle == TD_TEARDOWN)
			return row;
	}
	return NULL;
}

static uint64_t page_named(const struct tdxm_call *call)
{
	if (call->page.entry)
		return call->page.hpa;
	if (call->tdvpr_page.entry)
		return call->tdvpr_page.hpa;
	return call->tdr_page.entry ? call->tdr_page.hpa : TDXM_NO_PAGE;
}

static void judge_refusal(struct tdxm_call *call, uint64_t status)
{
	const struct refusal *row = find_refusal(call, status);
	unsigned int mishaps = call->td ? call->td->mishaps : 0;
	enum tdxm_san_rule rule;

	if (!row)
		return;
	rule = row->rule;
	if (rule == SAN_KEYID_FREED_EARLY)
		mishaps |= call->m->wb_mishaps;
	if (mishaps & row->muted)
		return;
	if (rule == SAN_RECLAIM_BEFORE_TEARDOWN && call->out.rcx == PT_EPT)
		rule = SAN_SEPT_PAGE_FREED_WHILE_LINKED;
	tdxm_sanitizer(call, rule, page_named(call), "%s (rcx 0x%llx, rdx 0x%llx): %s",
		       call->leaf->name, (unsigned long long)call->in.rcx,
		       (unsigned long long)call->in.rdx, row->text);
}

static void judge_refused(struct tdxm_call *call, uint64_t status)
{
	struct tdxm *m = call->m;

	if (!call->injected)
		judge_refusal(call, status);
	tdxm_mishap_note(call, status);
	switch (call->leaf->number) {
	case TDH_PHYMEM_PAGE_WBINVD:
		/* A test has taken the write-back away: what follows is not the kernel's. */
		if (call->injected)
			tdxm_page_written_back(m, &call->page);
		break;
	case TDH_SYS_KEY_CONFIG:
	case TDH_SYS_TDMR_INIT:
		/* Linux gives TDX up, and its PAMTs back. */
		tdxm_pamt_watch(m, false);
		break;
	}
}

static int64_t pages_at(unsigned int level)
{
	return (int64_t)(TDX_LEVEL_SIZE(level) / TDX_PAGE_SIZE);
}

static bool in_part(unsigned int chunks)
{
	return chunks && chunks != ALL_CHUNKS;
}

static void measured(struct tdxm_call *call)
{
	uint64_t hpa = call->walk.value & SEPTE_HPA;
	struct tdxm_pamt_entry *entry = tdxm_pamt_find(call->m, hpa);
	unsigned int chunk = 1u << call->in.rcx % TDX_PAGE_SIZE / CHUNK_SIZE;
	unsigned int before = atomic_load(&entry->extended);
	int change = in_part(before | chunk) - in_part(before);

	if (before & chunk)
		tdxm_sanitizer(call, SAN_MEASURED_TWICE, hpa, "%s: gpa 0x%llx for the second time",
			       call->leaf->name, (unsigned long long)call->in.rcx);
	/* The TDR is locked exclusively: there is no other. */
	atomic_store_explicit(&entry->extended, before | chunk, memory_order_relaxed);
	if (change)
		call->td->partly_measured += change;
}

struct partly {
	uint64_t tdr;
	uint64_t hpa;
};

static bool is_partly(void *arg, uint64_t hpa, unsigned int level, struct tdxm_pamt_entry *entry)
{
	struct partly *partly = arg;

	(void)level;
	if (atomic_load(&entry->type) != PT_REG || entry->owner != partly->tdr ||
	    !in_part(atomic_load(&entry->extended)))
		return true;
	partly->hpa = hpa;
	return false;
}

static void finalized(struct tdxm_call *call)
{
	struct tdxm_td *td = call->td;
	struct partly partly = { .tdr = td->tdr_hpa, .hpa = TDXM_NO_PAGE };

	if (!td->partly_measured || td->mishaps & MISHAP_MEASURE)
		return;
	tdxm_pamt_for_each(call->m, is_partly, &partly);
	tdxm_sanitizer(call, SAN_PARTLY_MEASURED, partly.hpa,
		       "%s: TD 0x%llx has %lld pages of which only a part is measured",
		       call->leaf->name, (unsigned long long)td->tdr_hpa,
		       (long long)td->partly_measured);
}

static void key_freed(struct tdxm_call *call)
{
	struct tdxm_td *td = call->td;

	if (td->private_pages && !(td->mishaps & ANY_MISHAP))
		tdxm_sanitizer(call, SAN_KEYID_FREED_WITH_PAGES,
			       tdxm_pamt_find_owned(call->m, td->tdr_hpa, PT_REG),
			       "%s: TD 0x%llx has %lld private pages left", call->leaf->name,
			       (unsigned long long)td->tdr_hpa, (long long)td->private_pages);
}

static void removed(struct tdxm_call *call)
{
	call->td->private_pages -= pages_at(call->page.level);
	if (in_part(atomic_load(&call->page.entry->extended)))
		call->td->partly_measured--;
}

/* The effects are there. A TD whose TDR was reclaimed is gone. */
static void judge_effect(struct tdxm_call *call)
{
	switch (call->leaf->number) {
	case TDH_MEM_PAGE_ADD:
	case TDH_MEM_PAGE_AUG:
		call->td->private_pages += pages_at(call->page.level);
		break;
	case TDH_MEM_PAGE_REMOVE:
		removed(call);
		break;
	case TDH_PHYMEM_PAGE_RECLAIM:
		if (call->out.rcx == PT_REG)
			removed(call);
		break;
	case TDH_MR_EXTEND:
		measured(call);
		break;
	case TDH_MR_FINALIZE:
		finalized(call);
		break;
	case TDH_MNG_KEY_FREEID:
		key_freed(call);
		break;
	}
	tdxm_mishap_forget(call);
}

void tdxm_sanitize_result(struct tdxm_call *call, uint64_t status)
{
	if (tdx_status_is_error(status) || call->injected)
		judge_refused(call, status);
	else if (status == TDX_SUCCESS)
		judge_effect(call);
}

void tdxm_sanitize_offer(struct tdxm_call *call, uint64_t hpa)
{
	struct tdxm *m = call->m;
	struct tdxm_pamt_entry *entry = tdxm_pamt_find_leaf(m, hpa);
	unsigned int type = atomic_load(&entry->type);
	unsigned int stale = atomic_load(&tdxm_pamt_find(m, hpa)->stale_hkid);

	if (tdxm_pamt_td_owned(m, hpa)) {
		if (tdxm_mishaps(m, hpa) & MISHAP_INJECTED)
			return;
		tdxm_sanitizer(call,
			       type == PT_EPT ? SAN_SEPT_PAGE_FREED_WHILE_LINKED :
						SAN_OFFERED_WHILE_OWNED,
			       hpa, "%s: page 0x%llx is a %s page of TD 0x%llx", call->leaf->name,
			       (unsigned long long)hpa, tdxm_page_type_name(type),
			       (unsigned long long)(type == PT_TDR ? hpa : entry->owner));
	} else if (stale) {
		tdxm_sanitizer(call, SAN_NO_WRITEBACK, hpa,
			       "%s: page 0x%llx without TDH.PHYMEM.PAGE.WBINVD for KeyID %u",
			       call->leaf->name, (unsigned long long)hpa, stale - 1);
	}
}

static void host_store(struct tdxm *m, const struct tdxm_finding *about, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tdxm_finding_vadd(m, about, false, fmt, args);
	va_end(args);
}

void tdxm_host_store(struct tdxm *m, int lp, uint64_t hpa, const uint64_t *pc, size_t nr_pc)
{
	uint64_t page = hpa & ~(TDX_PAGE_SIZE - 1);
	struct tdxm_pamt_entry *entry = tdxm_pamt_find_leaf(m, page);
	unsigned int type = entry ? atomic_load(&entry->type) : PT_NDA;
	unsigned int stale = entry ? atomic_load(&tdxm_pamt_find(m, page)->stale_hkid) : 0;
	bool is_stale = stale && !tdxm_pamt_td_owned(m, page);
	struct tdxm_finding about =
		finding_of(is_stale ? SAN_STORE_BEFORE_WRITEBACK : SAN_HOST_STORE, page);

	about.lp = lp;
	about.time_ns = m->ops.now_ns(m->opaque) - m->power_on_ns;
	about.backtrace = pc;
	about.nr_backtrace = nr_pc;
	if (tdxm_mishaps(m, page) & MISHAP_INJECTED)
		return;
	if (is_stale)
		host_store(m, &about, "page 0x%llx before TDH.PHYMEM.PAGE.WBINVD for KeyID %u",
			   (unsigned long long)page, stale - 1);
	else if (tdxm_in_pamt(m, page))
		host_store(m, &about, "page 0x%llx of a PAMT", (unsigned long long)page);
	else
		host_store(m, &about, "page 0x%llx, a %s page of TD 0x%llx",
			   (unsigned long long)page, tdxm_page_type_name(type),
			   (unsigned long long)(type == PT_TDR || !entry ? page : entry->owner));
}
