// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control channel: requests of a test in user space to the model of the
 * module, see tdx/tdx_emul_abi.h. A request has a register per argument and
 * names no memory, so it cannot write any.
 */
#include <errno.h>
#include <string.h>

#include "module/audit.h"
#include "module/query.h"
#include "module/steer.h"
#include "qemu/tdxq.h"
#include "qemu/watch.h"
#include "tdx/tdx_emul_abi.h"

#define NS_PER_MS UINT64_C(1000000)

/* Reads its arguments from the registers and writes its results there. 0 or -errno. */
typedef int (*request_fn)(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS]);

static int arm(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	struct tdxm_rule rule = {
		.action = (enum tdxm_rule_action)(gpr[VMXR_RBX] >> 32),
		.leaf = (unsigned int)gpr[VMXR_RBX],
		.tdr = gpr[VMXR_RDX],
		.gpa = gpr[VMXR_RSI],
		.gpa_size = gpr[VMXR_RDI],
		.first = gpr[VMXR_R8],
		.status = gpr[VMXR_R9],
		.count = gpr[VMXR_R10],
	};
	uint32_t id;
	int err;

	(void)q;
	if (gpr[VMXR_R11] > TDX_EMUL_MAX_TIMEOUT_MS)
		return -EINVAL;
	rule.timeout_ns = gpr[VMXR_R11] * NS_PER_MS;
	err = tdxm_arm(m, &rule, &id);
	if (!err)
		gpr[VMXR_RBX] = id;
	return err;
}

/* No rule has a number that is wider; UINT32_MAX is none, either. */
static uint32_t rule_id(uint64_t rbx)
{
	return rbx > UINT32_MAX ? UINT32_MAX : (uint32_t)rbx;
}

static int release(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	(void)q;
	return tdxm_release(m, rule_id(gpr[VMXR_RBX]));
}

static int disarm(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	(void)q;
	return tdxm_disarm(m, rule_id(gpr[VMXR_RBX]));
}

static int rule_state(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	struct tdxm_rule_state state;
	int err = tdxm_rule_state(m, rule_id(gpr[VMXR_RBX]), &state);

	(void)q;
	if (err)
		return err;
	gpr[VMXR_RBX] = state.held;
	gpr[VMXR_RDX] = state.matches;
	gpr[VMXR_RSI] = state.hits;
	gpr[VMXR_RDI] = state.timeouts;
	return 0;
}

static int count(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	(void)q;
	if (gpr[VMXR_RBX] >> 32)
		return -EINVAL;
	gpr[VMXR_RBX] =
		tdxm_query_count(m, (unsigned int)gpr[VMXR_RBX], gpr[VMXR_RDX], gpr[VMXR_RSI]);
	return 0;
}

static int td(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	struct tdxm_td_info info;
	int err;

	(void)q;
	if (gpr[VMXR_RBX] >> 32)
		return -EINVAL;
	err = tdxm_query_td(m, (unsigned int)gpr[VMXR_RBX], &info);
	if (err)
		return err;
	gpr[VMXR_RBX] = info.tdr;
	gpr[VMXR_RDX] = info.serial;
	gpr[VMXR_RSI] = info.hkid;
	gpr[VMXR_RDI] = info.lifecycle | info.op_state << 8 | (uint64_t)info.fatal << 16;
	gpr[VMXR_R8] = info.chldcnt;
	gpr[VMXR_R9] = info.num_vcpus;
	gpr[VMXR_R10] = info.epoch;
	return 0;
}

static int sept(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	struct tdxm_sept_info info;
	int err;

	(void)q;
	if (gpr[VMXR_RSI] > 4)
		return -EINVAL;
	err = tdxm_query_sept(m, gpr[VMXR_RBX], gpr[VMXR_RDX], (unsigned int)gpr[VMXR_RSI], &info);
	if (err)
		return err;
	gpr[VMXR_RBX] = info.level;
	gpr[VMXR_RDX] = info.state;
	gpr[VMXR_RSI] = info.hpa;
	return 0;
}

static int page(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	struct tdxm_page_info info;
	int err = tdxm_query_page(m, gpr[VMXR_RBX], &info);

	(void)q;
	if (err)
		return err;
	gpr[VMXR_RBX] = info.type;
	gpr[VMXR_RDX] = info.tdr;
	gpr[VMXR_RSI] = info.level;
	gpr[VMXR_RDI] = info.bepoch;
	return 0;
}

static const enum vmxr_gpr bytes_to[] = { VMXR_R8,  VMXR_R9,  VMXR_R10, VMXR_R11,
					  VMXR_R12, VMXR_R13, VMXR_R14, VMXR_R15 };

static int bytes(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	uint64_t buf[G_N_ELEMENTS(bytes_to)];
	int err = tdxm_query_bytes(m, gpr[VMXR_RBX], gpr[VMXR_RDX], buf, sizeof(buf));

	(void)q;
	for (size_t i = 0; !err && i < G_N_ELEMENTS(bytes_to); i++)
		gpr[bytes_to[i]] = buf[i];
	return err;
}

static int host_bytes(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	uint64_t buf[G_N_ELEMENTS(bytes_to)];
	int err = tdxm_query_host_bytes(m, gpr[VMXR_RBX], buf, sizeof(buf));

	(void)q;
	for (size_t i = 0; !err && i < G_N_ELEMENTS(bytes_to); i++)
		gpr[bytes_to[i]] = buf[i];
	return err;
}

static int mrtd(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	static const enum vmxr_gpr to[] = {
		VMXR_R8, VMXR_R9, VMXR_R10, VMXR_R11, VMXR_R12, VMXR_R13
	};
	uint64_t digest[G_N_ELEMENTS(to)];
	int err = tdxm_query_mrtd(m, gpr[VMXR_RBX], (uint8_t *)digest);

	(void)q;
	for (size_t i = 0; !err && i < G_N_ELEMENTS(to); i++)
		gpr[to[i]] = digest[i];
	return err;
}

static void add_finding(void *arg, const struct tdxm_finding *finding)
{
	uint64_t *sum = arg;

	if (finding->kind == TDXM_FINDING_SANITIZER)
		*sum += finding->count;
}

static int audit(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	struct tdxm_audit left;
	uint64_t findings = 0;

	tdxq_watch_drain(q);
	tdxm_audit(m, &left);
	tdxm_for_each_finding(m, add_finding, &findings);
	gpr[VMXR_RBX] = left.tds;
	gpr[VMXR_RDX] = left.keyids;
	gpr[VMXR_RSI] = left.pages;
	gpr[VMXR_RDI] = findings;
	gpr[VMXR_R8] = left.suspended;
	return 0;
}

static int latency(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	(void)q;
	if (gpr[VMXR_RBX] > TDXM_MAX_LATENCY)
		return -EINVAL;
	gpr[VMXR_RBX] = tdxm_set_latency(m, (unsigned int)gpr[VMXR_RBX]);
	return 0;
}

static int busy_once(struct tdxq *q, struct tdxm *m, uint64_t gpr[VMXR_NR_GPRS])
{
	(void)q;
	if (gpr[VMXR_RBX] > 1)
		return -EINVAL;
	tdxm_set_busy_once(m, gpr[VMXR_RBX]);
	return 0;
}

static const request_fn requests[] = {
	[TDX_EMUL_ARM] = arm,
	[TDX_EMUL_RELEASE] = release,
	[TDX_EMUL_DISARM] = disarm,
	[TDX_EMUL_RULE_STATE] = rule_state,
	[TDX_EMUL_COUNT] = count,
	[TDX_EMUL_TD] = td,
	[TDX_EMUL_SEPT] = sept,
	[TDX_EMUL_PAGE] = page,
	[TDX_EMUL_READ] = bytes,
	[TDX_EMUL_MRTD] = mrtd,
	[TDX_EMUL_AUDIT] = audit,
	[TDX_EMUL_LATENCY] = latency,
	[TDX_EMUL_BUSY_ONCE] = busy_once,
	[TDX_EMUL_READ_HOST] = host_bytes,
};

void tdxq_control(struct tdxq *q, uint64_t gpr[VMXR_NR_GPRS])
{
	struct tdxm *m = g_atomic_pointer_get(&q->module);
	uint32_t number = (uint32_t)gpr[VMXR_RCX];

	if (number >= G_N_ELEMENTS(requests) || !requests[number])
		gpr[VMXR_RAX] = EINVAL;
	else
		gpr[VMXR_RAX] = m ? (uint64_t)-requests[number](q, m, gpr) : ENODEV;
}
