#!/usr/bin/env bash
# What a machine with an NVIDIA GPU can tell: builds the preset `cuda`, runs every test that takes the devices it finds, trains
# Fashion-MNIST a little on the CPU, on one GPU in each precision and in two processes over NCCL, and compares. Where there is
# one GPU the two share it.
#
#   scripts/gpu-check.sh OUT      $DATA says otherwise than below; ./setup --cuda is run first
#   PROGRAM=... scripts/gpu-check.sh OUT      only trains, with a program that is built already
#
# Fails when a test fails, a training does not end, its top-1 is more than three points below the CPU's, or two processes do
# not reach every bit of what one does.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -eq 1 ] || { echo "usage: scripts/gpu-check.sh OUT" >&2; exit 2; }
out="$1"
data="${DATA:-/usr/share/datasets/fashion-mnist}"
program="${PROGRAM:-build/cuda/spatialmamba}"

command -v nvidia-smi >/dev/null || { echo "gpu-check: no nvidia-smi here, so no GPU to check" >&2; exit 1; }
nvidia-smi -L
gpus="$(nvidia-smi -L | grep -c '^GPU ')"
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then gpus="$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | wc -l)"; fi
if [ -z "${PROGRAM:-}" ]; then
  ./setup --cuda
  cmake --preset cuda --log-level=WARNING
  cmake --build --preset cuda
  ctest --preset cuda -R '^(nn_composed|nn_layers|nn_model|train_trace|train_parts|train_composed|train_run)$'
fi

runs=()
run() { # NAME KEY=VALUE...
  "$program" train --config configs/fashion_mnist.yaml --data "$data" --out "$out/$1" --force --seed 1 \
    train.epochs=2 optimizer.warmup_epochs=0.5 train.replicas=2 train.batch=64 "${@:2}"
}
train() { # NAME KEY=VALUE...
  runs+=("$1")
  run "$@"
}
# NCCL refuses a GPU that two processes of one machine take: it is told of two.
train_in_two() { # NAME KEY=VALUE...
  runs+=("$1")
  local rank pids=()
  export WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT="${MASTER_PORT:-29617}"
  if [ "$gpus" -eq 1 ]; then export NCCL_SOCKET_IFNAME=lo CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES:-0}"; fi
  for rank in 0 1; do
    if [ "$gpus" -eq 1 ]; then export NCCL_HOSTID="rank$rank"; fi
    RANK=$rank LOCAL_RANK=$rank run "$@" &
    pids+=($!)
  done
  local failed=0
  for rank in 0 1; do wait "${pids[$rank]}" || failed=1; done
  return "$failed"
}
train cpu train.device=cpu
train gpu train.device=cuda
train gpu_bf16 train.device=cuda train.precision=bf16
train gpu_fp16 train.device=cuda train.precision=fp16
train_in_two processes train.device=cuda

python3 - "$out" "${runs[@]}" <<'EOF'
import json, pathlib, sys

from scripts.checkpoint import tensors

rows = {name: json.loads((pathlib.Path(sys.argv[1]) / name / "summary.json").read_text()) for name in sys.argv[2:]}
print(f"{'run':10} {'top-1':>8} {'seconds':>8} {'GPU MiB':>8}")
for name, row in rows.items():
    print(f"{name:10} {100 * row['top1']:7.2f}% {row['train_seconds']:8.1f} {row.get('peak_device_memory_mib', 0):8.0f}")
low = [name for name, row in rows.items() if row["top1"] < rows["cpu"]["top1"] - 0.03]
if low:
    sys.exit(f"far below the CPU's: {', '.join(low)}")
one, two = (tensors(pathlib.Path(sys.argv[1]) / name) for name in ("gpu", "processes"))
if one != two:
    different = [name for name in one if one[name] != two.get(name)]
    sys.exit(f"two processes do not reach what one does: {len(different)} of {len(one)} tensors differ")
EOF
