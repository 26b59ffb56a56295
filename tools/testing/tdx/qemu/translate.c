// SPDX-License-Identifier: GPL-2.0-only
/*
 * Choose, while TCG translates a block, the instructions that need a callback.
 * All others run at full speed.
 */
#include <string.h>

#include "qemu/tdxq.h"

/* Sites are never freed: QEMU may keep a block, and with it the pointer, for ever. */
static struct tdxq_site *site_get(struct tdxq *q, const struct qemu_plugin_insn *insn,
				  const uint8_t *bytes, size_t len)
{
	struct {
		const uint8_t *code;
		uint16_t offset;
		uint8_t bytes[VMXR_MAX_INSN_LEN];
	} place;
	struct tdxq_site *site;
	GBytes *key;

	memset(&place, 0, sizeof(place));
	place.code = qemu_plugin_insn_haddr(insn);
	place.offset = qemu_plugin_insn_vaddr(insn) & TDXQ_PAGE_OFFSET;
	memcpy(place.bytes, bytes, len);
	key = g_bytes_new(&place, sizeof(place));

	g_mutex_lock(&q->lock);
	site = g_hash_table_lookup(q->sites, key);
	if (site) {
		g_bytes_unref(key);
	} else {
		site = g_new0(struct tdxq_site, 1);
		site->q = q;
		site->code = place.code;
		site->offset = place.offset;
		vmxr_decode(bytes, len, &site->insn);
		g_hash_table_insert(q->sites, key, site);
	}
	g_mutex_unlock(&q->lock);
	return site;
}

static void when_pending(struct qemu_plugin_insn *insn, struct tdxq *q)
{
	qemu_plugin_register_vcpu_insn_exec_cond_cb(insn, tdxq_after, QEMU_PLUGIN_CB_RW_REGS,
						    QEMU_PLUGIN_COND_NE, q->pending, 0, q);
}

/*
 * Where TCG ends a block because of the page: at the edge, or before an
 * instruction that crosses it.
 */
static bool near_page_edge(uint64_t vaddr)
{
	uint64_t offset = vaddr & TDXQ_PAGE_OFFSET;

	return offset < VMXR_MAX_INSN_LEN || offset > TDXQ_PAGE_SIZE - VMXR_MAX_INSN_LEN;
}

/* CPUID is corrected before the next instruction, if the block has one. */
static void on_cpuid(struct tdxq *q, struct qemu_plugin_tb *tb, size_t i, struct tdxq_site *site)
{
	struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
	size_t n = qemu_plugin_tb_n_insns(tb);

	if (i + 1 < n) {
		qemu_plugin_register_vcpu_insn_exec_cb(insn, tdxq_before_cpuid,
						       QEMU_PLUGIN_CB_R_REGS, site);
		when_pending(qemu_plugin_tb_get_insn(tb, i + 1), q);
	} else if (near_page_edge(qemu_plugin_insn_vaddr(insn) + site->insn.len)) {
		qemu_plugin_register_vcpu_insn_exec_cb(insn, tdxq_before_cpuid,
						       QEMU_PLUGIN_CB_R_REGS, site);
	} else {
		qemu_plugin_register_vcpu_insn_exec_cb(insn, tdxq_before_last_cpuid,
						       QEMU_PLUGIN_CB_RW_REGS_PC, site);
	}
}

static void on_site(struct tdxq *q, struct qemu_plugin_tb *tb, size_t i, struct tdxq_site *site)
{
	struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

	switch (site->insn.kind) {
	case VMXR_CPUID:
		on_cpuid(q, tb, i, site);
		break;
	case VMXR_RDMSR:
	case VMXR_WRMSR:
	case VMXR_MOV_TO_CR4:
	case VMXR_MOV_FROM_CR4:
		qemu_plugin_register_vcpu_insn_exec_cb(insn, tdxq_system, QEMU_PLUGIN_CB_RW_REGS_PC,
						       site);
		break;
	default:
		qemu_plugin_register_vcpu_insn_exec_cb(insn, tdxq_execute,
						       QEMU_PLUGIN_CB_RW_REGS_PC, site);
		break;
	}
}

void tdxq_translate(struct qemu_plugin_tb *tb, void *userdata)
{
	struct tdxq *q = userdata;
	size_t n = qemu_plugin_tb_n_insns(tb);

	if (near_page_edge(qemu_plugin_tb_vaddr(tb)))
		qemu_plugin_register_vcpu_tb_exec_cond_cb(tb, tdxq_after_block,
							  QEMU_PLUGIN_CB_RW_REGS,
							  QEMU_PLUGIN_COND_NE, q->pending, 0, q);
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t bytes[VMXR_MAX_INSN_LEN];
		size_t len = qemu_plugin_insn_data(insn, bytes, sizeof(bytes));

		if (vmxr_prefilter(bytes, len))
			on_site(q, tb, i, site_get(q, insn, bytes, len));
	}
}
