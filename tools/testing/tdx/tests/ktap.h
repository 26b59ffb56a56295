/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KTAP for the native unit tests: a program is a table of named cases. Run it
 * with an argument to select the cases whose names contain it, -l to list them.
 */
#ifndef KTAP_H
#define KTAP_H

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ktap_case {
	const char *name; /* reads as a rule, its outcome last */
	void (*run)(void);
};

/* Failures of the running case, from whichever thread and file: weak, hence one for all. */
__attribute__((weak)) _Atomic unsigned int ktap_failures;
__attribute__((weak)) const char *ktap_case_name;

static inline bool ktap_check(bool ok, const char *file, int line, const char *what)
{
	if (!ok) {
		printf("# %s:%d: %s\n", file, line, what);
		atomic_fetch_add(&ktap_failures, 1);
	}
	return ok;
}

static inline bool ktap_check_eq(uint64_t got, uint64_t want, const char *file, int line,
				 const char *what)
{
	if (got != want) {
		printf("# %s:%d: %s\n#   want 0x%" PRIx64 "\n#   got  0x%" PRIx64 "\n", file, line,
		       what, want, got);
		atomic_fetch_add(&ktap_failures, 1);
	}
	return got == want;
}

/* Both go on after a failure; their value is whether the check held. */
#define KTAP_EXPECT(cond) ktap_check(!!(cond), __FILE__, __LINE__, "want " #cond)
#define KTAP_EXPECT_EQ(got, want) \
	ktap_check_eq((uint64_t)(got), (uint64_t)(want), __FILE__, __LINE__, #got)

static inline int ktap_main(const struct ktap_case *cases, size_t count, int argc, char **argv)
{
	const char *filter = argc > 1 ? argv[1] : "";
	unsigned int number = 0, planned = 0, failed = 0;
	size_t i;

	if (!strcmp(filter, "-l")) {
		for (i = 0; i < count; i++)
			puts(cases[i].name);
		return 0;
	}
	/* Line by line, so that a crash loses nothing. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < count; i++)
		planned += !!strstr(cases[i].name, filter);
	printf("KTAP version 1\n1..%u\n", planned);
	for (i = 0; i < count; i++) {
		if (!strstr(cases[i].name, filter))
			continue;
		atomic_store(&ktap_failures, 0);
		ktap_case_name = cases[i].name;
		cases[i].run();
		failed += !!atomic_load(&ktap_failures);
		printf("%sok %u %s\n", atomic_load(&ktap_failures) ? "not " : "", ++number,
		       cases[i].name);
	}
	/* No case at all is no success. */
	return failed || !planned;
}

#define KTAP_MAIN(cases)                                                                 \
	int main(int argc, char **argv)                                                  \
	{                                                                                \
		return ktap_main(cases, sizeof(cases) / sizeof((cases)[0]), argc, argv); \
	}

#endif /* KTAP_H */
