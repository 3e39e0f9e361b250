#!/usr/bin/env bash
# Object detection on real garments: composes scenes, trains Mask R-CNN on a small Spatial-Mamba, evaluates it, draws what it
# finds in held-out scenes. Starts from the classifier of scripts/demo.sh where that has run (or from the weights given as the
# second argument). Leaves everything in out/demo-detection/ (or the folder given as the first argument).
out="${1:-out/demo-detection}"
classifier="${2:-out/demo/best.safetensors}"
source "$(dirname "$0")/demo-common.sh"

build
say "Composing 8,000 training and 200 validation scenes"
"$program" dataset fashion-scenes --out "$out/scenes" --train 8000 --val 200 --size 96 --seed 0
say "Training"
train configs/fashion_scenes_detection.yaml
report "$out/run/best_ema.safetensors" "00000*" --score 0.5
