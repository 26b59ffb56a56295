/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random programs of all that may happen to the memory of a TD being built.
 */
#ifndef TDX_INIT_MEM_STRESS_H
#define TDX_INIT_MEM_STRESS_H

#include "tdx_init_mem.h"

#define STRESS_MAX_THREADS 3
#define STRESS_MAX_TDS 2

/* The pages of the slot, and the one behind it, where there never is a slot. */
#define STRESS_PAGES (TD_NR_PAGES + 1)

enum stress_kind {
	STRESS_END,   /* of a program */
	STRESS_ADD,   /* by @vcpu from the thread's own source; @flags of the ioctl */
	STRESS_PUNCH, /* through the file descriptor, like the next one */
	STRESS_ALLOCATE,
	STRESS_SHARE, /* attributes */
	STRESS_UNSHARE,
	STRESS_DELETE_SLOT,
	STRESS_SET_SLOT,  /* at its place, with the file of the descriptor */
	STRESS_MOVE_SLOT, /* the same elsewhere, which moves the slot if there is one */
	STRESS_LOG_DIRTY, /* in the slot's flags */
	STRESS_CLOSE_FILE,
	STRESS_OPEN_FILE,    /* a new one, if it was closed */
	STRESS_REPLACE_FILE, /* the descriptor becomes that of a new file at once */
	STRESS_HIDE_SOURCE,  /* that of thread @whose; @flags: unmapped, else unreadable */
	STRESS_SHOW_SOURCE,
	STRESS_TOUCH_SHARED, /* drop pages behind the shared half, and fault them in */
	STRESS_READ_CPUID,
	STRESS_INIT_VCPU, /* the second one */
	STRESS_PRE_FAULT,
	STRESS_FINALIZE,
	STRESS_SIGNAL, /* to thread @whose */
	STRESS_KINDS
};

struct stress_op {
	enum stress_kind kind;
	unsigned int td;
	unsigned int vcpu;
	unsigned int whose;
	unsigned int first;
	unsigned int nr;
	unsigned int flags;
};

/* Never, unless all that builds a TD excludes each other. */
#define STRESS_DECOUPLED (~0u)

/*
 * @nr:		pages at most, 0 if it isn't about pages
 * @alone:	weight in programs of one thread
 * @together:	weight in programs of several threads
 * @meets_since: kernels that let it meet others unharmed, see known_issues.py of the
 *		runner for the known bugs of those that don't; decoupled ones do
 */
static const struct stress_info {
	const char *name;
	unsigned int nr;
	unsigned int alone;
	unsigned int together;
	unsigned int meets_since;
} stress_infos[STRESS_KINDS] = {
/* clang-format off */
#define STRESS_INFO(_kind, ...) \
	[_kind] = { #_kind, __VA_ARGS__ }
	STRESS_INFO(STRESS_END, 0, 0, 0, 0),
	STRESS_INFO(STRESS_ADD, 10, 60, 60, 0),
	STRESS_INFO(STRESS_PUNCH, 10, 36, 36, 0),
	STRESS_INFO(STRESS_ALLOCATE, 6, 6, 6, 0),
	STRESS_INFO(STRESS_SHARE, 3, 6, 7, 0),
	STRESS_INFO(STRESS_UNSHARE, 16, 20, 16, 0),
	STRESS_INFO(STRESS_DELETE_SLOT, 0, 4, 3, 0),
	STRESS_INFO(STRESS_SET_SLOT, 0, 24, 20, 0),
	STRESS_INFO(STRESS_MOVE_SLOT, 0, 1, 1, 0),
	STRESS_INFO(STRESS_LOG_DIRTY, 0, 1, 1, 0),
	STRESS_INFO(STRESS_CLOSE_FILE, 0, 1, 0, 0),
	STRESS_INFO(STRESS_OPEN_FILE, 0, 8, 0, 0),
	STRESS_INFO(STRESS_REPLACE_FILE, 0, 1, 2, 0),
	STRESS_INFO(STRESS_HIDE_SOURCE, 2, 4, 4, 0),
	STRESS_INFO(STRESS_SHOW_SOURCE, 16, 12, 12, 0),
	STRESS_INFO(STRESS_TOUCH_SHARED, 4, 4, 16, 0),
	/* TDX_OPERAND_BUSY of one of the two, with or without an end of the VM. */
	STRESS_INFO(STRESS_READ_CPUID, 0, 4, 8, TDX_KERNEL(6, 19)),
	STRESS_INFO(STRESS_INIT_VCPU, 0, 8, 8, TDX_KERNEL(6, 19)),
	STRESS_INFO(STRESS_PRE_FAULT, 2, 4, 4, 0),
	/* A hole meanwhile is the end of the VM. */
	STRESS_INFO(STRESS_FINALIZE, 0, 2, 2, STRESS_DECOUPLED),
	STRESS_INFO(STRESS_SIGNAL, 0, 0, 8, 0),
#undef STRESS_INFO
	/* clang-format on */
};

static inline bool stress_may_meet(enum stress_kind kind)
{
	return tdx_host_is_decoupled() || tdx_host_kernel() >= stress_infos[kind].meets_since;
}

/* A line of C, to be pasted into a REPLAY row. */
static inline void stress_print_op(const struct stress_op *op, char *text, size_t size)
{
	const struct {
		const char *name;
		unsigned int value;
	} fields[] = {
		{ "td", op->td },	{ "vcpu", op->vcpu }, { "whose", op->whose },
		{ "first", op->first }, { "nr", op->nr },     { "flags", op->flags },
	};
	unsigned int i;
	int len;

	len = snprintf(text, size, "{ .kind = %s", stress_infos[op->kind].name);
	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i].value)
			len += snprintf(text + len, size - len, ", .%s = %u", fields[i].name,
					fields[i].value);
	}
	snprintf(text + len, size - len, " },");
}

#define STRESS_OP_TEXT 128

/*
 * Who makes programs of what.
 * @replaces:	TDs the file of which may be replaced, as a bitmap
 * @finalizes:	the program may finalize, and hence pre-faults nothing
 */
struct stress_maker {
	u64 random;
	unsigned int nr_threads;
	unsigned int nr_tds;
	unsigned long replaces;
	bool finalizes;
};

static inline unsigned int stress_random(struct stress_maker *maker, unsigned int limit)
{
	return (td_random(&maker->random) >> 32) % limit;
}

static inline unsigned int stress_weight(const struct stress_maker *maker, enum stress_kind kind,
					 bool at_end)
{
	if (kind == STRESS_FINALIZE && !(maker->finalizes && at_end))
		return 0;
	if (kind == STRESS_PRE_FAULT && maker->finalizes)
		return 0;
	if (maker->nr_threads == 1)
		return stress_infos[kind].alone;

	return stress_may_meet(kind) ? stress_infos[kind].together : 0;
}

static inline enum stress_kind stress_make_kind(struct stress_maker *maker, bool at_end)
{
	unsigned int kind, sum = 0;

	for (kind = 0; kind < STRESS_KINDS; kind++)
		sum += stress_weight(maker, kind, at_end);

	sum = stress_random(maker, sum);
	for (kind = 0; sum >= stress_weight(maker, kind, at_end); kind++)
		sum -= stress_weight(maker, kind, at_end);

	return kind;
}

static inline struct stress_op stress_make_op(struct stress_maker *maker, bool at_end)
{
	struct stress_op op = { .kind = stress_make_kind(maker, at_end) };
	const struct stress_info *info = &stress_infos[op.kind];
	unsigned int end = TD_NR_PAGES;

	op.td = stress_random(maker, maker->nr_tds);
	if (op.kind == STRESS_REPLACE_FILE && !(maker->replaces & BIT(op.td)))
		op.kind = STRESS_LOG_DIRTY;
	else if (op.kind == STRESS_REPLACE_FILE && maker->nr_threads > 1)
		maker->replaces &= ~BIT(op.td);

	if (info->nr) {
		op.first = stress_random(maker, TD_NR_PAGES);
		op.nr = 1 + stress_random(maker, info->nr);
		/* These two are to fail at the end of the slot, or of the file. */
		if (op.kind == STRESS_ADD || op.kind == STRESS_ALLOCATE)
			end = STRESS_PAGES;
		op.nr = min_t(unsigned int, op.nr, end - op.first);
	}
	if (op.kind == STRESS_ADD || op.kind == STRESS_READ_CPUID)
		op.vcpu = stress_random(maker, 4) == 3;
	if (op.kind == STRESS_ADD || op.kind == STRESS_HIDE_SOURCE)
		op.flags = stress_random(maker, 2);
	if (op.kind == STRESS_HIDE_SOURCE || op.kind == STRESS_SHOW_SOURCE ||
	    op.kind == STRESS_SIGNAL)
		op.whose = stress_random(maker, maker->nr_threads);

	return op;
}

static inline void stress_make(struct stress_maker *maker, struct stress_op *ops, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		ops[i] = stress_make_op(maker, i >= nr * 3 / 4);
}

#endif /* TDX_INIT_MEM_STRESS_H */
