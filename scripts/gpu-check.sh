#!/usr/bin/env bash
# What a machine with an NVIDIA GPU can tell: builds the preset `cuda`, runs every test that takes the devices it finds, trains
# Fashion-MNIST a little on the CPU, on one GPU in each precision and, where there are two, on two over NCCL, and compares.
#
#   scripts/gpu-check.sh OUT      $DATA says otherwise than below; ./setup --cuda is run first
#
# Fails when a test fails, a training does not end, or its top-1 is more than three points below the CPU's.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -eq 1 ] || { echo "usage: scripts/gpu-check.sh OUT" >&2; exit 2; }
out="$1"
data="${DATA:-/usr/share/datasets/fashion-mnist}"
program=build/cuda/spatialmamba

command -v nvidia-smi >/dev/null || { echo "gpu-check: no nvidia-smi here, so no GPU to check" >&2; exit 1; }
nvidia-smi -L
gpus="$(nvidia-smi -L | grep -c '^GPU ')"
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then gpus="$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | wc -l)"; fi
./setup --cuda
cmake --preset cuda --log-level=WARNING
cmake --build --preset cuda
ctest --preset cuda -R '^(nn_composed|nn_layers|nn_model|train_trace|train_parts|train_composed|train_run)$'

runs=()
train() { # NAME LAUNCHER... -- KEY=VALUE...
  local name="$1" launcher=()
  runs+=("$name")
  shift
  while [ "$1" != -- ]; do launcher+=("$1"); shift; done
  shift
  "$program" "${launcher[@]}" train --config configs/fashion_mnist.yaml --data "$data" --out "$out/$name" --force --seed 1 \
    train.epochs=2 optimizer.warmup_epochs=0.5 train.replicas=2 train.batch=64 "$@"
}
train cpu -- train.device=cpu
train gpu -- train.device=cuda
train gpu_bf16 -- train.device=cuda train.precision=bf16
train gpu_fp16 -- train.device=cuda train.precision=fp16
if [ "$gpus" -ge 2 ]; then train two_gpus launch -n 2 -- train.device=cuda; fi

python3 - "$out" "${runs[@]}" <<'EOF'
import json, pathlib, sys

rows = {name: json.loads((pathlib.Path(sys.argv[1]) / name / "summary.json").read_text()) for name in sys.argv[2:]}
print(f"{'run':10} {'top-1':>8} {'seconds':>8} {'GPU MiB':>8}")
for name, row in rows.items():
    print(f"{name:10} {100 * row['top1']:7.2f}% {row['train_seconds']:8.1f} {row.get('peak_device_memory_mib', 0):8.0f}")
low = [name for name, row in rows.items() if row["top1"] < rows["cpu"]["top1"] - 0.03]
sys.exit(f"far below the CPU's: {', '.join(low)}" if low else 0)
EOF
