// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "tests/cpu/guest.h"

static bool in_ram(uint64_t address, size_t len)
{
	return address < GUEST_RAM_SIZE && len <= GUEST_RAM_SIZE - address;
}

static bool ram_read(void *opaque, uint64_t address, void *buf, size_t len)
{
	const struct guest *guest = opaque;

	if (!in_ram(address, len))
		return false;
	memcpy(buf, guest->ram + address, len);
	return true;
}

static bool ram_write(void *opaque, uint64_t address, const void *buf, size_t len)
{
	struct guest *guest = opaque;

	if (!in_ram(address, len))
		return false;
	memcpy(guest->ram + address, buf, len);
	return true;
}

static void gap(void *opaque, const char *line)
{
	struct guest *guest = opaque;

	(void)line;
	guest->gaps++;
}

const struct vmxr_ops guest_ops = {
	.phys_read = ram_read,
	.phys_write = ram_write,
	.virt_read = ram_read,
	.virt_write = ram_write,
	.gap = gap,
};

struct guest *guest_new(void)
{
	struct guest *guest = calloc(1, sizeof(*guest));

	if (!guest)
		abort();
	return guest;
}

void guest_put64(struct guest *guest, uint64_t address, uint64_t value)
{
	if (!ram_write(guest, address, &value, sizeof(value)))
		abort();
}

uint64_t guest_get64(const struct guest *guest, uint64_t address)
{
	uint64_t value;

	if (!in_ram(address, sizeof(value)))
		abort();
	memcpy(&value, guest->ram + address, sizeof(value));
	return value;
}

enum vmxr_outcome guest_run(struct guest *guest, const struct code *code)
{
	struct vmxr_insn insn;

	vmxr_decode(code->bytes, code->len, &insn);
	if (insn.kind == VMXR_MOVDIR64B)
		return vmxr_movdir64b(&insn, &guest->regs, &guest_ops, guest);
	return vmxr_execute(&guest->cpu, &insn, &guest->regs, &guest_ops, guest);
}
