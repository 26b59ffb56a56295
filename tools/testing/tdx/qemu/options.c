// SPDX-License-Identifier: GPL-2.0-only
/* Options of the plugin: NAME=VALUE, each at most once. */
#include <stdio.h>
#include <string.h>

#include "qemu/tdxq.h"

static const struct {
	const char *name;
	size_t offset;
} table[] = {
	{ "report", offsetof(struct tdxq_options, report) },
	{ "trace", offsetof(struct tdxq_options, trace) },
};

static const char **find(struct tdxq_options *options, const char *arg, size_t name_len)
{
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		if (strlen(table[i].name) == name_len && !strncmp(arg, table[i].name, name_len))
			return (const char **)((char *)options + table[i].offset);
	}
	return NULL;
}

static bool parse(struct tdxq_options *options, const char *arg)
{
	const char *eq = strchr(arg, '=');
	size_t name_len = eq ? (size_t)(eq - arg) : strlen(arg);
	const char **value = find(options, arg, name_len);

	if (!value) {
		fprintf(stderr, "tdx-host: unknown option '%s': not report=, not trace=\n", arg);
		return false;
	}
	if (!eq || !eq[1]) {
		fprintf(stderr, "tdx-host: option '%s' needs a file name\n", arg);
		return false;
	}
	if (*value) {
		fprintf(stderr, "tdx-host: option '%.*s' is given twice\n", (int)name_len, arg);
		return false;
	}
	*value = eq + 1;
	return true;
}

bool tdxq_parse_options(struct tdxq_options *options, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (!parse(options, argv[i]))
			return false;
	}
	if (options->report && options->trace && !strcmp(options->report, options->trace)) {
		fprintf(stderr, "tdx-host: report and trace name the same file\n");
		return false;
	}
	return true;
}
