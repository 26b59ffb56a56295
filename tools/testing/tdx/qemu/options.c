// SPDX-License-Identifier: GPL-2.0-only
/* Options of the plugin: NAME=VALUE, each at most once. */
#include <stdio.h>
#include <string.h>

#include "qemu/tdxq.h"

#define DEFAULT_LATENCY 100

static bool set_report(struct tdxq_options *options, const char *value)
{
	options->report = value;
	return true;
}

static bool set_trace(struct tdxq_options *options, const char *value)
{
	options->trace = value;
	return true;
}

static bool set_latency(struct tdxq_options *options, const char *value)
{
	guint64 percent;

	if (!g_ascii_string_to_unsigned(value, 10, 0, TDXM_MAX_LATENCY, &percent, NULL))
		return false;
	options->latency = (unsigned int)percent;
	return true;
}

static bool set_busy(struct tdxq_options *options, const char *value)
{
	options->busy_once = true;
	return !strcmp(value, "once");
}

static const struct {
	const char *name;
	bool (*set)(struct tdxq_options *options, const char *value);
	const char *takes;
} table[] = {
	{ "report", set_report, "a file name" },
	{ "trace", set_trace, "a file name" },
	{ "latency", set_latency, "a percentage from 0 to 100000" },
	{ "busy", set_busy, "'once'" },
};

static int find(const char *arg, size_t name_len)
{
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		if (strlen(table[i].name) == name_len && !strncmp(arg, table[i].name, name_len))
			return (int)i;
	}
	return -1;
}

static bool parse(struct tdxq_options *options, const char *arg, unsigned int *seen)
{
	const char *eq = strchr(arg, '=');
	size_t name_len = eq ? (size_t)(eq - arg) : strlen(arg);
	int i = find(arg, name_len);

	if (i < 0) {
		fprintf(stderr,
			"tdx-host: unknown option '%s': not report=, trace=, latency= or busy=\n",
			arg);
		return false;
	}
	if (*seen & 1u << i) {
		fprintf(stderr, "tdx-host: option '%s' is given twice\n", table[i].name);
		return false;
	}
	*seen |= 1u << i;
	if (!eq || !eq[1] || !table[i].set(options, eq + 1)) {
		fprintf(stderr, "tdx-host: option '%s' needs %s\n", table[i].name, table[i].takes);
		return false;
	}
	return true;
}

bool tdxq_parse_options(struct tdxq_options *options, int argc, char **argv)
{
	unsigned int seen = 0;

	options->latency = DEFAULT_LATENCY;
	for (int i = 0; i < argc; i++) {
		if (!parse(options, argv[i], &seen))
			return false;
	}
	if (options->report && options->trace && !strcmp(options->report, options->trace)) {
		fprintf(stderr, "tdx-host: report and trace name the same file\n");
		return false;
	}
	return true;
}
