// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest RAM as the memory of this process. The plugin interface does not tell
 * where it is, but a pattern that was stored through it can be looked for.
 */
#include "qemu/host_ram.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "qemu/tdxq.h"

#define GIB (UINT64_C(1) << 30)
#define PATTERN_LEN 32
#define ALIGNMENT (UINT64_C(2) << 20)

static bool shows(int memory, uint64_t addr, const uint8_t *pattern)
{
	uint8_t seen[PATTERN_LEN];

	return pread(memory, seen, sizeof(seen), (off_t)addr) == sizeof(seen) &&
	       !memcmp(seen, pattern, sizeof(seen));
}

/* Where the bytes of hpa would be in a mapping of all RAM, or of the upper part alone. */
static unsigned int places(const struct tdxq *q, uint64_t hpa, uint64_t offset[2])
{
	offset[0] = hpa;
	if (hpa < 4 * GIB)
		return 1;
	offset[0] = hpa - 4 * GIB;
	offset[1] = offset[0] + q->ram[0].base + q->ram[0].size;
	return 2;
}

static uint64_t look_in(const struct tdxq *q, int memory, uint64_t start, uint64_t hpa,
			const uint8_t *pattern)
{
	uint64_t offset[2];

	for (unsigned int i = 0, n = places(q, hpa, offset); i < n; i++) {
		if (shows(memory, start + offset[i], pattern))
			return start + offset[i];
	}
	return 0;
}

static uint64_t ram_size(const struct tdxq *q)
{
	uint64_t size = 0;

	for (unsigned int i = 0; i < q->nr_ram; i++)
		size += q->ram[i].size;
	return size;
}

/*
 * RAM starts where a mapping does, or at a multiple of what QEMU aligns it to:
 * the kernel may have merged it with a neighbour, and the watch cuts it up.
 */
static uint64_t search(const struct tdxq *q, int memory, FILE *maps, uint64_t hpa,
		       const uint8_t *pattern)
{
	unsigned long long start, end;
	uint64_t addr = 0;
	char line[512];

	while (!addr && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%llx-%llx r", &start, &end) != 2)
			continue;
		/* The shadow memory of a sanitizer is terabytes, and not merged with RAM. */
		if (end - start > 2 * ram_size(q))
			continue;
		while (!addr && start < end) {
			addr = look_in(q, memory, start, hpa, pattern);
			start = (start | (ALIGNMENT - 1)) + 1;
		}
	}
	return addr;
}

static uint64_t find_once(struct tdxq *q, int memory, uint64_t hpa)
{
	uint8_t pattern[PATTERN_LEN], saved[PATTERN_LEN];
	FILE *maps = fopen("/proc/self/maps", "re");
	uint64_t addr = 0;

	if (!maps)
		return 0;
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)g_random_int();
	if (tdxq_cpu_ops.phys_read(q, hpa, saved, sizeof(saved)) &&
	    tdxq_cpu_ops.phys_write(q, hpa, pattern, sizeof(pattern))) {
		addr = search(q, memory, maps, hpa, pattern);
		tdxq_cpu_ops.phys_write(q, hpa, saved, sizeof(saved));
	}
	fclose(maps);
	return addr;
}

uint64_t tdxq_host_address(struct tdxq *q, uint64_t hpa)
{
	int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	uint64_t addr;

	if (memory < 0)
		return 0;
	addr = find_once(q, memory, hpa);
	if (addr && find_once(q, memory, hpa + TDXQ_PAGE_SIZE - PATTERN_LEN) !=
			    addr + TDXQ_PAGE_SIZE - PATTERN_LEN)
		addr = 0;
	close(memory);
	return addr;
}
