// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parking, see include/x86/tdx/tdx_park.h: the buffer, and the choice of a way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_util.h"
#include "tdx/tdx_host.h"
#include "tdx/tdx_park_way.h"
#include "tdx/tdx_util.h"

#define TDX_PARK_PATTERN 0xa5

/* The first one that works is taken. */
static const struct tdx_park_way *const tdx_park_ways[] = {
	&tdx_park_uffd,
	&tdx_park_dev,
	&tdx_park_fuse,
};

static bool tdx_park_may_be(const struct tdx_park_way *way)
{
	const char *wanted = getenv("TDX_INIT_MEM_PARK");

	return !wanted || !*wanted || !strcmp(wanted, way->name);
}

/* NULL if there is none; @why, of @size bytes, then says what each one lacks. */
static const struct tdx_park_way *tdx_park_choose(char *why, size_t size)
{
	const char *lack, *separator = "";
	size_t used;
	unsigned int i;

	used = snprintf(why, size, "nothing keeps a page missing here: ");
	for (i = 0; i < ARRAY_SIZE(tdx_park_ways); i++) {
		if (!tdx_park_may_be(tdx_park_ways[i]))
			continue;

		lack = tdx_park_ways[i]->lacks();
		if (!lack)
			return tdx_park_ways[i];

		if (used < size)
			used += snprintf(why + used, size - used, "%s%s", separator, lack);
		separator = ", ";
	}

	if (!*separator)
		snprintf(why, size, "TDX_INIT_MEM_PARK names no way of parking");

	return NULL;
}

const char *tdx_park_lacks(void)
{
	static char why[256];

	return tdx_park_choose(why, sizeof(why)) ? NULL : why;
}

void tdx_park_init(struct tdx_park *park, unsigned int nr_pages, unsigned int index)
{
	size_t page_size = getpagesize();
	char why[256];

	TEST_ASSERT(index < nr_pages, "Page %u of %u cannot be parked", index, nr_pages);

	*park = (struct tdx_park) { .size = nr_pages * page_size, .uffd = -1 };
	park->way = tdx_park_choose(why, sizeof(why));
	TEST_ASSERT(park->way, "%s", why);

	park->mem = tdx_mmap(park->size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	park->page = park->mem + index * page_size;
	park->content = malloc(page_size);
	TEST_ASSERT(park->content, "Insufficient memory");
	memset(park->content, TDX_PARK_PATTERN, page_size);
	memset(park->mem, TDX_PARK_PATTERN, park->size);

	park->way->open(park);
	if (park->way != tdx_park_ways[0])
		printf("# parked by %s\n", park->way->name);
}

bool tdx_park_wait(struct tdx_park *park)
{
	if (park->way->wait(park))
		return true;

	printf("# nobody asked for the missing page within %u ms\n", tdx_host_deadline_ms());
	return false;
}

void tdx_park_release(struct tdx_park *park)
{
	if (park->released)
		return;

	park->way->release(park);
	park->released = true;
}

void tdx_park_abandon(struct tdx_park *park)
{
	park->way->abandon(park);
	park->released = true;
}

void tdx_park_destroy(struct tdx_park *park)
{
	if (!park->mem)
		return;

	tdx_park_release(park);
	munmap(park->mem, park->size);
	park->way->destroy(park);
	free(park->content);
	park->mem = NULL;
}
