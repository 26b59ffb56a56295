/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From the multiboot entry to 64-bit C: page tables, descriptor tables, and
 * exceptions that note what happened and go on where the test wants to.
 *
 * The first GiB of physical memory is mapped at 0 and once more at 1 GiB, so
 * that a test can execute the same code at two virtual addresses.
 */
	.section .multiboot, "a"
	.align	4
	.long	0x1badb002, 0, -0x1badb002

	.section .bss
	.align	4096
pml4:	.skip	4096
pdpt:	.skip	4096
pd:	.skip	4096
	.skip	16384
stack_top:

	.section .data
	.align	8
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* 0x08: 64-bit code */
	.quad	0x00cf93000000ffff	/* 0x10: data */
gdt_end:
gdt_ptr:
	.word	gdt_end - gdt - 1
	.quad	gdt

	.section .text
	.code32
	.globl	start
start:
	cli
	movl	$pdpt + 3, pml4
	movl	$pd + 3, pdpt
	movl	$pd + 3, pdpt + 8
	movl	$0x83, %eax		/* 2 MiB pages, present, writable */
	xorl	%ecx, %ecx
1:	movl	%eax, pd(, %ecx, 8)
	addl	$0x200000, %eax
	incl	%ecx
	cmpl	$512, %ecx
	jne	1b

	movl	$0x20, %eax		/* CR4.PAE */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER.LME */
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	$0x80000021, %eax	/* PG, NE, PE: VMX demands NE */
	movl	%eax, %cr0
	lgdtl	gdt_ptr
	ljmpl	$0x08, $1f

	.code64
1:	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	leaq	stack_top(%rip), %rsp
	call	bare_main
2:	hlt
	jmp	2b

/*
 * Exceptions. #DB is a single step: count and go on. Any other is expected by
 * the test: note vector, RIP and the two registers that the plugin may have
 * borrowed, and continue at bare_resume.
 */
	.macro	STUB name, vector, has_error
	.globl	\name
\name:
	.if	!\has_error
	pushq	$0
	.endif
	pushq	$\vector
	jmp	fault
	.endm

	STUB	bare_ud, 6, 0
	STUB	bare_gp, 13, 1
	STUB	bare_pf, 14, 1

	.globl	bare_db
bare_db:
	incq	bare_steps(%rip)
	iretq

fault:
	popq	bare_fault(%rip)
	movq	%rax, bare_fault + 16(%rip)
	movq	%rcx, bare_fault + 24(%rip)
	addq	$8, %rsp
	movq	(%rsp), %rax
	movq	%rax, bare_fault + 8(%rip)
	movq	bare_resume(%rip), %rax
	movq	%rax, (%rsp)
	iretq

	.section .note.GNU-stack, "", @progbits
