/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Control channel of the emulated TDX host, between a test in user space and
 * the QEMU plugin: CPUID with EAX = TDX_EMUL_LEAF_CONTROL, the request in ECX
 * and its arguments in RBX, RDX, RSI, RDI, R8 .. R11.  RAX returns 0 or an errno value,
 * the other registers the answer; a register that is not named keeps what it had.
 * Registers only: a request cannot name memory to be written.
 *
 * Real hardware answers the leaf as one that it does not have; ask
 * TDX_EMUL_LEAF_SIGNATURE first.  Shared by the plugin and the selftests,
 * hence constants only.
 */
#ifndef SELFTEST_KVM_TDX_EMUL_ABI_H
#define SELFTEST_KVM_TDX_EMUL_ABI_H

/* EAX: highest leaf; EBX, ECX, EDX: signature. */
#define TDX_EMUL_LEAF_SIGNATURE 0x5ea00000
#define TDX_EMUL_SIGNATURE_EBX 0x49584454 /* "TDXI" */
#define TDX_EMUL_SIGNATURE_ECX 0x4d54494e /* "NITM" */
#define TDX_EMUL_SIGNATURE_EDX 0x4c554d45 /* "EMUL" */

/* EAX: TDX_EMUL_ABI_VERSION; EBX: version of the model, major in the upper half. */
#define TDX_EMUL_LEAF_VERSION 0x5ea00001
#define TDX_EMUL_ABI_VERSION 1

#define TDX_EMUL_LEAF_CONTROL 0x5ea00002

/*
 * Requests, in ECX.  "gpa" is page aligned, without shared bit and level;
 * "tdr" is the hpa of a TD's root page, 0 where "any TD" makes sense.
 *
 * Errors: EINVAL  unknown request, or an argument out of range
 *	   ENOENT  no such rule, TD or page
 *	   ENOSPC  all TDX_EMUL_MAX_RULES are in use
 *	   ENODEV  the kernel has not brought the module up
 */

/*
 * Arm a rule: RBX = TDX_EMUL_RULE(action, leaf), RDX = tdr or 0, RSI = first
 * gpa, RDI = number of bytes from there (0: any call, also one without a gpa),
 * R8 = which matching call comes first (1 = the next), R9 = status to answer
 * (TDX_EMUL_FAIL), R10 = how many calls from there on (0: all), R11 = timeout
 * in ms of one hold (1 .. TDX_EMUL_MAX_TIMEOUT_MS).  Returns RBX = rule.
 *
 * A failed call has changed nothing, but that VP.ENTER, VP.RD and VP.WR associate the
 * VCPU.  A call that fails by itself neither is
 * failed nor held locked, and does not count as a match of these two.
 */
#define TDX_EMUL_ARM 1
/* RBX = rule: let go whom it holds now; the rule remains. */
#define TDX_EMUL_RELEASE 2
/* RBX = rule, or 0 for all: let go, and forget the rule. */
#define TDX_EMUL_DISARM 3
/*
 * RBX = rule.  Returns RBX = calls held at this moment, RDX = matching calls,
 * RSI = calls that were held or failed, RDI = holds that timed out.
 */
#define TDX_EMUL_RULE_STATE 4

#define TDX_EMUL_HOLD_ENTRY 1  /* before the first lock */
#define TDX_EMUL_HOLD_LOCKED 2 /* all locks held, all checks passed, nothing changed */
#define TDX_EMUL_FAIL 3

#define TDX_EMUL_RULE(action, leaf) ((unsigned long)(action) << 32 | (leaf))
#define TDX_EMUL_MAX_RULES 16
#define TDX_EMUL_MAX_TIMEOUT_MS 60000

/*
 * RBX = leaf, RDX = status, RSI = mask on the status (0: any status).  Returns
 * RBX = completed calls since power-on.  Details bits 31:0 are not told apart.
 */
#define TDX_EMUL_COUNT 5

/*
 * RBX = n-th living TD in order of creation, from 0.  Returns RBX = tdr, RDX =
 * serial number of its creation, RSI = HKID, RDI = lifecycle | op-state << 8 |
 * fatal << 16, R8 = pages owned besides the TDR, R9 = VCPUs, R10 = TD epoch.
 */
#define TDX_EMUL_TD 6
/*
 * RBX = tdr, RDX = gpa, RSI = level 0 .. 4.  Returns RBX = level reached,
 * RDX = state as in RDX 15:8 of a SEAMCALL, RSI = hpa (0 if none).
 */
#define TDX_EMUL_SEPT 7
/*
 * RBX = hpa.  Returns RBX = page type, RDX = tdr of its owner (0 if none; of a
 * TDR itself), RSI = level, RDI = BEPOCH.
 */
#define TDX_EMUL_PAGE 8
/*
 * RBX = tdr, RDX = gpa + offset of 64 bytes in a page that is MAPPED.
 * Returns the 64 bytes in R8 .. R15.
 */
#define TDX_EMUL_READ 9
/* RBX = tdr.  Returns the measurement as it is now in R8 .. R13. */
#define TDX_EMUL_MRTD 10
/*
 * Leak audit.  Returns RBX = TDs, RDX = private KeyIDs in use (without the
 * global one), RSI = pages owned by TDs (TDRs included), RDI = sanitizer
 * findings so far, R8 = calls suspended.
 */
#define TDX_EMUL_AUDIT 11
/* RBX = latency in percent of the modelled times (0 .. 100000).  Returns RBX = the former one. */
#define TDX_EMUL_LATENCY 12
/*
 * RBX = 1: from now on the next call of each leaf that names a TD is busy, once;
 * RBX = 0: no more.
 */
#define TDX_EMUL_BUSY_ONCE 13
/*
 * RBX = hpa of 64 bytes, aligned, in memory that the module may give to TDs.
 * Returns the 64 bytes in R8 .. R15, whoever owns the page.
 */
#define TDX_EMUL_READ_HOST 14

#endif /* SELFTEST_KVM_TDX_EMUL_ABI_H */
