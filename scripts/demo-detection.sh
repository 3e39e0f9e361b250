#!/usr/bin/env bash
# Object detection on real garments: composes scenes, trains Mask R-CNN on a small Spatial-Mamba, evaluates it, draws what it
# finds in held-out scenes. Starts from the classifier of scripts/demo.sh where that has run. Leaves everything in
# out/demo-detection/ (or the folder given as the first argument).
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-out/demo-detection}"
classifier="${2:-out/demo/best.safetensors}"
program=build/release/spatialmamba

if [ ! -x "$program" ]; then
  ./setup
  cmake --preset release --log-level=WARNING
  cmake --build --preset release --target spatialmamba
fi

say() { printf '\n== %s\n' "$*"; }

say "Composing 8,000 training and 200 validation scenes"
"$program" dataset fashion-scenes --out "$out/scenes" --train 8000 --val 200 --size 96 --seed 0

start=()
if [ -f "$classifier" ]; then start=(--finetune "$classifier"); fi
say "Training (with one thread: pictures so small are not worth sharing)"
"$program" train --config configs/fashion_scenes_detection.yaml --data "$out/scenes" --out "$out/run" --threads 1 --force \
  "${start[@]}"

weights="$out/run/best_ema.safetensors"
say "Evaluating on the validation scenes, whose garments the training never saw"
"$program" eval --weights "$weights" --data "$out/scenes" --out "$out/report"

say "Drawing what it finds in twelve of them"
"$program" predict --weights "$weights" --score 0.5 --out "$out/predictions" "$out"/scenes/images/val/00000*.png

say "Done. Look at:"
ls "$out/report" "$out/predictions" "$out/run"
