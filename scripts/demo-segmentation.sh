#!/usr/bin/env bash
# Semantic segmentation on real garments: composes scenes, trains UPerNet on Spatial-Mamba `micro`, evaluates it, draws
# what it sees in held-out scenes. Starts from the classifier of scripts/demo.sh where that has run (or from the weights
# given as the second argument). Leaves everything in out/demo-segmentation/ (or the folder given as the first argument).
out="${1:-out/demo-segmentation}"
classifier="${2:-out/demo/best.safetensors}"
source "$(dirname "$0")/demo-common.sh"

build
say "Composing 24,000 training and 300 validation scenes"
"$program" dataset fashion-scenes --out "$out/scenes" --train 24000 --val 300 --size 64 --seed 0
say "Training"
train configs/fashion_scenes_segmentation.yaml
report "$out/run/best_ema.safetensors" "00000*"
