# SPDX-License-Identifier: GPL-2.0-only
#
# libFuzzer targets of the TDX module's model; see tests/fuzz/README.rst.
#
#   make fuzz          corpus, and a short run: KTAP
#   make soak          a long run; RUNS=, SYS_RUNS=
#   make fuzz-merge    take over what runs have found, minimised, into the corpus

CLANG ?= clang
FUZZ_SECONDS ?= 10
RUNS ?= 10000000
SYS_RUNS ?= 500000

FUZZ_CFLAGS := $(BASE_CFLAGS) -fsanitize=address,undefined -fno-sanitize-recover=all
# Edges of the model only. Comparisons are not traced: operands come from tables.
FUZZ_COVERAGE := -fsanitize-coverage=inline-8bit-counters,pc-table,indirect-calls
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,$(O)/fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_COMMON := $(patsubst %.c,$(O)/fuzz/%.o,$(filter-out %_fuzz.c,$(wildcard tests/fuzz/*.c)))

$(O)/fuzz/module/%.o: module/%.c
	$(call quiet,CLANG,$<)mkdir -p $(@D) && $(CLANG) $(FUZZ_CFLAGS) $(FUZZ_COVERAGE) -MMD -MP -c -o $@ $<
$(O)/fuzz/tests/%.o: tests/%.c
	$(call quiet,CLANG,$<)mkdir -p $(@D) && $(CLANG) $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<
$(O)/fuzz/%_fuzz: $(O)/fuzz/tests/fuzz/%_fuzz.o $(FUZZ_COMMON) $(MODULE:%.c=$(O)/fuzz/%.o)
	$(call quiet,LD,$@)$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer -o $@ $^ -lnettle

.PHONY: fuzz soak fuzz-merge
fuzz: $(FUZZ_TARGETS)
	@sh tests/fuzz/run.sh short $(O)/fuzz $(FUZZ_SECONDS)
soak: $(FUZZ_TARGETS)
	@sh tests/fuzz/run.sh soak $(O)/fuzz $(RUNS) $(SYS_RUNS)
fuzz-merge: $(FUZZ_TARGETS)
	@sh tests/fuzz/run.sh merge $(O)/fuzz
