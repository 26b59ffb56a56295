/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A scene: a machine and a TD in which one call of a leaf would succeed, and
 * the registers of that call. Tests that treat all leaves alike start from it.
 */
#ifndef TESTS_SCENE_H
#define TESTS_SCENE_H

#include "tests/module/machine.h"

#define SCENE_V1 BIT_U64(TDX_RAX_VERSION_SHIFT)

struct scene {
	struct machine *machine;
	struct test_td td;
	uint64_t rcx, rdx, r8, r9;
	uint64_t page;		 /* that the call takes, frees or asks about */
	_Atomic uint64_t *entry; /* of the S-EPT, that the call changes */
};

struct scene_row {
	const char *name;
	uint64_t leaf;	     /* with version */
	enum td_stage stage; /* of the TD, before @set */
	void (*set)(struct scene *scene);
};

extern const struct scene_row scene_rows[];
extern const unsigned int scene_row_count;

const struct scene_row *scene_row(const char *name);
struct scene scene_new(const struct scene_row *row);
/* Make the call, on LP 0. */
struct tdxm_regs scene_call(struct scene *scene, const struct scene_row *row);

#endif /* TESTS_SCENE_H */
