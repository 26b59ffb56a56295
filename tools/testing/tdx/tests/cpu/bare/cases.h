/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef CASES_H
#define CASES_H

struct bare_case {
	const char *name;
	void (*run)(void);
};

/* The last one has no function. */
extern const struct bare_case bare_cases[];

#endif /* CASES_H */
