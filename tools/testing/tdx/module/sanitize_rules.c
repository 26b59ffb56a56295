// SPDX-License-Identifier: GPL-2.0-only
/* The rules of the sanitizer. */
#include "module/sanitize.h"

/*
 * What else must hold, and is looked at elsewhere or not at all:
 *  - S-EPT and PAMT, counts of pages, VCPUs and entered VCPUs, owners and KeyIDs
 *    agree: of the model, not of the kernel. tdxm_verify(), in each unit test.
 *  - A refused leaf changes nothing: checks and effects are separate functions.
 *  - TDR-exclusive leaves never meet another call on the TD: shows as
 *    TDX_OPERAND_BUSY in the counts and the trace. No finding, because a test that
 *    holds a call, and a user of an old kernel, provoke it at will.
 *  - All LPs initialised before SYS.CONFIG: refused, and a kernel that was booted
 *    on fewer LPs than there are runs into it by design.
 *  - Calls after SYS.SHUTDOWN: show as TDX_SYS_SHUTDOWN in the counts. A kernel whose
 *    update failed has no choice.
 *  - A host read of private memory: gets nothing of use and harms nobody. Only
 *    stores are watched for.
 *  - KVM's own page tables match the S-EPT: the tests compare them.
 */
const struct tdxm_san_row tdxm_san_table[SAN_RULE_COUNT] = {
	[SAN_HOST_STORE] = {
		"host-store", TDXM_CORRUPTS,
		"the host stores neither to a page of a TD nor to a PAMT",
	},
	[SAN_STORE_BEFORE_WRITEBACK] = {
		"store-before-writeback", TDXM_CORRUPTS,
		"a page that a TD gave back is written back before the host stores to it",
	},
	[SAN_OFFERED_WHILE_OWNED] = {
		"offered-while-owned", TDXM_REFUSED,
		"a page offered to the module belongs to no TD",
	},
	[SAN_SEPT_PAGE_FREED_WHILE_LINKED] = {
		"sept-page-freed-while-linked", TDXM_REFUSED,
		"an S-EPT page stays with its TD until the KeyID is free: the tree refers to it",
	},
	[SAN_NO_WRITEBACK] = {
		"no-writeback", TDXM_CORRUPTS,
		"a page offered to the module has no dirty lines of its last KeyID",
	},
	[SAN_SOURCE_OWNED_BY_TD] = {
		"source-owned-by-td", TDXM_CORRUPTS,
		"what the module or the CPU reads as memory of the host belongs to no TD",
	},
	[SAN_WBINVD_OF_OWNED_PAGE] = {
		"wbinvd-of-owned-page", TDXM_REFUSED,
		"PHYMEM.PAGE.WBINVD names a page that its TD gave back",
	},
	[SAN_KEYID_REUSED] = {
		"keyid-reused", TDXM_REFUSED,
		"a new TD gets a KeyID that nobody has",
	},
	[SAN_KEYID_FREED_EARLY] = {
		"keyid-freed-early", TDXM_REFUSED,
		"each package writes back its caches before the KeyID is freed",
	},
	[SAN_KEYID_FREED_WITH_PAGES] = {
		"keyid-freed-with-pages", TDXM_LEAKS,
		"the private memory of a TD is removed while it still has its KeyID",
	},
	[SAN_RECLAIM_BEFORE_TEARDOWN] = {
		"reclaim-before-teardown", TDXM_REFUSED,
		"pages are reclaimed once the KeyID of their TD is free",
	},
	[SAN_TDR_WITH_CHILDREN] = {
		"tdr-with-children", TDXM_REFUSED,
		"the TDR is the last page of its TD to be reclaimed",
	},
	[SAN_CALL_AFTER_TEARDOWN] = {
		"call-after-teardown", TDXM_REFUSED,
		"once its KeyID is free, a TD is only reclaimed",
	},
	[SAN_UNTRACKED_REMOVE] = {
		"untracked-remove", TDXM_REFUSED,
		"a page of a running TD is blocked, and every VCPU has left, before it is removed",
	},
	[SAN_VCPU_NOT_FLUSHED] = {
		"vcpu-not-flushed", TDXM_REFUSED,
		"a VCPU is flushed on its LP before it is used on another",
	},
	[SAN_MEASURED_TWICE] = {
		"measured-twice", TDXM_CORRUPTS,
		"each chunk of a page enters the measurement once",
	},
	[SAN_PARTLY_MEASURED] = {
		"partly-measured", TDXM_CORRUPTS,
		"a page is measured as a whole or not at all",
	},
	[SAN_LP_NOT_INITIALISED] = {
		"lp-not-initialised", TDXM_CORRUPTS,
		"an LP is initialised before it makes other calls",
	},
	/* Judged at the end of a run, which alone knows that there ought to be no TD. */
	[SAN_LEAK] = {
		"leak", TDXM_LEAKS,
		"when the last VM is gone there is no TD, no KeyID and no page of a TD",
	},
};
