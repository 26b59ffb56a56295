// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUs go offline and come back while a TD is built.
 *
 * A vCPU is associated with the CPU on which it was last loaded, in KVM and in the
 * module.  A CPU that goes takes leave of its vCPUs, and may go even while one of them
 * sleeps in populate.
 */
#include "tdx_init_mem.h"

#define CPU_FILE "/sys/devices/system/cpu/cpu%u/%s"
#define MAX_CPUS 1024
#define PACKAGE "topology/physical_package_id"

#define STAYING_CPU 0

#define PARKED_PAGES 4
#define PARKED_AT 2
#define ROUNDS 3

static int cpu_read(unsigned int cpu, const char *name)
{
	int value = -1;
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), CPU_FILE, cpu, name);
	file = fopen(path, "re");
	if (!file)
		return -1;
	if (fscanf(file, "%d", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

static int cpu_set_online(unsigned int cpu, bool online)
{
	char path[96];
	int fd, r;

	snprintf(path, sizeof(path), CPU_FILE, cpu, "online");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = write(fd, online ? "1" : "0", 1) == 1 ? 0 : -errno;
	close(fd);
	return r;
}

/* A CPU that can go, as its package has another one; 0 for none. */
static unsigned int choose_cpu(void)
{
	unsigned int cpu, other;

	for (cpu = STAYING_CPU + 1; cpu < MAX_CPUS; cpu++) {
		if (cpu_read(cpu, "online") != 1)
			continue;
		for (other = 0; other < MAX_CPUS; other++) {
			/* CPU 0 has no such file where it cannot go. */
			if (other != cpu && cpu_read(other, "online") &&
			    cpu_read(other, PACKAGE) >= 0 &&
			    cpu_read(other, PACKAGE) == cpu_read(cpu, PACKAGE))
				return cpu;
		}
	}

	return 0;
}

struct hotplug {
	struct td td;
	struct tdx_park park;
	struct td_populate populate;
	struct tdx_task offline;
	unsigned int cpu; /* the one that goes */
};

FIXTURE(hotplug)
{
	struct hotplug h;
};

FIXTURE_SETUP(hotplug)
{
	td_create(&self->h.td);
}

FIXTURE_TEARDOWN(hotplug)
{
	struct hotplug *h = &self->h;

	tdx_park_destroy(&h->park);
	tdx_task_finish(&h->populate.task);
	tdx_task_finish(&h->offline);
	if (h->cpu)
		cpu_set_online(h->cpu, true);
	td_destroy(&h->td);
	td_audit(_metadata);
}

struct add_on_cpu {
	struct td *td;
	unsigned int cpu, page, nr_pages;
};

static int add_on_cpu_fn(void *arg)
{
	struct add_on_cpu *add = arg;

	tdx_task_pin(add->cpu);
	return td_add(add->td, add->page, add->nr_pages);
}

static int add_on_cpu(struct td *td, unsigned int cpu, unsigned int page, unsigned int nr_pages)
{
	struct add_on_cpu add = { td, cpu, page, nr_pages };
	struct tdx_task task;

	tdx_task_start(&task, "populate", add_on_cpu_fn, &add);
	return tdx_task_finish(&task);
}

static int offline_fn(void *arg)
{
	struct hotplug *h = arg;

	return cpu_set_online(h->cpu, false);
}

static void expect_mapped(struct __test_metadata *_metadata, struct td *td, unsigned int nr_pages)
{
	unsigned int page;

	for (page = 0; page < nr_pages; page++) {
		EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(td, page))
		{
			TH_LOG("page %u is not mapped", page);
		}
	}
}

/* The vCPU was last on the CPU that goes: it is found elsewhere, and then there again. */
TD_TEST_F(hotplug, between_calls_goes_on_elsewhere)
{
	struct hotplug *h = &self->h;
	unsigned int round, page = 0;

	h->cpu = choose_cpu();
	if (!h->cpu)
		SKIP(return, "no CPU can go offline");

	for (round = 0; round < ROUNDS; round++) {
		EXPECT_RESULT(0, add_on_cpu(&h->td, h->cpu, page++, 1));
		ASSERT_EQ(0, cpu_set_online(h->cpu, false));
		EXPECT_RESULT(0, add_on_cpu(&h->td, STAYING_CPU, page++, 1));
		ASSERT_EQ(0, cpu_set_online(h->cpu, true));
	}
	EXPECT_RESULT(0, add_on_cpu(&h->td, h->cpu, page++, 1));
	expect_mapped(_metadata, &h->td, page);
	td_complete(_metadata, &h->td);
}

/* The CPU goes with the VM's only vCPU on its list, and the TD ends without it. */
TD_TEST_F(hotplug, td_ends_while_cpu_is_gone)
{
	struct hotplug *h = &self->h;
	struct td other;

	h->cpu = choose_cpu();
	if (!h->cpu)
		SKIP(return, "no CPU can go offline");

	td_create(&other);
	EXPECT_RESULT(0, add_on_cpu(&other, h->cpu, 0, 1));
	EXPECT_RESULT(0, add_on_cpu(&h->td, h->cpu, 0, 1));
	ASSERT_EQ(0, cpu_set_online(h->cpu, false));
	td_destroy(&other);
	td_create(&other);
	td_complete(_metadata, &other);
	td_destroy(&other);
	ASSERT_EQ(0, cpu_set_online(h->cpu, true));
	td_complete(_metadata, &h->td);
}

static int populate_on_cpu_fn(void *arg)
{
	struct hotplug *h = arg;

	tdx_task_pin(h->cpu);
	return td_populate_fn(&h->populate);
}

/* Nobody runs on the CPU, though somebody sleeps who did: it goes without waiting. */
TD_TEST_F(hotplug, while_parked_goes_on_elsewhere)
{
	struct hotplug *h = &self->h;

	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());
	h->cpu = choose_cpu();
	if (!h->cpu)
		SKIP(return, "no CPU can go offline");

	tdx_park_init(&h->park, PARKED_PAGES, PARKED_AT);
	td_populate_prepare(&h->populate, &h->td, h->park.mem, 0, PARKED_PAGES);
	h->populate.flags = KVM_TDX_MEASURE_MEMORY_REGION;
	tdx_task_start(&h->populate.task, "populate", populate_on_cpu_fn, h);
	ASSERT_TRUE(tdx_park_wait(&h->park));

	tdx_task_start(&h->offline, "offline", offline_fn, h);
	EXPECT_RESULT(0, tdx_task_finish(&h->offline));
	EXPECT_FALSE(tdx_task_is_done(&h->populate.task));

	tdx_park_release(&h->park);
	EXPECT_RESULT(0, tdx_task_finish(&h->populate.task));
	EXPECT_EQ(0, h->populate.region.nr_pages);
	ASSERT_EQ(0, cpu_set_online(h->cpu, true));

	expect_mapped(_metadata, &h->td, PARKED_PAGES);
	EXPECT_RESULT(0, add_on_cpu(&h->td, h->cpu, PARKED_PAGES, 1));
	td_complete(_metadata, &h->td);
}

struct storm {
	struct tdx_task task;
	struct td *td;
	bool stop;
};

static int storm_fn(void *arg)
{
	struct storm *storm = arg;
	int r = 0;

	while (!__atomic_load_n(&storm->stop, __ATOMIC_ACQUIRE) && !r) {
		r = td_add(storm->td, 0, TD_NR_PAGES);
		if (!r)
			r = td_punch(storm->td, 0, TD_NR_PAGES);
	}
	return r;
}

/* Whoever populates at full speed is moved from CPU to CPU, and loses nothing. */
TD_TEST_F(hotplug, while_running_loses_nothing)
{
	struct hotplug *h = &self->h;
	struct storm storm = { .td = &h->td };
	unsigned int round;

	h->cpu = choose_cpu();
	if (!h->cpu)
		SKIP(return, "no CPU can go offline");

	tdx_task_start(&storm.task, "storm", storm_fn, &storm);
	for (round = 0; round < ROUNDS; round++) {
		EXPECT_EQ(0, cpu_set_online(h->cpu, false));
		EXPECT_EQ(0, cpu_set_online(h->cpu, true));
	}
	__atomic_store_n(&storm.stop, true, __ATOMIC_RELEASE);
	EXPECT_RESULT(0, tdx_task_finish(&storm.task));
	td_complete(_metadata, &h->td);
}

#define TD_DISRUPTS "CPUs go offline"
#include "tdx_init_mem_main.h"
