#!/usr/bin/env bash
# Semantic segmentation on real garments: composes scenes, trains UPerNet on Spatial-Mamba `micro`, evaluates it, draws
# what it sees in held-out scenes. Starts from the classifier of scripts/demo.sh where that has run (or from the weights
# given as the second argument). Leaves everything in out/demo-segmentation/ (or the folder given as the first argument).
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-out/demo-segmentation}"
classifier="${2:-out/demo/best.safetensors}"
program=build/release/spatialmamba

if [ ! -x "$program" ]; then
  ./setup
  cmake --preset release --log-level=WARNING
  cmake --build --preset release --target spatialmamba
fi

say() { printf '\n== %s\n' "$*"; }

say "Composing 8,000 training and 300 validation scenes"
"$program" dataset fashion-scenes --out "$out/scenes" --train 8000 --val 300 --size 64 --seed 0

start=()
if [ -f "$classifier" ]; then start=(--finetune "$classifier"); fi
say "Training (with one thread: pictures so small are not worth sharing)"
"$program" train --config configs/fashion_scenes_segmentation.yaml --data "$out/scenes" --out "$out/run" --threads 1 --force \
  "${start[@]}"

weights="$out/run/best.safetensors"
say "Evaluating on the validation scenes, whose garments the training never saw"
"$program" eval --weights "$weights" --data "$out/scenes" --out "$out/report"

say "Drawing what it sees in nine of them"
"$program" predict --weights "$weights" --out "$out/predictions" "$out"/scenes/images/val/00000*.png

say "Done. Look at:"
ls "$out/report" "$out/predictions" "$out/run"
