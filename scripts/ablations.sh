#!/bin/sh
# The paper's claim, that fusing the states adds accuracy at one scan, repeated on Fashion-MNIST: trains every ablation with
# every seed and prints the table of docs/reproduction.md.
#
#   scripts/ablations.sh OUT [KEY=VALUE ...]     e.g. train.epochs=3; $SEEDS, $FUSIONS and $DATA say otherwise than below
#
# A run that OUT already holds is not repeated; one that was stopped continues.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { echo "usage: scripts/ablations.sh OUT [KEY=VALUE ...]" >&2; exit 2; }
out=$1
shift
program=${PROGRAM:-build/release/spatialmamba}
data=${DATA:-/usr/share/datasets/fashion-mnist}
fusions=${FUSIONS:-off dilation_1 dilation_1_3 full shared}
seeds=${SEEDS:-0 1 2}
for fusion in $fusions; do
  for seed in $seeds; do
    run="$out/$fusion-$seed"
    [ -e "$run/summary.json" ] && continue
    "$program" train --config configs/fashion_mnist.yaml --data "$data" --out "$run" --resume \
      model.fusion="$fusion" train.seed="$seed" "$@" >/dev/null
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
