// SPDX-License-Identifier: GPL-2.0-only
/* Console on the first serial port, KTAP, interrupt descriptors, and the end. */
#include "bare.h"
#include "cases.h"

#define COM1 0x3f8
#define PM1A_CONTROL 0x604 /* where SeaBIOS places it on q35 */
#define SLEEP_S5 0x2000

struct bare_fault bare_fault;
uint64_t bare_resume, bare_steps, bare_at;

static unsigned int failures;

static void put(char c)
{
	asm volatile("outb %0, %1" : : "a"(c), "Nd"((uint16_t)COM1));
}

void bare_print(const char *text)
{
	while (*text)
		put(*text++);
}

void bare_print_hex(uint64_t value)
{
	bare_print("0x");
	for (int shift = 60; shift >= 0; shift -= 4)
		put("0123456789abcdef"[(value >> shift) & 15]);
}

void bare_expect(uint64_t got, uint64_t want, const char *what)
{
	if (got == want)
		return;
	failures++;
	bare_print("# ");
	bare_print(what);
	bare_print(": want ");
	bare_print_hex(want);
	bare_print(", got ");
	bare_print_hex(got);
	bare_print("\n");
}

static struct {
	uint16_t offset_low, selector, type, offset_mid;
	uint32_t offset_high, reserved;
} idt[15];

static void set_gate(unsigned int vector, void (*stub)(void))
{
	uint64_t offset = (uint64_t)stub;

	idt[vector].offset_low = (uint16_t)offset;
	idt[vector].selector = 0x08;
	idt[vector].type = 0x8e00; /* present interrupt gate */
	idt[vector].offset_mid = (uint16_t)(offset >> 16);
	idt[vector].offset_high = (uint32_t)(offset >> 32);
}

static void load_idt(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint64_t)idt };

	set_gate(1, bare_db);
	set_gate(VECTOR_UD, bare_ud);
	set_gate(VECTOR_GP, bare_gp);
	set_gate(14, bare_pf);
	asm volatile("lidt %0" : : "m"(pointer));
}

static void print_number(unsigned int number)
{
	if (number >= 10)
		print_number(number / 10);
	put((char)('0' + number % 10));
}

void bare_main(void)
{
	unsigned int count = 0;

	load_idt();
	while (bare_cases[count].run)
		count++;
	bare_print("KTAP version 1\n1..");
	print_number(count);
	bare_print("\n");
	for (unsigned int i = 0; i < count; i++) {
		failures = 0;
		bare_cases[i].run();
		bare_print(failures ? "not ok " : "ok ");
		print_number(i + 1);
		bare_print(" tdxq.");
		bare_print(bare_cases[i].name);
		bare_print("\n");
	}
	asm volatile("outw %0, %1" : : "a"((uint16_t)SLEEP_S5), "Nd"((uint16_t)PM1A_CONTROL));
}
