// SPDX-License-Identifier: GPL-2.0-only
/* CPUID configuration and the values that a TD sees. */
#include "module/cpuid.h"

#include <string.h>

#include "module/model.h"

#define NA TDXM_CPUID_NO_SUBLEAF

/*
 * The list of a late 1.5 module. MODEL: the bits that a module offers only if
 * the CPU has them are all there, as on the newest CPU.
 */
const struct tdxm_cpuid_config tdxm_cpuid_config[TDXM_NUM_CPUID_CONFIG] = {
	{ 0x1, NA, { 0x0fff3fff, 0x00ff0000, 0x31044d88, 0xb8445080 } },
	{ 0x4, 0, { 0xffffc3ff, 0xfffff000, 0xffffffff, 0x7 } },
	{ 0x4, 1, { 0xffffc3ff, 0xfffff000, 0xffffffff, 0x7 } },
	{ 0x4, 2, { 0xffffc3ff, 0xfffff000, 0xffffffff, 0x7 } },
	{ 0x4, 3, { 0xffffc3ff, 0xfffff000, 0xffffffff, 0x7 } },
	{ 0x7, 0, { 0, 0xdc2b9b18, 0x02417f65, 0x4005411c } },
	{ 0x7, 1, { 0x04881db0, 0, 0, 0x00024430 } },
	{ 0xa, NA, { 0, 0, 0, 0 } },
	{ 0x1c, NA, { 0xff, 0, 0, 0 } },
	{ 0x80000008, NA, { 0xff, 0x200, 0, 0 } },
	{ 0x7, 2, { 0, 0, 0, 0x28 } },
	{ 0x23, 0, { 0xf, 0, 0, 0 } },
	{ 0x1f, 0, { 0x1f, 0xffff, 0xffff, 0 } },
	{ 0x1f, 1, { 0x1f, 0xffff, 0xffff, 0 } },
	{ 0x1f, 2, { 0x1f, 0xffff, 0xffff, 0 } },
	{ 0x1f, 3, { 0x1f, 0xffff, 0xffff, 0 } },
	{ 0x1f, 4, { 0x1f, 0xffff, 0xffff, 0 } },
	{ 0x1f, 5, { 0x1f, 0xffff, 0xffff, 0 } },
	{ 0x19, NA, { 0, 0, 0, 0 } },
	{ 0x18, 0, { 0, 0, 0, 0x03ffc000 } },
	{ 0x18, 1, { 0, 0, 0, 0x03ffc000 } },
	{ 0x18, 2, { 0, 0, 0, 0x03ffc000 } },
	{ 0x18, 3, { 0, 0, 0, 0x03ffc000 } },
	{ 0x18, 4, { 0, 0, 0, 0x03ffc000 } },
	{ 0x18, 5, { 0, 0, 0, 0x03ffc000 } },
	{ 0x18, 6, { 0, 0, 0, 0x03ffc000 } },
	{ 0x18, 7, { 0, 0, 0, 0x03ffc000 } },
	{ 0x18, 8, { 0, 0, 0, 0x03ffc000 } },
};

/*
 * What the module fixes, to be completed by the configuration and, for some
 * leaves, by compute(). MODEL: a plausible set of features, not one CPU's.
 */
static const struct tdxm_cpuid_config fixed[] = {
	{ 0x0, NA, { 0x23, 0x756e6547, 0x6c65746e, 0x49656e69 } }, /* GenuineIntel */
	{ 0x1, NA, { 0, 0x00000800, 0xc6fa3207, 0x07abab7f } },	   /* with x2APIC */
	{ 0x2, NA, { 0x00feff01, 0x000000f0, 0, 0 } },
	{ 0x4, 0, { 0, 0x3f, 0, 0 } },
	{ 0x4, 1, { 0, 0x3f, 0, 0 } },
	{ 0x4, 2, { 0, 0x3f, 0, 0 } },
	{ 0x4, 3, { 0, 0x3f, 0, 0 } },
	{ 0x5, NA, { 0x40, 0x40, 0x3, 0 } },
	{ 0x6, NA, { 0x4, 0, 0, 0 } },
	{ 0x7, 0, { 0x2, 0x21940481, 0x18000000, 0xa4000400 } },
	{ 0x7, 1, { 0, 0, 0, 0 } },
	{ 0x7, 2, { 0, 0, 0, 0x17 } },
	{ 0xa, NA, { 0, 0, 0, 0 } },
	{ 0xd, 0, { 0, 0, 0, 0 } },
	{ 0xd, 1, { 0xf, 0, 0, 0 } },
	{ 0x15, NA, { 1, 0, 25000000, 0 } },
	{ 0x18, 0, { 8, 0, 0, 0 } },
	{ 0x18, 1, { 0, 0, 0, 0 } },
	{ 0x18, 2, { 0, 0, 0, 0 } },
	{ 0x18, 3, { 0, 0, 0, 0 } },
	{ 0x18, 4, { 0, 0, 0, 0 } },
	{ 0x18, 5, { 0, 0, 0, 0 } },
	{ 0x18, 6, { 0, 0, 0, 0 } },
	{ 0x18, 7, { 0, 0, 0, 0 } },
	{ 0x18, 8, { 0, 0, 0, 0 } },
	{ 0x19, NA, { 0, 0, 0, 0 } },
	{ 0x1c, NA, { 0, 0, 0, 0 } },
	{ 0x1f, 0, { 0, 0, 0, 0 } },
	{ 0x1f, 1, { 0, 0, 0, 0 } },
	{ 0x1f, 2, { 0, 0, 0, 0 } },
	{ 0x1f, 3, { 0, 0, 0, 0 } },
	{ 0x1f, 4, { 0, 0, 0, 0 } },
	{ 0x1f, 5, { 0, 0, 0, 0 } },
	{ 0x21, 0, { 0, 0x65746e49, 0x20202020, 0x5844546c } }, /* IntelTDX */
	{ 0x23, 0, { 0, 0, 0, 0 } },
	{ 0x80000000, NA, { 0x80000008, 0, 0, 0 } },
	{ 0x80000001, NA, { 0, 0, 0x121, 0x2c100800 } },
	{ 0x80000007, NA, { 0, 0, 0, 0x100 } },
	{ 0x80000008, NA, { 0, 0, 0, 0 } },
};

#define HLE BIT_U64(4)
#define RTM BIT_U64(11)
#define TOPOLOGY_LEVELS 6
#define LEVEL_TYPE(value) ((value)->ecx >> 8 & 0xff)

static int config_index(uint32_t leaf, uint32_t subleaf)
{
	unsigned int i;

	for (i = 0; i < TDXM_NUM_CPUID_CONFIG; i++) {
		if (tdxm_cpuid_config[i].leaf == leaf && tdxm_cpuid_config[i].subleaf == subleaf)
			return i;
	}
	return -1;
}

static bool within(const struct tdx_cpuid_value *value, const struct tdx_cpuid_value *bits)
{
	return !(value->eax & ~bits->eax) && !(value->ebx & ~bits->ebx) &&
	       !(value->ecx & ~bits->ecx) && !(value->edx & ~bits->edx);
}

/*
 * MODEL: levels ascend by type and width and end with an invalid one; the real
 * check is not published in full.
 */
static bool topology_ok(const struct tdx_cpuid_value *level)
{
	unsigned int i;

	for (i = 1; i < TOPOLOGY_LEVELS; i++) {
		unsigned int type = LEVEL_TYPE(&level[i]), before = LEVEL_TYPE(&level[i - 1]);

		if (!type)
			continue;
		if (type <= before || level[i].eax < level[i - 1].eax)
			return false;
		if (!before)
			return false;
	}
	return true;
}

static bool entry_ok(const struct tdxm_platform *platform, const struct tdx_cpuid_value *value,
		     const struct tdxm_cpuid_config *config)
{
	if (!within(value, &config->bits))
		return false;
	if (config->leaf == 0x1)
		return !value->eax || value->eax == platform->native_cpuid_1_eax;
	if (config->leaf == 0x7 && !config->subleaf)
		return !(value->ebx & HLE) == !(value->ebx & RTM);
	return true;
}

uint64_t tdxm_cpuid_check(const struct tdxm_platform *platform, const struct tdx_td_params *params,
			  uint64_t *where)
{
	unsigned int i;

	for (i = 0; i < TDXM_NUM_CPUID_CONFIG; i++) {
		const struct tdxm_cpuid_config *config = &tdxm_cpuid_config[i];

		if (!entry_ok(platform, &params->cpuid[i], config)) {
			*where = config->leaf | (uint64_t)config->subleaf << 32;
			return TDX_OPERAND_INVALID + OP_CPUID_CONFIG;
		}
	}
	if (!topology_ok(&params->cpuid[config_index(0x1f, 0)])) {
		*where = 0x1f;
		return TDX_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED;
	}
	return TDX_SUCCESS;
}

#define XFAM_USER 0x602e7ULL

/* State components of XSAVE that XFAM may enable, in the standard format. */
static const struct {
	uint8_t bit;
	uint16_t size;
	uint16_t offset;
} xsave_components[] = {
	{ 2, 256, 576 }, { 5, 64, 1088 },  { 6, 512, 1152 },   { 7, 1024, 1664 },
	{ 9, 8, 2688 },	 { 17, 64, 2752 }, { 18, 8192, 2816 },
};

static void xsave_main(uint64_t xfam, struct tdx_cpuid_value *value)
{
	unsigned int i;

	value->eax = xfam & XFAM_USER;
	value->ebx = 576;
	for (i = 0; i < ARRAY_LEN(xsave_components); i++) {
		if (xfam >> xsave_components[i].bit & 1)
			value->ebx = xsave_components[i].offset + xsave_components[i].size;
	}
	value->ecx = value->ebx;
}

static bool xsave_component(uint64_t xfam, uint32_t bit, struct tdx_cpuid_value *value)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(xsave_components); i++) {
		if (xsave_components[i].bit != bit || !(xfam >> bit & 1))
			continue;
		*value = (struct tdx_cpuid_value) { .eax = xsave_components[i].size,
						    .ebx = xsave_components[i].offset };
		return true;
	}
	return false;
}

static void compute(const struct tdxm_platform *platform, const struct tdxm_td *td, uint32_t leaf,
		    uint32_t subleaf, struct tdx_cpuid_value *value)
{
	switch (leaf) {
	case 0x1:
		value->eax = platform->native_cpuid_1_eax;
		break;
	case 0xd:
		if (!subleaf)
			xsave_main(td->params.xfam, value);
		else
			value->ecx = td->params.xfam & ~XFAM_USER;
		break;
	case 0x15:
		value->ebx = td->params.tsc_frequency;
		break;
	case 0x80000008:
		if (!(value->eax & 0xff))
			value->eax |= platform->maxphyaddr;
		value->eax |= (td->gpa_width == 52 ? 57 : 48) << 8 | td->gpa_width << 16;
		break;
	}
}

bool tdxm_cpuid_value(const struct tdxm_platform *platform, const struct tdxm_td *td, uint32_t leaf,
		      uint32_t subleaf, struct tdx_cpuid_value *value)
{
	int index = config_index(leaf, subleaf);
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(fixed); i++) {
		if (fixed[i].leaf != leaf || fixed[i].subleaf != subleaf)
			continue;
		*value = fixed[i].bits;
		if (index >= 0) {
			value->eax |= td->cpuid[index].eax;
			value->ebx |= td->cpuid[index].ebx;
			value->ecx |= td->cpuid[index].ecx;
			value->edx |= td->cpuid[index].edx;
		}
		compute(platform, td, leaf, subleaf, value);
		return true;
	}
	return leaf == 0xd && xsave_component(td->params.xfam, subleaf, value);
}
