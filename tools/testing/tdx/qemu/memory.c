// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory through the plugin interface, and where RAM lies. Each access
 * takes a buffer of its own: LPs run in parallel.
 */
#include <string.h>
#include <time.h>

#include "qemu/backtrace.h"
#include "qemu/tdxq.h"
#include "qemu/watch.h"

static bool virt_read(void *opaque, uint64_t gva, void *buf, size_t len)
{
	GByteArray *data = g_byte_array_sized_new((guint)len);
	bool ok = qemu_plugin_read_memory_vaddr(gva, data, len);

	(void)opaque;
	if (ok)
		memcpy(buf, data->data, len);
	g_byte_array_free(data, TRUE);
	return ok;
}

static bool virt_write(void *opaque, uint64_t gva, const void *buf, size_t len)
{
	GByteArray *data = g_byte_array_sized_new((guint)len);
	bool ok;

	(void)opaque;
	g_byte_array_append(data, buf, (guint)len);
	ok = qemu_plugin_write_memory_vaddr(gva, data);
	g_byte_array_free(data, TRUE);
	return ok;
}

static bool phys_read(void *opaque, uint64_t hpa, void *buf, size_t len)
{
	GByteArray *data = g_byte_array_sized_new((guint)len);
	bool ok = qemu_plugin_read_memory_hwaddr(hpa, data, len) == QEMU_PLUGIN_HWADDR_OPERATION_OK;

	(void)opaque;
	if (ok)
		memcpy(buf, data->data, len);
	g_byte_array_free(data, TRUE);
	return ok;
}

static bool phys_write(void *opaque, uint64_t hpa, const void *buf, size_t len)
{
	GByteArray *data = g_byte_array_sized_new((guint)len);
	bool ok;

	(void)opaque;
	g_byte_array_append(data, buf, (guint)len);
	ok = qemu_plugin_write_memory_hwaddr(hpa, data) == QEMU_PLUGIN_HWADDR_OPERATION_OK;
	g_byte_array_free(data, TRUE);
	return ok;
}

static void cpu_gap(void *opaque, const char *line)
{
	tdxq_gap(opaque, line);
}

const struct vmxr_ops tdxq_cpu_ops = {
	.phys_read = phys_read,
	.phys_write = phys_write,
	.virt_read = virt_read,
	.virt_write = virt_write,
	.gap = cpu_gap,
};

/* The module must not reach a device, whose registers would answer, too. */
static bool is_ram(const struct tdxq *q, uint64_t hpa, size_t len)
{
	for (unsigned int i = 0; i < q->nr_ram; i++) {
		const struct tdxm_cmr *ram = &q->ram[i];

		if (hpa >= ram->base && hpa - ram->base < ram->size &&
		    len <= ram->size - (hpa - ram->base))
			return true;
	}
	return false;
}

static bool module_read(void *opaque, uint64_t hpa, void *buf, size_t len)
{
	return is_ram(opaque, hpa, len) && phys_read(opaque, hpa, buf, len);
}

static bool module_write(void *opaque, uint64_t hpa, const void *buf, size_t len)
{
	return is_ram(opaque, hpa, len) && tdxq_watched_write(opaque, hpa, buf, len);
}

static void module_log(void *opaque, enum tdxm_log_level level, const char *line)
{
	struct tdxq *q = opaque;

	if (level == TDXM_LOG_SANITIZER || level == TDXM_LOG_UNIMPLEMENTED)
		fprintf(stderr, "tdx-host: %s\n", line);
	tdxq_trace_line(q, line);
}

uint64_t tdxq_now_ns(void *opaque)
{
	struct timespec now;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* No sleep: a vCPU is not interrupted in a SEAMCALL, and these are microseconds. */
static void delay(void *opaque, uint64_t ns)
{
	uint64_t end = tdxq_now_ns(opaque) + ns;

	while (tdxq_now_ns(opaque) < end)
		__builtin_ia32_pause();
}

const struct tdxm_ops tdxq_module_ops = {
	.mem_read = module_read,
	.mem_write = module_write,
	.log = module_log,
	.now_ns = tdxq_now_ns,
	.delay = delay,
	.completed = tdxq_trace_seamcall,
	.page_owned = tdxq_page_owned,
	.backtrace = tdxq_backtrace,
};

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* RAM from base upwards: the first MiB that does not answer ends it. */
static void probe(struct tdxq *q, uint64_t base, uint64_t limit)
{
	uint64_t end = base, word;

	while (end < limit && phys_read(q, end, &word, sizeof(word)))
		end += MIB;
	if (end == base)
		return;
	q->ram[q->nr_ram].base = base;
	q->ram[q->nr_ram].size = end - base;
	q->nr_ram++;
}

/*
 * A q35 machine has RAM from 0 upwards and, what does not fit below the PCI
 * hole, from 4 GiB upwards. Nothing answers right behind either.
 * MODEL: all RAM above 1 MiB is convertible, as Linux leaves the first MiB out.
 */
void tdxq_find_ram(struct tdxq *q)
{
	q->nr_ram = 0;
	probe(q, MIB, 4 * GIB);
	probe(q, 4 * GIB, 1024 * GIB);
}
