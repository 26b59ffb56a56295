// SPDX-License-Identifier: GPL-2.0-only
/* The machine that the TDX module finds itself on. */
#include <string.h>

#include "cpu/vmx_spec.h"
#include "module/steer.h"
#include "qemu/tdxq.h"

/* MODEL: TCG's TSC runs at the speed of the machine below; TDs are told this. */
#define TSC_KHZ 2000000

static struct tdxm *power_on(struct tdxq *q)
{
	struct tdxm_platform platform;
	struct tdxm *module;

	tdxq_find_ram(q);
	memset(&platform, 0, sizeof(platform));
	platform.nr_lps = q->nr_vcpus;
	/* MODEL: one package, whatever -smp says */
	platform.nr_packages = 1;
	platform.maxphyaddr = VMXR_MAXPHYADDR;
	platform.keyid_bits = VMXR_KEYID_BITS;
	platform.nr_mktme = VMXR_NR_MKTME_KEYIDS;
	platform.nr_tdx_keyids = VMXR_NR_TDX_KEYIDS;
	platform.native_cpuid_1_eax = (uint32_t)g_atomic_int_get(&q->cpuid_1_eax);
	platform.la57 = true;
	platform.tsc_khz = TSC_KHZ;
	platform.nr_cmrs = q->nr_ram;
	memcpy(platform.cmr, q->ram, q->nr_ram * sizeof(q->ram[0]));
	module = tdxm_create(&platform, &tdxq_module_ops, q);
	if (module) {
		tdxm_set_latency(module, q->options.latency);
		tdxm_set_busy_once(module, q->options.busy_once);
	}
	return module;
}

struct tdxm *tdxq_module(struct tdxq *q)
{
	struct tdxm *module = g_atomic_pointer_get(&q->module);

	if (module)
		return module;
	g_mutex_lock(&q->power_lock);
	if (!q->module)
		g_atomic_pointer_set(&q->module, power_on(q));
	if (!q->module)
		tdxq_gapf(q, "the TDX module cannot be powered on");
	module = q->module;
	g_mutex_unlock(&q->power_lock);
	return module;
}
