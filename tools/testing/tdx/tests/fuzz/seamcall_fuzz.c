// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that is up, and a sequence of SEAMCALLs on several TDs. The module
 * outlives the input: that everything can be taken down again is a property.
 */
#include <stdlib.h>
#include <string.h>

#include "module/verify.h"
#include "tests/fuzz/alphabet.h"
#include "tests/fuzz/books.h"
#include "tests/fuzz/call.h"

/* Letters of an input; a letter is up to some 60 calls. */
#define MAX_LETTERS 64
/*
 * One in so many inputs is verified by the model itself, and one is played twice,
 * for the same answers, with a look at all pages of the machine; the first of a
 * process is both.
 */
#define VERIFY_SAMPLE 16
#define ALL_SAMPLE 4096

static void verify(struct world *w)
{
	char why[256];

	if (!tdxm_verify(w->m, why, sizeof(why)))
		world_broken("the model says of itself: %s", why);
}

static uint64_t play(struct world *w, const uint8_t *data, size_t size, bool verified, bool all)
{
	struct input in = { data, size };
	unsigned int i;

	w->clock = 0;
	w->transcript = 0;
	w->nr_calls = 0;
	w->has_digest = false;
	memset(w->lp_state, 0, sizeof(w->lp_state));
	alphabet_default_params(w);
	for (i = 0; i < MAX_LETTERS && in.left && w->nr_calls < WORLD_MAX_CALLS; i++)
		alphabet_play(w, &in);
	books_check(w);
	if (verified && !w->nr_pending)
		verify(w);
	recipe_teardown(w);
	books_check_empty(w, all);
	if (verified)
		verify(w);
	/* Wild inputs do what the sanitizer is there to find. */
	tdxm_findings_clear(w->m);
	return w->transcript;
}

static void play_twice(struct world *w, const uint8_t *data, size_t size, bool all)
{
	uint64_t first = play(w, data, size, true, all);

	if (play(w, data, size, true, false) != first)
		world_broken("the same input, and other answers");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world *w;
	static unsigned int nr_inputs;
	static bool always;
	bool all = nr_inputs % ALL_SAMPLE == 0;

	if (!w) {
		w = world_new();
		always = getenv("TDX_FUZZ_TWICE");
	}
	if (always || all)
		play_twice(w, data, size, all);
	else
		play(w, data, size, nr_inputs % VERIFY_SAMPLE == 0, false);
	nr_inputs++;
	return 0;
}
