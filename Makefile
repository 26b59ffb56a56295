# SPDX-License-Identifier: GPL-2.0-only
#
#   make run    from a fresh machine to a verdict: both lines, all variants
#   make test   everything that proves the project itself
#   make test-lines  every released line from 6.16 on: an hour of kernel builds
#   make lint   style of everything in the repository
#   make check  unit tests of the models only: seconds, no root, no kernel

.PHONY: run test test-lines lint check clean
run:
	scripts/tdx-init-mem setup
	scripts/tdx-init-mem matrix

test-lines:
	scripts/prove lines

test:
	scripts/prove

lint:
	scripts/lint

check:
	$(MAKE) -C tools/testing/tdx check

clean:
	$(MAKE) -C tools/testing/tdx clean
