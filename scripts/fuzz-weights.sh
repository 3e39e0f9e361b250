#!/usr/bin/env bash
# The weight readers against damaged files under the address and undefined-behaviour sanitizers: every prefix of the
# small checkpoints, and COUNT prefixes, damaged copies and damaged pickles of every golden weights file.
#
#   scripts/fuzz-weights.sh [COUNT]        default 10000; $SPATIALMAMBA_GOLDEN names another golden set
set -euo pipefail
cd "$(dirname "$0")/.."

count=${1:-10000}
build=build/fuzz-weights
shards=$(nproc)

cmake --preset asan -B "$build" -DSPATIALMAMBA_TRAINING=OFF -DSPATIALMAMBA_SANITIZE=address,undefined >/dev/null
cmake --build "$build" --target test_weights

# A tensor of absurd size must be refused, not attempted: no allocation beyond 2 GB.
export ASAN_OPTIONS="max_allocation_size_mb=2048:allocator_may_return_null=0:detect_leaks=1"
export SPATIALMAMBA_ATTACKS=$count
export GTEST_TOTAL_SHARDS=$shards
pids=()
for ((shard = 0; shard < shards; ++shard)); do
  GTEST_SHARD_INDEX=$shard "$build/tests/weights/test_weights" --gtest_filter='Attacks.*' &
  pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do
  wait "$pid" || failed=1
done
[ "$failed" -eq 0 ] && echo "no crash, no sanitizer report: every file was read or refused with one clean error"
exit "$failed"
