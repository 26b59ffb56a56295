/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared/exclusive try-lock, the only lock that a guest can see. Nobody ever
 * waits: a caller that fails answers TDX_OPERAND_BUSY.
 *
 * MODEL: no host-priority flag, although FEATURES0 offers such locks: the flag
 * only makes calls of a guest busy, and no guest runs here.
 */
#ifndef TDXM_SHAREX_H
#define TDXM_SHAREX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SHAREX_EXCLUSIVE 1u
#define SHAREX_READER 2u

struct sharex {
	_Atomic uint32_t word; /* bit 0 exclusive, rest number of readers */
};

static inline bool sharex_try_shared(struct sharex *lock)
{
	uint32_t old = atomic_load_explicit(&lock->word, memory_order_relaxed);

	do {
		if (old & SHAREX_EXCLUSIVE)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&lock->word, &old, old + SHAREX_READER,
							memory_order_acquire,
							memory_order_relaxed));
	return true;
}

static inline bool sharex_try_exclusive(struct sharex *lock)
{
	uint32_t old = 0;

	return atomic_compare_exchange_strong_explicit(&lock->word, &old, SHAREX_EXCLUSIVE,
						       memory_order_acquire, memory_order_relaxed);
}

/* From the only reader to exclusive; fails, still a reader, when there are others. */
static inline bool sharex_try_upgrade(struct sharex *lock)
{
	uint32_t old = SHAREX_READER;

	return atomic_compare_exchange_strong_explicit(&lock->word, &old, SHAREX_EXCLUSIVE,
						       memory_order_acquire, memory_order_relaxed);
}

static inline void sharex_unlock_shared(struct sharex *lock)
{
	atomic_fetch_sub_explicit(&lock->word, SHAREX_READER, memory_order_release);
}

static inline void sharex_unlock_exclusive(struct sharex *lock)
{
	atomic_fetch_sub_explicit(&lock->word, SHAREX_EXCLUSIVE, memory_order_release);
}

#endif /* TDXM_SHAREX_H */
