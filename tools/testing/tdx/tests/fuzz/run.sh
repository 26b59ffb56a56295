#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The ways to run the fuzz targets, for fuzz.mk. DIR has the programs.
#
#   run.sh short DIR SECONDS          corpus, and SECONDS of each target: KTAP
#   run.sh soak DIR RUNS SYS_RUNS     a long run
#   run.sh merge DIR                  corpus := minimum of the corpus and what runs have found
set -u
cd "$(dirname "$0")/../.." || exit 1

how=$1
dir=$2
corpus=tests/fuzz/corpus
number=0
failed=0

fuzz() # target option...
{
	target=$1
	shift
	mkdir -p "$dir/found/$target"
	"$dir/${target}_fuzz" -artifact_prefix="$dir/crash-$target-" -max_len=400 -use_cmp=0 \
		-entropic=0 "$@"
}

check() # name target option...
{
	name=fuzz.$2.$1
	log=$dir/$2-$1.log
	shift
	number=$((number + 1))
	if fuzz "$@" >"$log" 2>&1; then
		echo "# $(grep -a 'DONE' "$log" | tail -1)"
		echo "ok $number $name"
	else
		grep -aE '^fuzz: |^tdxm: |^# (in|out)|runtime error|ERROR|Test unit written' "$log" |
			sed 's/^/# /'
		echo "# all of it in $log"
		echo "not ok $number $name"
		failed=1
	fi
}

case $how in
short)
	echo "KTAP version 1"
	echo "1..4"
	for target in seamcall sys; do
		# Each input twice, and verified: an answer must not depend on what was before.
		export TDX_FUZZ_TWICE=1
		check corpus_ok "$target" -runs=0 "$corpus/$target"
		unset TDX_FUZZ_TWICE
		check short_run_ok "$target" "-max_total_time=$3" "$dir/found/$target" "$corpus/$target"
	done
	exit $failed
	;;
soak)
	fuzz seamcall "-runs=$3" -print_final_stats=1 "$dir/found/seamcall" "$corpus/seamcall" &&
		fuzz sys "-runs=$4" -print_final_stats=1 "$dir/found/sys" "$corpus/sys"
	;;
merge)
	for target in seamcall sys; do
		rm -rf "$dir/merged"
		mkdir -p "$dir/merged"
		# Long inputs first, for fewer files. Which edges and answers there are counts,
		# not how often: otherwise there are ten times as many.
		for size in 110 80 50 25 0; do
			rm -rf "$dir/merging"
			mkdir -p "$dir/merging"
			find "$corpus/$target" "$dir/found/$target" -type f -size "+${size}c" \
				-exec cp -t "$dir/merging" {} +
			fuzz "$target" -merge=1 -use_counters=0 "$dir/merged" "$dir/merging" || exit 1
		done
		rm -rf "${corpus:?}/$target"
		mv "$dir/merged" "$corpus/$target"
	done
	;;
esac
