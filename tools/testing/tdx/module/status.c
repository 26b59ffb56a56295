// SPDX-License-Identifier: GPL-2.0-only
/* Names of completion statuses. */
#include "module/status.h"

#include "module/tdx_spec.h"
#include "module/tdxm.h"

static const struct {
	uint64_t code;
	const char *name;
} status_names[] = {
#define STATUS_NAME(name, value) { value, #name },
	TDX_STATUS_TABLE(STATUS_NAME)
#undef STATUS_NAME
};

const char *tdxm_status_name(uint64_t status)
{
	uint64_t code = tdx_status_code(status);
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(status_names); i++) {
		if (status_names[i].code == code)
			return status_names[i].name;
	}
	return "unknown";
}
