// SPDX-License-Identifier: GPL-2.0-only
/* TDH.VP.*: creation, association, entry. */
#include "tests/module/machine.h"

#define INV TDX_OPERAND_INVALID
#define BUSY TDX_OPERAND_BUSY
#define V1 BIT_U64(TDX_RAX_VERSION_SHIFT)
#define STATE_DETAILS 0x9120000300000100
#define PI_VECTOR 0x0002
#define PI_DESC 0x2016
#define PIN_CONTROLS 0x4000
#define SHARED_EPTP 0x203c
#define PEND_NMI 0x202000000000000b

static void create_and_addcx_refusals(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_ADDCX);
	uint64_t page = machine_page(machine), more = machine_page(machine);
	unsigned int i;

	EXPECT_CALL(TDX_OP_STATE_INCORRECT, machine, 0, TDH_VP_CREATE, page, td.tdr, 0, 0);
	td_advance(&td, STAGE_INITIALIZED);
	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_VP_CREATE, page, td.tdr | 1, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_VP_CREATE, page | 1, td.tdr, 0, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_VP_CREATE, 0, td.tdr, 0,
		    0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_CREATE, page, td.tdr, 0, 0);

	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_VP_ADDCX, more, page | 1, 0, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RDX, machine, 0, TDH_VP_ADDCX, more, td.tdr, 0,
		    0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_VP_ADDCX, more | 1, page, 0, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_VP_ADDCX, 0, page, 0, 0);
	EXPECT_CALL(TDX_TDCX_NUM_INCORRECT, machine, 0, TDH_VP_INIT | V1, page, 0, 0, 0);
	EXPECT_CALL(TDX_TDCX_NUM_INCORRECT, machine, 0, TDH_VP_FLUSH, page, 0, 0, 0);
	EXPECT_CALL(TDX_TDCX_NUM_INCORRECT, machine, 0, TDH_VP_RD, page, STATE_DETAILS, 0, 0);
	for (i = 1; i < TDX_TDVPS_MAX_PAGES; i++)
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_ADDCX, machine_page(machine), page, 0,
			    0);
	EXPECT_CALL(TDX_TDCX_NUM_INCORRECT, machine, 0, TDH_VP_ADDCX, more, page, 0, 0);
	machine_free(machine);
}

static void init_both_versions_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_INITIALIZED);
	struct test_vcpu first = td_new_vcpu(&td), second = td_new_vcpu(&td);
	struct test_vcpu third = td_new_vcpu(&td);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_INIT | V1, first.tdvpr, 0xabcd, 7, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_VP_INIT, second.tdvpr, 0, 0, 0);
	/* Version 0 brought no id, hence 0 is free. */
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_INIT | V1, third.tdvpr, 0, 0, 0);
	KTAP_EXPECT_EQ(td_model(&td)->num_vcpus, 3);
	KTAP_EXPECT_EQ(td_model(&td)->num_assoc_vcpus, 3);
	KTAP_EXPECT_EQ(vcpu_model(&td, &first)->initial_rcx, 0xabcd);
	KTAP_EXPECT_EQ(vcpu_model(&td, &first)->x2apic_id, 7);
	KTAP_EXPECT_EQ(vcpu_model(&td, &second)->index, 1);
	KTAP_EXPECT(td_model(&td)->topology_off);
	machine_free(machine);
}

static void init_refusals(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_INITIALIZED);
	struct test_vcpu vcpu[5];
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(vcpu); i++)
		vcpu[i] = td_new_vcpu(&td);
	EXPECT_CALL(INV + OP_RAX, machine, 0, TDH_VP_INIT | 2 * V1, vcpu[0].tdvpr, 0, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_VP_INIT | V1, vcpu[0].tdvpr | 1, 0, 0, 0);
	EXPECT_CALL(INV + OP_R8, machine, 0, TDH_VP_INIT | V1, vcpu[0].tdvpr, 0, BIT_U64(32), 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_INIT | V1, vcpu[0].tdvpr, 0, 9, 0);
	EXPECT_CALL(TDX_VCPU_STATE_INCORRECT + VCPU_READY, machine, 0, TDH_VP_INIT | V1,
		    vcpu[0].tdvpr, 0, 9, 0);
	EXPECT_CALL(TDX_VCPU_STATE_INCORRECT + VCPU_READY, machine, 0, TDH_VP_ADDCX,
		    machine_page(machine), vcpu[0].tdvpr, 0, 0);
	EXPECT_CALL(TDX_X2APIC_ID_NOT_UNIQUE + 9, machine, 0, TDH_VP_INIT | V1, vcpu[1].tdvpr, 0, 9,
		    0);
	for (i = 1; i < 4; i++)
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_INIT | V1, vcpu[i].tdvpr, 0, i, 0);
	EXPECT_CALL(TDX_MAX_VCPUS_EXCEEDED, machine, 0, TDH_VP_INIT | V1, vcpu[4].tdvpr, 0, 4, 0);
	EXPECT_CALL(TDX_MAX_VCPUS_EXCEEDED, machine, 0, TDH_VP_INIT, vcpu[4].tdvpr, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MR_FINALIZE, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_OP_STATE_INCORRECT + TD_RUNNABLE, machine, 0, TDH_VP_INIT | V1,
		    vcpu[4].tdvpr, 0, 4, 0);
	EXPECT_CALL(TDX_OP_STATE_INCORRECT + TD_RUNNABLE, machine, 0, TDH_VP_CREATE,
		    machine_page(machine), td.tdr, 0, 0);
	EXPECT_CALL(TDX_OP_STATE_INCORRECT + TD_RUNNABLE, machine, 0, TDH_VP_ADDCX,
		    machine_page(machine), vcpu[4].tdvpr, 0, 0);
	machine_free(machine);
}

static void init_version_1_takes_tdr_exclusively(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_INITIALIZED);
	struct test_vcpu first = td_new_vcpu(&td), second = td_new_vcpu(&td);
	struct sharex *tdr = &tdxm_pamt_find(machine->m, td.tdr)->lock;

	KTAP_EXPECT(sharex_try_shared(tdr));
	EXPECT_CALL(BUSY + OP_TDR, machine, 0, TDH_VP_INIT | V1, first.tdvpr, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_INIT, second.tdvpr, 0, 0, 0);
	sharex_unlock_shared(tdr);
	machine_free(machine);
}

static void association_moves_only_by_flush(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_VCPU);
	uint64_t tdvpr = td.vcpu.tdvpr;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_RD, tdvpr, STATE_DETAILS, 0, 0);
	EXPECT_CALL(TDX_VCPU_ASSOCIATED, machine, 1, TDH_VP_RD, tdvpr, STATE_DETAILS, 0, 0);
	EXPECT_CALL(TDX_VCPU_NOT_ASSOCIATED, machine, 1, TDH_VP_FLUSH, tdvpr, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_FLUSH, tdvpr, 0, 0, 0);
	EXPECT_CALL(TDX_VCPU_NOT_ASSOCIATED, machine, 0, TDH_VP_FLUSH, tdvpr, 0, 0, 0);
	KTAP_EXPECT_EQ(td_model(&td)->num_assoc_vcpus, 0);
	/* An access takes it again, even one that fails. */
	EXPECT_CALL(TDX_METADATA_FIELD_NOT_WRITABLE, machine, 1, TDH_VP_WR, tdvpr, STATE_DETAILS, 0,
		    ~0ULL);
	KTAP_EXPECT_EQ(vcpu_model(&td, &td.vcpu)->assoc_lp, 1);
	EXPECT_CALL(TDX_VCPU_ASSOCIATED, machine, 0, TDH_VP_WR, tdvpr, PEND_NMI, 1, 1);
	machine_expect_rule(machine, SAN_VCPU_NOT_FLUSHED, 2);
	machine_free(machine);
}

static void write_what_kvm_writes_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_VCPU);
	uint64_t tdvpr = td.vcpu.tdvpr, desc = machine_page(machine) + 64;
	struct tdxm_regs out;

	EXPECT_CALL(TDX_TD_VMCS_FIELD_NOT_INITIALIZED + PI_VECTOR, machine, 0, TDH_VP_WR, tdvpr,
		    PIN_CONTROLS, 0x80, 0x80);
	out = EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, tdvpr, PI_VECTOR, 0xf2, 0xffff);
	KTAP_EXPECT_EQ(out.r8, 0xffff);
	EXPECT_CALL(TDX_TD_VMCS_FIELD_NOT_INITIALIZED + PI_DESC, machine, 0, TDH_VP_WR, tdvpr,
		    PIN_CONTROLS, 0x80, 0x80);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, tdvpr, PI_DESC, desc, ~0ULL);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, tdvpr, PIN_CONTROLS, 0x80, 0x80);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, tdvpr, 0x401e, BIT_U64(31), BIT_U64(31));
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, tdvpr, 0x401e, BIT_U64(30), BIT_U64(30));
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, tdvpr, 0x4024, 0x1000, 0xffffffff);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, tdvpr, SHARED_EPTP, machine_page(machine),
		    ~0ULL);
	KTAP_EXPECT_EQ(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, tdvpr, PEND_NMI, 1, 0xff).r8,
		       0);
	KTAP_EXPECT_EQ(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_RD, tdvpr, 0x401e, 0, 0).r8,
		       BIT_U64(31) | BIT_U64(30));
	machine_free(machine);
}

static void write_bad_values_fail(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_VCPU);
	uint64_t tdvpr = td.vcpu.tdvpr;

	EXPECT_CALL(TDX_METADATA_FIELD_VALUE_NOT_VALID, machine, 0, TDH_VP_WR, tdvpr, PI_VECTOR,
		    256, 0xffff);
	EXPECT_CALL(TDX_METADATA_FIELD_VALUE_NOT_VALID, machine, 0, TDH_VP_WR, tdvpr, PI_DESC, 32,
		    ~0ULL);
	EXPECT_CALL(TDX_METADATA_FIELD_VALUE_NOT_VALID, machine, 0, TDH_VP_WR, tdvpr, PI_DESC,
		    WITH_KEYID(0x1000, 2), ~0ULL);
	EXPECT_CALL(TDX_METADATA_FIELD_VALUE_NOT_VALID, machine, 0, TDH_VP_WR, tdvpr, SHARED_EPTP,
		    0x1008, ~0ULL);
	EXPECT_CALL(TDX_METADATA_FIELD_VALUE_NOT_VALID, machine, 0, TDH_VP_WR, tdvpr, PIN_CONTROLS,
		    0x81, 0xff);
	EXPECT_CALL(TDX_METADATA_FIELD_NOT_WRITABLE, machine, 0, TDH_VP_WR, tdvpr, PIN_CONTROLS, 1,
		    1);
	EXPECT_CALL(TDX_METADATA_FIELD_ID_INCORRECT, machine, 0, TDH_VP_WR, tdvpr, 0x6800, 0,
		    ~0ULL);
	KTAP_EXPECT_EQ(machine_findings(machine).unimplemented, 1);
	machine_forget_findings(machine);
	machine_free(machine);
}

static void enter_idles_at_once_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_RUNNABLE);
	struct tdxm_regs regs = {
		.rax = TDH_VP_ENTER,
		.rcx = td.vcpu.tdvpr,
		.rbp = 0xb4,
		.r15 = 5,
	};

	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 0, 1, &regs), TDXM_DONE);
	KTAP_EXPECT_EQ(regs.rax, TDX_EXIT_REASON_TDCALL);
	KTAP_EXPECT_EQ(regs.rcx, 0xfc00);
	KTAP_EXPECT_EQ(regs.r10, 0);
	KTAP_EXPECT_EQ(regs.r11, TDX_EXIT_REASON_HLT);
	KTAP_EXPECT_EQ(regs.r15, 0);
	KTAP_EXPECT_EQ(regs.rbp, 0xb4);
	KTAP_EXPECT_EQ(td_model(&td)->refcount[1], 0);
	machine_free(machine);
}

static void enter_refusals(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	uint64_t tdvpr = td.vcpu.tdvpr;

	EXPECT_CALL(TDX_OP_STATE_INCORRECT + TD_INITIALIZED, machine, 0, TDH_VP_ENTER, tdvpr, 0, 0,
		    0);
	td_advance(&td, STAGE_RUNNABLE);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_VP_ENTER, tdvpr | 1, 0, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_VP_ENTER, tdvpr | BIT_U64(54), 0, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_VP_ENTER, tdvpr | BIT_U64(52), 0, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_VP_ENTER, tdvpr | BIT_U64(53), 0, 0, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_VP_ENTER, td.tdr, 0, 0,
		    0);
	EXPECT_CALL(TDX_VCPU_ASSOCIATED, machine, 1, TDH_VP_ENTER, tdvpr, 0, 0, 0);
	machine_expect_rule(machine, SAN_VCPU_NOT_FLUSHED, 1);
	KTAP_EXPECT(sharex_try_exclusive(&td_model(&td)->epoch_lock));
	EXPECT_CALL(BUSY + OP_TD_EPOCH, machine, 0, TDH_VP_ENTER, tdvpr, 0, 0, 0);
	sharex_unlock_exclusive(&td_model(&td)->epoch_lock);
	vcpu_model(&td, &td.vcpu)->state = VCPU_DISABLED;
	EXPECT_CALL(TDX_VCPU_STATE_INCORRECT + VCPU_DISABLED, machine, 0, TDH_VP_ENTER, tdvpr, 0, 0,
		    0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_RD, tdvpr, STATE_DETAILS, 0, 0);
	machine_free(machine);
}

/* A VCPU that never got its pages, and one that never got VP.INIT, of a TD that runs. */
static void unfinished_vcpus_are_refused(void)
{
	static const struct {
		uint64_t leaf, field;
	} call[] = { { TDH_VP_ENTER, 0 }, { TDH_VP_RD, STATE_DETAILS }, { TDH_VP_WR, PEND_NMI } };
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);
	struct test_vcpu raw = td_new_vcpu(&td);
	uint64_t bare = machine_page(machine);
	unsigned int i;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_CREATE, bare, td.tdr, 0, 0);
	td_advance(&td, STAGE_RUNNABLE);
	for (i = 0; i < ARRAY_LEN(call); i++) {
		EXPECT_CALL(TDX_TDCX_NUM_INCORRECT, machine, 0, call[i].leaf, bare, call[i].field,
			    1, 1);
		EXPECT_CALL(TDX_VCPU_STATE_INCORRECT + VCPU_UNINITIALIZED, machine, 0, call[i].leaf,
			    raw.tdvpr, call[i].field, 1, 1);
	}
	/* They were refused before they would have been associated. */
	KTAP_EXPECT_EQ(vcpu_model(&td, &raw)->assoc_lp, TDXM_NO_LP);
	machine_free(machine);
}

/* More than six pages are fine: those beyond are for L2 VMs. */
static void vcpu_with_spare_pages_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_INITIALIZED);
	struct test_vcpu vcpu = td_new_vcpu(&td);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_ADDCX, machine_page(machine), vcpu.tdvpr, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_INIT | V1, vcpu.tdvpr, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_RD, vcpu.tdvpr, STATE_DETAILS, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_FLUSH, vcpu.tdvpr, 0, 0, 0);
	machine_free(machine);
}

static void init_that_is_made_to_fail_gives_its_place_back(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_INITIALIZED);
	struct tdxm_rule rule = {
		.action = TDXM_FAIL,
		.leaf = TDH_VP_INIT,
		.first = 1,
		.count = 5,
		.status = BUSY + OP_RCX,
	};
	struct test_vcpu vcpu[4];
	unsigned int i;
	uint32_t id;

	for (i = 0; i < ARRAY_LEN(vcpu); i++)
		vcpu[i] = td_new_vcpu(&td);
	KTAP_EXPECT(!tdxm_arm(machine->m, &rule, &id));
	for (i = 0; i < 5; i++)
		EXPECT_CALL(BUSY + OP_RCX, machine, 0, TDH_VP_INIT | V1, vcpu[0].tdvpr, 0, 7, 0);
	KTAP_EXPECT_EQ(td_model(&td)->num_vcpus, 0);
	/* All four places are left, the id is free, and the indices start at 0. */
	for (i = 0; i < ARRAY_LEN(vcpu); i++) {
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_INIT | V1, vcpu[i].tdvpr, 0, 7 + i, 0);
		KTAP_EXPECT_EQ(vcpu_model(&td, &vcpu[i])->index, i);
	}
	machine_free(machine);
}

/* Version 0 shares the TDR: the last place must not be given away twice. */
static void inits_at_once_do_not_exceed_the_maximum(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_INITIALIZED);
	struct tdxm_rule rule = {
		.action = TDXM_HOLD_LOCKED,
		.leaf = TDH_VP_INIT,
		.first = 1,
		.count = 1,
		.timeout_ns = 1000000000,
	};
	struct test_vcpu vcpu[5];
	struct tdxm_regs regs;
	unsigned int i;
	uint32_t id;

	for (i = 0; i < ARRAY_LEN(vcpu); i++)
		vcpu[i] = td_new_vcpu(&td);
	for (i = 0; i < 3; i++)
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_INIT, vcpu[i].tdvpr, 0, 0, 0);
	KTAP_EXPECT(!tdxm_arm(machine->m, &rule, &id));
	regs = (struct tdxm_regs) { .rax = TDH_VP_INIT, .rcx = vcpu[3].tdvpr };
	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 0, 1, &regs), TDXM_AGAIN);
	EXPECT_CALL(TDX_MAX_VCPUS_EXCEEDED, machine, 1, TDH_VP_INIT, vcpu[4].tdvpr, 0, 0, 0);
	KTAP_EXPECT_EQ(td_model(&td)->num_vcpus, 3);
	KTAP_EXPECT(!tdxm_release(machine->m, id));
	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 0, 1, &regs), TDXM_DONE);
	EXPECT_STATUS(TDX_SUCCESS, regs.rax);
	KTAP_EXPECT_EQ(vcpu_model(&td, &vcpu[3])->index, 3);
	machine_free(machine);
}

static void refused_init_gives_its_place_back(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_INITIALIZED);
	struct test_vcpu vcpu[5];
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(vcpu); i++)
		vcpu[i] = td_new_vcpu(&td);
	for (i = 0; i < 4; i++) {
		EXPECT_CALL(INV + OP_R8, machine, 0, TDH_VP_INIT | V1, vcpu[i].tdvpr, 0,
			    BIT_U64(32), 0);
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_INIT | V1, vcpu[i].tdvpr, 0, i, 0);
	}
	/* The number of VCPUs is looked at before the id. */
	EXPECT_CALL(TDX_MAX_VCPUS_EXCEEDED, machine, 0, TDH_VP_INIT | V1, vcpu[4].tdvpr, 0,
		    BIT_U64(32), 0);
	machine_free(machine);
}

/* Without guest code an NMI is over as soon as the VCPU was entered. */
static void pending_nmi_is_taken_by_entry(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_RUNNABLE);
	uint64_t tdvpr = td.vcpu.tdvpr;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_WR, tdvpr, PEND_NMI, 1, 1);
	KTAP_EXPECT_EQ(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_RD, tdvpr, PEND_NMI, 0, 0).r8,
		       1);
	EXPECT_CALL(TDX_EXIT_REASON_TDCALL, machine, 0, TDH_VP_ENTER, tdvpr, 0, 0, 0);
	KTAP_EXPECT_EQ(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_RD, tdvpr, PEND_NMI, 0, 0).r8,
		       0);
	machine_free(machine);
}

static void finalize_and_extend_refusals(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_INITIALIZED);
	struct tdxm_regs regs;

	EXPECT_CALL(TDX_NO_VCPUS, machine, 0, TDH_MR_FINALIZE, td.tdr, 0, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MR_FINALIZE, td.tdr | 1, 0, 0, 0);
	td_advance(&td, STAGE_SEPT);
	td_add_page(&td, 0x1000);
	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_MR_EXTEND, 0x1000, td.tdr | 1, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MR_EXTEND, 0x1080, td.tdr, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MR_EXTEND, BIT_U64(47), td.tdr, 0, 0);
	regs = EXPECT_CALL(TDX_EPT_ENTRY_NOT_PRESENT + OP_RCX, machine, 0, TDH_MR_EXTEND, 0x2000,
			   td.tdr, 0, 0);
	KTAP_EXPECT_EQ(regs.rcx, 0x8000000000000000);
	KTAP_EXPECT_EQ(regs.rdx, 0);
	regs = EXPECT_CALL(TDX_EPT_ENTRY_NOT_PRESENT + OP_RCX, machine, 0, TDH_MR_EXTEND, TDX_2M,
			   td.tdr, 0, 0);
	KTAP_EXPECT_EQ(regs.rdx, 1);
	td_advance(&td, STAGE_RUNNABLE);
	EXPECT_CALL(TDX_OP_STATE_INCORRECT + TD_RUNNABLE, machine, 0, TDH_MR_FINALIZE, td.tdr, 0, 0,
		    0);
	EXPECT_CALL(TDX_OP_STATE_INCORRECT + TD_RUNNABLE, machine, 0, TDH_MR_EXTEND, 0x1000, td.tdr,
		    0, 0);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "vp.create_and_addcx_refusals", create_and_addcx_refusals },
	{ "vp.init_both_versions_ok", init_both_versions_ok },
	{ "vp.init_refusals", init_refusals },
	{ "vp.init_version_1_takes_tdr_exclusively", init_version_1_takes_tdr_exclusively },
	{ "vp.association_moves_only_by_flush", association_moves_only_by_flush },
	{ "vp.write_what_kvm_writes_ok", write_what_kvm_writes_ok },
	{ "vp.write_bad_values_fail", write_bad_values_fail },
	{ "vp.enter_idles_at_once_ok", enter_idles_at_once_ok },
	{ "vp.enter_refusals", enter_refusals },
	{ "vp.unfinished_vcpus_are_refused", unfinished_vcpus_are_refused },
	{ "vp.vcpu_with_spare_pages_ok", vcpu_with_spare_pages_ok },
	{ "vp.init_that_is_made_to_fail_gives_its_place_back",
	  init_that_is_made_to_fail_gives_its_place_back },
	{ "vp.inits_at_once_do_not_exceed_the_maximum", inits_at_once_do_not_exceed_the_maximum },
	{ "vp.refused_init_gives_its_place_back", refused_init_gives_its_place_back },
	{ "vp.pending_nmi_is_taken_by_entry", pending_nmi_is_taken_by_entry },
	{ "vp.finalize_and_extend_refusals", finalize_and_extend_refusals },
};

KTAP_MAIN(cases)
