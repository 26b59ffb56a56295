#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Test the plugin on bare metal: a small 64-bit program, started by QEMU as a
# multiboot kernel, prints KTAP on its serial port. Seconds, no kernel.
#
#   run.sh OUTPUT_DIR PLUGIN QEMU [QEMU_ARGUMENT]...
#
# Exit status: 0 all passed, 1 a test failed or the plugin reported a gap,
# 3 no verdict.
set -eu

if [ $# -lt 3 ]; then
	sed -n 's/^#   //p' "$0" >&2
	exit 3
fi
here=$(dirname "$0")
out=$1/bare
plugin=$2
shift 2
mkdir -p "$out"

"${CC:-gcc}" -std=gnu11 -O1 -Wall -Wextra -Werror -ffreestanding -nostdlib -static \
	-fno-pic -no-pie -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
	-fcf-protection=none -Wl,--build-id=none -Wl,--no-warn-rwx-segments \
	-Wl,-T,"$here/bare.ld" -o "$out/bare64" "$here/start.S" "$here/bare.c" "$here/cases.c" || exit 3
# QEMU's multiboot loader takes 32-bit ELF files only.
objcopy -I elf64-x86-64 -O elf32-i386 "$out/bare64" "$out/bare" || exit 3

rm -f "$out/report.json"
timeout 60 "$@" -M q35 -accel tcg,thread=multi \
	-cpu max,vendor=GenuineIntel,family=6,model=173,stepping=1,-hypervisor,-svm \
	-smp 1 -m 256M -display none -nodefaults -no-reboot -monitor none \
	-serial "file:$out/ktap" -kernel "$out/bare" \
	-plugin "file=$plugin,report=$out/report.json" || true
cat "$out/ktap" || exit 3

planned=$(sed -n 's/^1\.\.//p' "$out/ktap")
passed=$(grep -c '^ok' "$out/ktap" || true)
if [ -z "$planned" ] || [ ! -s "$out/report.json" ]; then
	echo "# no plan or no report: QEMU or the plugin failed" >&2
	exit 3
fi
if ! tr -d ' \n' <"$out/report.json" | grep -q '"unimplemented":\[\],"sanitizer":\[\]'; then
	echo "# the plugin reported a gap:" >&2
	cat "$out/report.json" >&2
	exit 1
fi
[ "$passed" = "$planned" ]
