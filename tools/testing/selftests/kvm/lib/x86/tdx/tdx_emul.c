// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control channel of the emulated TDX host, see include/x86/tdx/tdx_emul.h.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test_util.h"
#include "tdx/tdx_emul.h"
#include "tdx/tdx_host.h"
#include "tdx/tdx_task.h"

#define EMUL_POLL_US 1000

/* Percent of the modelled times, as the machine was started. */
static u64 emul_latency;
static struct tdx_emul_audit emul_start;
static bool emul_begun;

void tdx_emul_cpuid(struct tdx_emul_regs *regs)
{
	/* All but the stack pointer and the frame pointer, which the compiler may need. */
	register u64 r8 asm("r8") = regs->r8;
	register u64 r9 asm("r9") = regs->r9;
	register u64 r10 asm("r10") = regs->r10;
	register u64 r11 asm("r11") = regs->r11;
	register u64 r12 asm("r12") = regs->r12;
	register u64 r13 asm("r13") = regs->r13;
	register u64 r14 asm("r14") = regs->r14;
	register u64 r15 asm("r15") = regs->r15;

	asm volatile("cpuid"
		     : "+a"(regs->rax), "+b"(regs->rbx), "+c"(regs->rcx), "+d"(regs->rdx),
		       "+S"(regs->rsi), "+D"(regs->rdi), "+r"(r8), "+r"(r9), "+r"(r10), "+r"(r11),
		       "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15)
		     :
		     : "memory");

	regs->r8 = r8;
	regs->r9 = r9;
	regs->r10 = r10;
	regs->r11 = r11;
	regs->r12 = r12;
	regs->r13 = r13;
	regs->r14 = r14;
	regs->r15 = r15;
}

static u32 emul_abi_version(void)
{
	struct tdx_emul_regs regs = { .rax = TDX_EMUL_LEAF_VERSION };

	tdx_emul_cpuid(&regs);
	return regs.rax;
}

const char *tdx_emul_lacks(void)
{
	if (!tdx_host_is_emulated())
		return "not the emulated TDX host: silicon can neither be steered nor looked into";

	if (emul_abi_version() != TDX_EMUL_ABI_VERSION)
		return "the emulated TDX host speaks another version of tdx_emul_abi.h";

	return NULL;
}

static int emul_request(struct tdx_emul_regs *regs, unsigned int request)
{
	if (tdx_emul_lacks())
		return -EOPNOTSUPP;

	regs->rax = TDX_EMUL_LEAF_CONTROL;
	regs->rcx = request;
	tdx_emul_cpuid(regs);
	return -(int)regs->rax;
}

int tdx_emul_arm(const struct tdx_emul_rule *rule, u64 *id)
{
	struct tdx_emul_regs regs = {
		.rbx = TDX_EMUL_RULE(rule->action, rule->leaf),
		.rdx = rule->tdr,
		.rsi = rule->gpa,
		.rdi = rule->size,
		.r8 = rule->first ?: 1,
		.r9 = rule->status,
		.r10 = rule->count,
		.r11 = rule->timeout_ms ?: tdx_host_deadline_ms(),
	};
	int r = emul_request(&regs, TDX_EMUL_ARM);

	*id = r ? 0 : regs.rbx;
	return r;
}

int tdx_emul_release(u64 id)
{
	struct tdx_emul_regs regs = { .rbx = id };

	return emul_request(&regs, TDX_EMUL_RELEASE);
}

int tdx_emul_disarm(u64 id)
{
	struct tdx_emul_regs regs = { .rbx = id };

	return emul_request(&regs, TDX_EMUL_DISARM);
}

int tdx_emul_rule_state(u64 id, struct tdx_emul_rule_state *state)
{
	struct tdx_emul_regs regs = { .rbx = id };
	int r = emul_request(&regs, TDX_EMUL_RULE_STATE);

	*state = (struct tdx_emul_rule_state) {};
	if (!r)
		*state = (struct tdx_emul_rule_state) {
			.held = regs.rbx,
			.matches = regs.rdx,
			.hits = regs.rsi,
			.timeouts = regs.rdi,
		};
	return r;
}

/* Polls one counter of struct tdx_emul_rule_state. */
static bool emul_wait(u64 id, size_t counter, unsigned int nr)
{
	u64 deadline = tdx_now_ms() + tdx_host_deadline_ms();
	struct tdx_emul_rule_state state;

	while (!tdx_emul_rule_state(id, &state)) {
		if (*(u64 *)((char *)&state + counter) >= nr)
			return true;
		if (tdx_now_ms() >= deadline)
			break;
		usleep(EMUL_POLL_US);
	}

	printf("# rule %lu: %lu held, %lu matches, %lu hits, %lu timeouts; waited for %u\n", id,
	       state.held, state.matches, state.hits, state.timeouts, nr);
	return false;
}

bool tdx_emul_wait_held(u64 id, unsigned int nr)
{
	return emul_wait(id, offsetof(struct tdx_emul_rule_state, held), nr);
}

bool tdx_emul_wait_hits(u64 id, unsigned int nr)
{
	return emul_wait(id, offsetof(struct tdx_emul_rule_state, hits), nr);
}

void tdx_emul_reset(void)
{
	u64 former;

	tdx_emul_disarm(0);
	tdx_emul_busy_once(false);
	if (emul_begun)
		tdx_emul_latency(emul_latency, &former);
}

int tdx_emul_count_masked(unsigned int leaf, u64 status, u64 mask, u64 *count)
{
	struct tdx_emul_regs regs = { .rbx = leaf, .rdx = status, .rsi = mask };
	int r = emul_request(&regs, TDX_EMUL_COUNT);

	*count = r ? 0 : regs.rbx;
	return r;
}

u64 tdx_emul_count(unsigned int leaf, u64 status)
{
	u64 count;

	tdx_emul_count_masked(leaf, status, ~0ull << 32, &count);
	return count;
}

int tdx_emul_td(unsigned int n, struct tdx_emul_td *td)
{
	struct tdx_emul_regs regs = { .rbx = n };
	int r = emul_request(&regs, TDX_EMUL_TD);

	*td = (struct tdx_emul_td) {};
	if (!r)
		*td = (struct tdx_emul_td) {
			.tdr = regs.rbx,
			.serial = regs.rdx,
			.hkid = regs.rsi,
			.lifecycle = regs.rdi & 0xff,
			.op_state = (regs.rdi >> 8) & 0xff,
			.fatal = regs.rdi & (1 << 16),
			.pages = regs.r8,
			.vcpus = regs.r9,
			.epoch = regs.r10,
		};
	return r;
}

int tdx_emul_newest_td(struct tdx_emul_td *td)
{
	struct tdx_emul_td next;
	unsigned int n;
	int r;

	*td = (struct tdx_emul_td) {};
	for (n = 0; !(r = tdx_emul_td(n, &next)); n++) {
		if (next.serial >= td->serial)
			*td = next;
	}

	return n && r == -ENOENT ? 0 : r;
}

u64 tdx_emul_hold(unsigned int action, unsigned int leaf, unsigned int call, u64 timeout_ms)
{
	struct tdx_emul_rule rule = {
		.action = action,
		.leaf = leaf,
		.first = call,
		.count = 1,
		.timeout_ms = timeout_ms,
	};
	struct tdx_emul_td td;
	u64 id;

	TEST_ASSERT(!tdx_emul_newest_td(&td), "the emulator does not know the TD");
	rule.tdr = td.tdr;
	TEST_ASSERT(!tdx_emul_arm(&rule, &id), "the emulator refuses to hold leaf %u", leaf);
	return id;
}

int tdx_emul_find_td(u64 tdr, struct tdx_emul_td *td)
{
	unsigned int n;
	int r;

	for (n = 0; !(r = tdx_emul_td(n, td)); n++) {
		if (td->tdr == tdr)
			return 0;
	}

	return r;
}

int tdx_emul_sept(u64 tdr, u64 gpa, unsigned int level, struct tdx_emul_sept *sept)
{
	struct tdx_emul_regs regs = { .rbx = tdr, .rdx = gpa, .rsi = level };
	int r = emul_request(&regs, TDX_EMUL_SEPT);

	*sept = (struct tdx_emul_sept) {};
	if (!r)
		*sept = (struct tdx_emul_sept) {
			.level = regs.rbx,
			.state = regs.rdx,
			.hpa = regs.rsi,
		};
	return r;
}

int tdx_emul_page(u64 hpa, struct tdx_emul_page *page)
{
	struct tdx_emul_regs regs = { .rbx = hpa };
	int r = emul_request(&regs, TDX_EMUL_PAGE);

	*page = (struct tdx_emul_page) {};
	if (!r)
		*page = (struct tdx_emul_page) {
			.type = regs.rbx,
			.tdr = regs.rdx,
			.level = regs.rsi,
			.bepoch = regs.rdi,
		};
	return r;
}

int tdx_emul_read(u64 tdr, u64 gpa, void *buf)
{
	struct tdx_emul_regs regs = { .rbx = tdr, .rdx = gpa };
	int r = emul_request(&regs, TDX_EMUL_READ);

	if (!r)
		memcpy(buf, &regs.r8, TDX_EMUL_READ_SIZE);
	return r;
}

int tdx_emul_read_host(u64 hpa, void *buf)
{
	struct tdx_emul_regs regs = { .rbx = hpa };
	int r = emul_request(&regs, TDX_EMUL_READ_HOST);

	if (!r)
		memcpy(buf, &regs.r8, TDX_EMUL_READ_SIZE);
	return r;
}

int tdx_emul_mrtd(u64 tdr, void *mrtd)
{
	struct tdx_emul_regs regs = { .rbx = tdr };
	int r = emul_request(&regs, TDX_EMUL_MRTD);

	if (!r)
		memcpy(mrtd, &regs.r8, TDX_EMUL_MRTD_SIZE);
	return r;
}

int tdx_emul_audit(struct tdx_emul_audit *audit)
{
	struct tdx_emul_regs regs = {};
	int r = emul_request(&regs, TDX_EMUL_AUDIT);

	*audit = (struct tdx_emul_audit) {};
	if (!r)
		*audit = (struct tdx_emul_audit) {
			.tds = regs.rbx,
			.keyids = regs.rdx,
			.pages = regs.rsi,
			.findings = regs.rdi,
			.suspended = regs.r8,
		};
	return r;
}

int tdx_emul_latency(u64 percent, u64 *former)
{
	struct tdx_emul_regs regs = { .rbx = percent };
	int r = emul_request(&regs, TDX_EMUL_LATENCY);

	*former = r ? 0 : regs.rbx;
	return r;
}

int tdx_emul_busy_once(bool on)
{
	struct tdx_emul_regs regs = { .rbx = on };

	return emul_request(&regs, TDX_EMUL_BUSY_ONCE);
}

void tdx_emul_begin(void)
{
	u64 former;

	if (tdx_emul_lacks())
		return;

	/* What a program before this one left behind when it died. */
	tdx_emul_disarm(0);
	tdx_emul_busy_once(false);

	emul_begun = !tdx_emul_audit(&emul_start) && !tdx_emul_latency(0, &emul_latency) &&
		     !tdx_emul_latency(emul_latency, &former);
	if (!emul_begun)
		printf("# audit: the emulated TDX host does not answer: it is not audited\n");
}

static const struct {
	const char *name;
	size_t offset;
	bool forever; /* waiting will not mend it */
} emul_excess[] = {
	{ "TDs", offsetof(struct tdx_emul_audit, tds), false },
	{ "KeyIDs", offsetof(struct tdx_emul_audit, keyids), false },
	{ "pages", offsetof(struct tdx_emul_audit, pages), false },
	{ "sanitizer findings", offsetof(struct tdx_emul_audit, findings), true },
	{ "suspended calls", offsetof(struct tdx_emul_audit, suspended), false },
};

static long emul_more(const struct tdx_emul_audit *now, unsigned int row)
{
	size_t offset = emul_excess[row].offset;

	return *(u64 *)((char *)now + offset) - *(u64 *)((char *)&emul_start + offset);
}

/* Writes down each row that grew; says whether one of them grew forever. */
static bool emul_describe(const struct tdx_emul_audit *now, char *excess, size_t size)
{
	bool forever = false;
	unsigned int row;
	size_t len = 0;

	excess[0] = '\0';
	for (row = 0; row < sizeof(emul_excess) / sizeof(emul_excess[0]); row++) {
		long more = emul_more(now, row);

		if (more <= 0 || len >= size)
			continue;
		len += snprintf(excess + len, size - len, "%s%ld more %s", len ? ", " : "", more,
				emul_excess[row].name);
		forever |= emul_excess[row].forever;
	}

	return forever;
}

static bool emul_is_clean_by(u64 deadline, char *excess, size_t size)
{
	struct tdx_emul_audit now;

	excess[0] = '\0';
	if (!emul_begun)
		return true;

	for (;;) {
		if (tdx_emul_audit(&now)) {
			snprintf(excess, size, "the emulated TDX host does not answer");
			return false;
		}
		if (emul_describe(&now, excess, size) || tdx_now_ms() >= deadline)
			return !excess[0];
		if (!excess[0])
			return true;
		usleep(EMUL_POLL_US);
	}
}

bool tdx_emul_is_clean(char *excess, size_t size)
{
	return emul_is_clean_by(tdx_now_ms() + tdx_host_deadline_ms(), excess, size);
}

bool tdx_emul_is_clean_now(char *excess, size_t size)
{
	return emul_is_clean_by(0, excess, size);
}
