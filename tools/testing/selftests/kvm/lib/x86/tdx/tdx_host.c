// SPDX-License-Identifier: GPL-2.0-only
/*
 * What machine is this, see include/x86/tdx/tdx_host.h.
 */
#include <cpuid.h>
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "kselftest.h"
#include "tdx/tdx_audit.h"
#include "tdx/tdx_emul.h"
#include "tdx/tdx_host.h"
#include "tdx/tdx_util.h"

#define TDX_DEADLINE_MS 10000

bool tdx_host_is_emulated(void)
{
	u32 eax, ebx, ecx, edx;

	__cpuid(TDX_EMUL_LEAF_SIGNATURE, eax, ebx, ecx, edx);

	return eax >= TDX_EMUL_LEAF_VERSION && ebx == TDX_EMUL_SIGNATURE_EBX &&
	       ecx == TDX_EMUL_SIGNATURE_ECX && edx == TDX_EMUL_SIGNATURE_EDX;
}

static u32 tdx_host_model_version(void)
{
	u32 eax, ebx, ecx, edx;

	__cpuid(TDX_EMUL_LEAF_VERSION, eax, ebx, ecx, edx);
	return ebx;
}

unsigned int tdx_host_kernel(void)
{
	unsigned int major, minor;
	struct utsname uts;

	if (uname(&uts) || sscanf(uts.release, "%u.%u", &major, &minor) != 2)
		return 0;

	return TDX_KERNEL(major, minor);
}

static const struct {
	int cap;
	const char *lack;
} tdx_needed_caps[] = {
	{ KVM_CAP_GUEST_MEMFD, "KVM lacks guest_memfd" },
	{ KVM_CAP_MEMORY_ATTRIBUTES, "KVM lacks memory attributes" },
	{ KVM_CAP_USER_MEMORY2, "KVM lacks KVM_SET_USER_MEMORY_REGION2" },
	{ KVM_CAP_SPLIT_IRQCHIP, "KVM lacks the split irqchip" },
};

const char *tdx_host_lacks(void)
{
	static char reason[80];
	unsigned int i;
	int fd, types;

	fd = open(KVM_DEV_PATH, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? "/dev/kvm missing" : "/dev/kvm cannot be opened";

	types = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES);
	close(fd);
	if (!is_tdx_enabled()) {
		snprintf(reason, sizeof(reason), "VM types 0x%x lack TDX (bit %d)", types,
			 KVM_X86_TDX_VM);
		return reason;
	}

	for (i = 0; i < ARRAY_SIZE(tdx_needed_caps); i++) {
		if (!kvm_has_cap(tdx_needed_caps[i].cap))
			return tdx_needed_caps[i].lack;
	}

	return NULL;
}

static bool tdx_env_is_set(const char *name)
{
	const char *value = getenv(name);

	return value && !strcmp(value, "1");
}

bool tdx_host_is_decoupled(void)
{
	return tdx_env_is_set("TDX_INIT_MEM_DECOUPLED");
}

bool tdx_host_has_shared_lock(void)
{
	return tdx_env_is_set("TDX_INIT_MEM_SHARED_LOCK");
}

const char *tdx_host_forbids_disruption(void)
{
	if (tdx_env_is_set("TDX_INIT_MEM_DISRUPT"))
		return NULL;

	return "others on this machine may come to harm; TDX_INIT_MEM_DISRUPT=1 allows it";
}

unsigned int tdx_host_deadline_ms(void)
{
	const char *override = getenv("TDX_INIT_MEM_DEADLINE_MS");

	return override ? strtoul(override, NULL, 0) : TDX_DEADLINE_MS;
}

u64 tdx_host_seed(void)
{
	const char *seed = getenv("TDX_INIT_MEM_SEED");
	u64 value = seed ? strtoull(seed, NULL, 0) : 0;

	/* Zero would make the generators stand still. */
	return value ?: 1;
}

static void tdx_host_print(const char *lack)
{
	struct utsname uts = {};
	char model[32] = "none";
	const char *host = "none";

	if (tdx_host_is_emulated()) {
		u32 version = tdx_host_model_version();

		host = "emulated";
		snprintf(model, sizeof(model), "%u.%u", version >> 16, version & 0xffff);
	} else if (!lack) {
		host = "silicon";
	}

	uname(&uts);
	printf("# tdx_init_mem: host=%s kernel=%s model=%s%s%s\n", host, uts.release, model,
	       tdx_host_has_shared_lock() ? " shared-lock" : "",
	       tdx_host_is_decoupled() ? " decoupled" : "");
}

void tdx_test_begin(void)
{
	const char *lack = tdx_host_lacks();

	tdx_host_print(lack);

	if (lack) {
		ksft_print_header();
		ksft_exit_skip("%s; on any machine: scripts/tdx-init-mem run\n", lack);
	}

	tdx_audit_begin();
	tdx_emul_begin();
}

void tdx_test_disrupts(const char *what)
{
	const char *why = tdx_host_forbids_disruption();

	if (why) {
		ksft_print_header();
		ksft_exit_skip("%s: %s\n", what, why);
	}
}
