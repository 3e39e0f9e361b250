#!/bin/sh
# The paper's claim, that fusing the states adds accuracy at one scan, repeated on Fashion-MNIST: trains every ablation with
# every seed and prints the table of docs/reproduction.md.
#
#   scripts/ablations.sh OUT [KEY=VALUE ...]
#
# $EPOCHS is the budget of each run (10; the schedule is stretched over it) and $THREADS what it computes with (all cores); with
# one thread the figures are the same to the bit on every machine of a kind. $SEEDS (0 1 2), $FUSIONS (all five), $DATA and
# $PROGRAM say otherwise than below. Keys of the recipe hold for all runs.
#
# A run that OUT already holds is not repeated; one that was stopped continues. Seeds take turns, so that what is there of an
# unfinished table compares like with like.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { echo "usage: [EPOCHS=N] [THREADS=N] scripts/ablations.sh OUT [KEY=VALUE ...]" >&2; exit 2; }
out=$1
shift
program=${PROGRAM:-build/release/spatialmamba}
data=${DATA:-/usr/share/datasets/fashion-mnist}
fusions=${FUSIONS:-off dilation_1 dilation_1_3 full shared}
seeds=${SEEDS:-0 1 2}
threads=${THREADS:+--threads $THREADS}
for seed in $seeds; do
  for fusion in $fusions; do
    run="$out/$fusion-$seed"
    [ -e "$run/summary.json" ] && continue
    "$program" train --config configs/fashion_mnist.yaml --data "$data" --out "$run" --resume $threads \
      train.epochs="${EPOCHS:-10}" model.fusion="$fusion" train.seed="$seed" "$@" >/dev/null
  done
done
python3 - "$out" $fusions <<'EOF'
import json, pathlib, statistics, sys

print("| fusion | runs | top-1, % | EMA top-1, % |\n|---|---|---|---|")
for fusion in sys.argv[2:]:
    runs = [json.loads(p.read_text()) for p in sorted(pathlib.Path(sys.argv[1]).glob(f"{fusion}-*/summary.json"))]
    cells = []
    for key in ("best_top1", "best_ema_top1"):
        values = [100 * r[key] for r in runs]
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.2f}{spread}" if values else "-")
    print(f"| {fusion} | {len(runs)} | {cells[0]} | {cells[1]} |")
EOF
