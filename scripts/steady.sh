#!/bin/sh
# What a run of days would show: 10,000 updates of a nano model, and whether memory and step time stay flat.
#
#   scripts/steady.sh OUT [KEY=VALUE ...]        $DATA, $PROGRAM say otherwise than below
#
# Prints peak memory and seconds per update over the updates, and fails where memory grows by more than 2 % after the first tenth.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { echo "usage: scripts/steady.sh OUT [KEY=VALUE ...]" >&2; exit 2; }
out=$1
shift
program=${PROGRAM:-build/release/spatialmamba}
data=${DATA:-/usr/share/datasets/fashion-mnist}
mkdir -p "$out"
cat >"$out/nano.yaml" <<'EOF'
model: {variant: custom, dims: [8, 16], depths: [1, 1], drop_path: 0.1}
data: {size: 28, channels: 1, mean: [0.5], std: [0.5], workers: 1}
augment: {crop: padded, padding: 2}
train: {epochs: 1, batch: 6, mesa: 1.0, mesa_start: 0}
optimizer: {rate: 1e-3, rate_batch: 0, warmup_rate: 1e-5, minimum_rate: 1e-5, warmup_epochs: 0}
output: {log_every: 100}
EOF
"$program" train --config "$out/nano.yaml" --data "$data" --out "$out/run" --force --threads 1 "$@" >/dev/null
python3 - "$out/run/log.jsonl" <<'EOF'
import json, sys

batch = 6
lines = [json.loads(line) for line in open(sys.argv[1])]
points = [(0, 0.0, None)]
for line in (l for l in lines if l["kind"] == "update"):
    points.append((line["update"], line["update"] * batch / line["images_per_second"], line["peak_memory_mib"]))
last = points[-1][0]
print("| updates | seconds per update | peak memory, MiB |\n|---|---|---|")
for tenth in range(10):
    part = [p for p in points if tenth * last / 10 <= p[0] <= (tenth + 1) * last / 10]
    seconds = (part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0])
    print(f"| {part[0][0]} to {part[-1][0]} | {seconds:.5f} | {part[-1][2]:.1f} |")
early, late = [p[2] for p in points if p[0] == last // 10][0], points[-1][2]
sys.exit(f"memory grew from {early:.1f} to {late:.1f} MiB" if late > 1.02 * early else 0)
EOF
