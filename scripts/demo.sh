#!/usr/bin/env bash
# The whole way on real images: sets up, builds, trains Spatial-Mamba `micro` on Fashion-MNIST, evaluates it, names
# what is in pictures. Leaves everything in out/demo/ (or the folder given as the first argument).
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-out/demo}"
data=/usr/share/datasets/fashion-mnist

./setup
cmake --preset release --log-level=WARNING
cmake --build --preset release --target spatialmamba
program=build/release/spatialmamba

say() { printf '\n== %s\n' "$*"; }

say "Training on 60,000 real images (about 6 minutes on 2 cores)"
"$program" train --config configs/fashion_mnist.yaml --data "$data" --out "$out" --force

say "Evaluating on the 10,000 test images"
"$program" eval --weights "$out/best.safetensors" --data "$data" --out "$out"

say "States before and after fusion"
"$program" dataset images --data "$data" --split test --count 12 --out "$out/images"
first="$(ls "$out"/images/*.png | head -n 1)"
"$program" visualize states --weights "$out/best.safetensors" --image "$first" --out "$out/states.png"

say "Naming what is in twelve test images"
"$program" predict --weights "$out/best.safetensors" --out "$out/predictions" "$out/images"

say "The full-size network (tiny, 224 x 224) on a photograph, with untrained weights: the names mean nothing yet"
"$program" predict --variant tiny --untrained --out "$out/predictions" tests/golden/classification/data/images/chelsea_420.jpg

say "Done. Look at:"
ls "$out"
