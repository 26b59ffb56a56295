#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The guest's init: loads kvm_intel with TDX, runs the tests of /run.conf one by one, powers off.
#
# KTAP goes to ttyS1 and nowhere else; the kernel log gets a mark at the start and end of each
# test, so that the host can tell whose splat it is. Whatever ends a test (exit, timeout, a kernel
# that can no longer be trusted), its result line comes from here, after the fact: a guest that dies
# midway leaves the line out.

export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /dev/hugepages
# Without these, what a script appends to /dev/stdout makes a file of that name.
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t hugetlbfs hugetlbfs /dev/hugepages 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mkdir -p /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null

ktap=/dev/ttyS1
stty -F "$ktap" raw -echo -onlcr 2>/dev/null
# Open to the end: the last close waits until all is sent, but not on if a child, which may be a
# test's orphan, ends meanwhile, and what is left is lost.
exec 4>"$ktap"
counters=/dev/ttyS2
stty -F "$counters" raw -echo -onlcr 2>/dev/null
stty -F /dev/console -echo 2>/dev/null

# The host's orders: the tests' environment, the modules, run_tests.
modules=
plan=0
# shellcheck source=/dev/null
. /run.conf

mark()
{
	echo "tdx-init-mem: $*" >/dev/kmsg
}

say()
{
	echo "$*" >&4
}

finish()
{
	stty -F "$ktap" raw -echo -onlcr 2>/dev/null # waits until all is sent, and has no children
	mark end "$*"
	sync
	poweroff -f
	sleep 5
	reboot -f
}

set_sysctl() # name value
{
	[ -e "/proc/sys/kernel/$1" ] && echo "$2" >"/proc/sys/kernel/$1"
}

# A hang is reported while the host still watches, not after two minutes.
set_sysctl hung_task_timeout_secs $((TDX_INIT_MEM_DEADLINE_MS / 1000))
set_sysctl hung_task_check_interval_secs 2
set_sysctl hung_task_warnings 10
set_sysctl sysrq 1

mark boot
for module in $modules; do
	name=${module%.ko}
	eval "options=\${options_$(echo "$name" | tr - _):-}"
	# shellcheck disable=SC2086,SC2154 # options is assigned by eval, and words
	insmod "/modules/$module" $options || mark "insmod $module failed"
done
# Where the modules lie: the host names the addresses that the emulator reports.
for sections in /sys/module/kvm*/sections; do
	[ -d "$sections" ] || continue
	place=
	for section in "$sections"/.*text*; do
		place="$place ${section##*/}=$(cat "$section")"
	done
	module=${sections%/sections}
	mark "module ${module##*/}$place"
done
mark "ready, tdx=$(cat /sys/module/kvm_intel/parameters/tdx 2>/dev/null)"

# Stacks of who is stuck (w), of the other CPUs (l), and the locks they hold (d).
dump_stacks()
{
	for key in w l d; do
		echo "$key" >/proc/sysrq-trigger
	done
}

# Taint W (512): a warning fired; D (128): the kernel oopsed. Once lockdep gave up, later tests
# would run unwatched.
is_trusted()
{
	taint=$(cat /proc/sys/kernel/tainted 2>/dev/null || echo 0)
	[ $((taint & 640)) -eq 0 ] || return 1
	! grep -q 'debug_locks: *0' /proc/lockdep_stats 2>/dev/null
}

# All cases of a program, as fixture.variant.test. The harness lists its fixtures as blocks of three
# columns, 20 and 25 wide: the variants of a fixture, and beside them, not paired, its tests.
list_cases() # program
{
	"/tests/$1" -l 2>&1 >/dev/null | awk '
	function flush_block(  v, t)
	{
		for (v = 0; v < (variants ? variants : 1); v++)
			for (t = 0; t < tests; t++)
				print fixture (variants ? "." variant[v] : "") "." test[t]
		variants = tests = 0
	}
	/^#/ { next }
	/^---/ { flush_block(); next }
	/^[^ ]/ { fixture = $1; if (NF == 3) variant[variants++] = $2; test[tests++] = $NF; next }
	NF == 2 { variant[variants++] = $1; test[tests++] = $2; next }
	NF == 1 { if (match($0, /[^ ]/) < 40) variant[variants++] = $1; else test[tests++] = $1 }
	END { flush_block() }'
}

# Those of them that match a pattern, as options for the harness.
select_cases() # program pattern
{
	list_cases "$1" | while read -r name; do
		# shellcheck disable=SC2254 # the pattern is meant as one
		case $name in
		$2) echo "-r $name" ;;
		esac
	done
}

# All that gcov counted since the boot. The next program may be the one that this kernel dies of.
save_counters() # program
{
	[ -d /sys/kernel/debug/gcov ] || return
	echo "begin $1"
	find /sys/kernel/debug/gcov -name '*.gcda' | while read -r file; do
		echo "file $file"
		gzip <"$file" | base64
	done
	echo end
}

# Who waits for a file sleeps in a read of this. A process that sleeps instead costs, under TCG, as
# much as hundreds of the system calls that are tested.
mkfifo /tmp/bell
exec 3<>/tmp/bell

ring() # file text
{
	echo "$2" >"$1.new"
	mv "$1.new" "$1"
	echo >/tmp/bell
}

# Until that file is there, at most that many seconds. The bell may be missed: read -t that is late
# in the midst of a line forgets what it has of it.
await() # seconds file
{
	waited=0
	while [ ! -e "$2" ]; do
		# shellcheck disable=SC3045 # busybox has read -t
		read -r -t 1 _ <&3 && continue
		waited=$((waited + 1))
		[ $((waited % 5)) -ne 0 ] || say "# tdx-init-mem: alive $waited"
		[ $waited -lt "$1" ] || break
	done
	[ -e "$2" ]
}

number=0
run_one() # program timeout pattern
{
	number=$((number + 1))
	options=
	if [ -n "$3" ]; then
		options=$(select_cases "$1" "$3")
		: "${options:=-r none}"
	fi
	say "# tdx-init-mem: start $1"
	mark "start $1"
	{
		(
			cd /tests || exit 126
			# shellcheck disable=SC2086 # options are words
			setsid "./$1" $options </dev/null
			ring /tmp/status-$number $?
		) 2>&1 | awk '{ print "  " $0; fflush() }' >"$ktap"
		ring /tmp/drained-$number yes
	} 3<&- 4>&- &
	reader=$!

	if ! await "$2" /tmp/status-$number; then
		mark "timeout $1"
		dump_stacks
		save_counters "$1" >"$counters"
		say "not ok $number $1 # TIMEOUT after $2 s"
		finish "timeout in $1"
	fi
	read -r status </tmp/status-$number
	# Not for ever: a process that the test left behind may hold its output open.
	if await 5 /tmp/drained-$number; then
		wait $reader
	else
		mark "the output of $1 is still open"
	fi
	mark "done $1 status=$status"
	case $status in
	0) say "ok $number $1" ;;
	4) say "ok $number $1 # SKIP" ;;
	*) say "not ok $number $1 # exit=$status" ;;
	esac
	save_counters "$1" >"$counters"
	if ! is_trusted; then
		say "Bail out! the kernel complained during $1"
		finish "not trusted after $1"
	fi
}

# Any command, with its output where that of the tests is.
run_command() # seconds command
{
	mark "start command"
	(
		cd /kselftest 2>/dev/null || cd /tests || exit 126
		setsid sh -c "$2" </dev/null
		ring /tmp/status $?
	) >"$ktap" 2>&1 3<&- 4>&- &
	writer=$!
	if ! await "$1" /tmp/status; then
		mark "timeout command"
		dump_stacks
		finish "timeout in command"
	fi
	read -r status </tmp/status
	wait $writer
	mark "done command status=$status"
}

if [ -n "${TDX_INIT_MEM_COMMAND:-}" ]; then
	run_command "$TDX_INIT_MEM_COMMAND_TIMEOUT" "$TDX_INIT_MEM_COMMAND"
	finish complete
fi
say "KTAP version 1"
say "1..$plan"
if [ -n "${TDX_INIT_MEM_SHELL:-}" ]; then
	mark "shell on the console"
	setsid cttyhack sh </dev/console >/dev/console 2>&1
else
	run_tests
fi
finish complete
