#!/usr/bin/env bash
# Sets up, builds and runs all tests: the full build, then the torch-free one.
#   scripts/test.sh [CTEST OPTIONS]     e.g. scripts/test.sh -L kernels
set -euo pipefail
cd "$(dirname "$0")/.."

./setup
for preset in release inference; do
  cmake --preset "$preset" --log-level=WARNING
  cmake --build --preset "$preset"
done
# The torch-free build repeats only what it builds differently.
ctest --preset inference -L 'install|cli' "$@"
ctest --preset release "$@"
