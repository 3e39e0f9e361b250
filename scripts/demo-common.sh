# What the demos on scenes of garments have in common; they source it.
#   out         the folder for everything (first argument)
#   classifier  weights to start from (second argument), those of scripts/demo.sh unless given
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=build/release/spatialmamba

say() { printf '\n== %s\n' "$*"; }

build() {
  if [ ! -x "$program" ]; then
    ./setup
    cmake --preset release --log-level=WARNING
    cmake --build --preset release --target spatialmamba
  fi
}

# train RECIPE: two processes with one thread each, since pictures so small are not worth sharing between threads.
train() {
  local start=()
  if [ -f "$classifier" ]; then start=(--finetune "$classifier"); fi
  "$program" launch -n 2 train --config "$1" --data "$out/scenes" --out "$out/run" --threads 1 --force "${start[@]}"
}

# report WEIGHTS PICTURES OPTIONS...: evaluates, and draws held-out scenes.
report() {
  local weights="$1" pictures="$2"
  shift 2
  say "Evaluating on the validation scenes, whose garments the training never saw"
  "$program" eval --weights "$weights" --data "$out/scenes" --out "$out/report"
  say "Drawing what it finds in some of them"
  "$program" predict --weights "$weights" --out "$out/predictions" "$@" "$out"/scenes/images/val/$pictures.png
  say "Done. Look at:"
  ls "$out/report" "$out/predictions" "$out/run"
}
