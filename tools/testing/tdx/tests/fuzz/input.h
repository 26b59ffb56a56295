/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The bytes of an input, read front to back. An input that is too short reads as
 * zeros: every prefix of an input is an input.
 */
#ifndef TESTS_FUZZ_INPUT_H
#define TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

/* What libFuzzer calls, once for each input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *next;
	size_t left;
};

static inline uint8_t input_u8(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->next++;
}

static inline uint64_t input_uint(struct input *in, unsigned int bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | input_u8(in);
	return value;
}

#endif /* TESTS_FUZZ_INPUT_H */
