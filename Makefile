# SPDX-License-Identifier: GPL-2.0-only
#
#   make run    from a fresh machine to a verdict: both lines, all variants
#   make test   everything that proves the project itself
#   make test-lines  every released line from 6.16 on: an hour of kernel builds
#   make test-kasan  the oldest and the newest of them with KASAN: half an hour and more
#   make test-distro  the newest with what a distribution's KVM has: minutes
#   make test-series  the suite after each patch of the series: an hour and a half
#   make test-mutants  plants one bug after the other: about an hour
#   make test-files  what no other test file would find, for each of them: more than an hour
#   make test-soak  one kernel's whole suite 50 times, with 2 and 4 CPUs: three hours and more
#   make test-speed  the developer's loop, and a boot with and without the plugin
#   make lint   style of everything in the repository
#   make check  unit tests of the models only: seconds, no root, no kernel

.PHONY: run test test-lines test-kasan test-distro test-series test-mutants test-files test-soak test-speed
.PHONY: lint check clean
run:
	scripts/tdx-init-mem setup
	scripts/tdx-init-mem matrix

test-lines:
	scripts/prove lines

test-kasan:
	scripts/prove kasan

test-distro:
	scripts/prove distro

test-series:
	scripts/tdx-init-mem setup
	scripts/tdx-init-mem series --all-patches

test-mutants:
	scripts/prove mutants

test-files:
	scripts/prove files

test-soak:
	scripts/prove soak

test-speed:
	TDX_INIT_MEM_BOOT_PAIRS=15 scripts/prove warm overhead

test:
	scripts/prove

lint:
	scripts/lint

check:
	$(MAKE) -C tools/testing/tdx check

clean:
	$(MAKE) -C tools/testing/tdx clean
