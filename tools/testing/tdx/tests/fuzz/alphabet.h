/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an input can say: SEAMCALLs with operands that make sense, or nearly so;
 * whole stretches of what KVM does; rules that hold or fail calls; and changes to
 * the machine around the module.
 */
#ifndef TESTS_FUZZ_ALPHABET_H
#define TESTS_FUZZ_ALPHABET_H

#include "tests/fuzz/input.h"
#include "tests/fuzz/world.h"

struct letter {
	void (*play)(struct world *w, struct input *in, const struct letter *letter);
	uint16_t leaf;
	uint8_t version;	  /* that Linux uses */
	uint8_t rcx, rdx, r8, r9; /* enum operand */
};

/* Read one letter, and play it. */
void alphabet_play(struct world *w, struct input *in);

/* A page that is the host's, of the size of @level. */
uint64_t alphabet_fresh_page(struct world *w, unsigned int level);
uint16_t alphabet_free_hkid(struct world *w);
/* What QEMU would ask KVM for. */
void alphabet_default_params(struct world *w);

/* recipes.c */
void recipe_build(struct world *w, struct input *in, const struct letter *letter);
void recipe_vcpu(struct world *w, struct input *in, const struct letter *letter);
void recipe_zap(struct world *w, struct input *in, const struct letter *letter);
void recipe_release_key(struct world *w, struct input *in, const struct letter *letter);
/* Undo all that an input did, as KVM would; whatever that was, it must work. */
void recipe_teardown(struct world *w);

/* around.c */
void around_params(struct world *w, struct input *in, const struct letter *letter);
void around_lp_state(struct world *w, struct input *in, const struct letter *letter);
void around_arm(struct world *w, struct input *in, const struct letter *letter);
void around_release(struct world *w, struct input *in, const struct letter *letter);
void around_busy_once(struct world *w, struct input *in, const struct letter *letter);
void around_query(struct world *w, struct input *in, const struct letter *letter);
void around_resume(struct world *w, struct input *in, const struct letter *letter);

#endif /* TESTS_FUZZ_ALPHABET_H */
