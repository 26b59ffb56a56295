// SPDX-License-Identifier: GPL-2.0-only
/* Installation of the plugin, and its end. */
#include <string.h>

#include "qemu/tdxq.h"
#include "qemu/watch.h"

TDXQ_EXPORT int qemu_plugin_version = TDXQ_PLUGIN_API_VERSION;

#define DISCONTINUITIES (QEMU_PLUGIN_DISCON_INTERRUPT | QEMU_PLUGIN_DISCON_EXCEPTION)

static void vcpu_init(unsigned int vcpu_index, void *userdata)
{
	struct tdxq *q = userdata;

	/* Without its registers no vCPU can be helped, and the run proves nothing. */
	if (vcpu_index >= TDXM_MAX_LPS || !tdxq_regs_init(&q->vcpu[vcpu_index]))
		g_error("tdx-host: vCPU %u cannot be used", vcpu_index);
}

static void at_exit(void *userdata)
{
	struct tdxq *q = userdata;

	tdxq_watch_end(q);
	if (q->options.report)
		tdxq_report(q);
	tdxq_trace_close(q);
}

static bool usable(const qemu_info_t *info)
{
	if (!info->system_emulation || strcmp(info->target_name, "x86_64")) {
		fprintf(stderr, "tdx-host: needs qemu-system-x86_64, not %s\n", info->target_name);
		return false;
	}
	if (info->system.max_vcpus > TDXM_MAX_LPS) {
		fprintf(stderr, "tdx-host: %d vCPUs are too many, at most %d\n",
			info->system.max_vcpus, TDXM_MAX_LPS);
		return false;
	}
	if (info->system.smp_vcpus != info->system.max_vcpus) {
		fprintf(stderr, "tdx-host: no CPU can be added later, -smp maxcpus= must go\n");
		return false;
	}
	return true;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	struct tdxq *q = g_new0(struct tdxq, 1);

	if (!usable(info) || !tdxq_parse_options(&q->options, argc, argv) || !tdxq_trace_open(q)) {
		g_free(q);
		return -1;
	}
	q->nr_vcpus = (unsigned int)info->system.smp_vcpus;
	q->start_ns = tdxq_now_ns(NULL);
	q->pending.score = qemu_plugin_scoreboard_new(sizeof(uint64_t));
	q->sites = g_hash_table_new(g_bytes_hash, g_bytes_equal);
	q->findings = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_mutex_init(&q->lock);
	g_mutex_init(&q->power_lock);

	qemu_plugin_register_vcpu_init_cb(id, vcpu_init, q);
	qemu_plugin_register_vcpu_tb_trans_cb(id, tdxq_translate, q);
	qemu_plugin_register_vcpu_discon_cb(id, DISCONTINUITIES, tdxq_discontinuity, q);
	qemu_plugin_register_atexit_cb(id, at_exit, q);
	return 0;
}
