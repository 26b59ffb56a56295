/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest for the tests of the CPU model: some RAM, mapped 1:1, the registers,
 * and a count of the gaps that the model reported.
 */
#ifndef TESTS_CPU_GUEST_H
#define TESTS_CPU_GUEST_H

#include "cpu/vmxr.h"

#define GUEST_RAM_SIZE 0x10000

struct guest {
	uint8_t ram[GUEST_RAM_SIZE];
	struct vmxr_cpu cpu;
	struct vmxr_regs regs;
	unsigned int gaps;
};

extern const struct vmxr_ops guest_ops;

struct guest *guest_new(void);
void guest_put64(struct guest *guest, uint64_t address, uint64_t value);
uint64_t guest_get64(const struct guest *guest, uint64_t address);

/* One instruction as bytes. */
struct code {
	size_t len;
	uint8_t bytes[VMXR_MAX_INSN_LEN];
};

/* Decode and execute it. */
enum vmxr_outcome guest_run(struct guest *guest, const struct code *code);

#endif /* TESTS_CPU_GUEST_H */
