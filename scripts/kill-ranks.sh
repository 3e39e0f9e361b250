#!/bin/sh
# Kills a random process of a training run at a random moment, again and again, and compares the run that was resumed each
# time with one that nobody disturbed: every byte of the weights, averages and moments.
#
#   scripts/kill-ranks.sh OUT [TIMES [PROCESSES]]     20 times, 2 processes; $DATA, $PROGRAM, $DEVICE (cuda:
#                                               a GPU for each process) say otherwise than below
#
# Fails when the others do not end within 20 s, when the dead rank is not named, or when a byte differs.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { echo "usage: scripts/kill-ranks.sh OUT [TIMES [PROCESSES]]" >&2; exit 2; }
exec python3 - "$1" "${2:-20}" "${3:-2}" "${PROGRAM:-build/release/spatialmamba}" \
  "${DATA:-/usr/share/datasets/fashion-mnist}" "${DEVICE:-cpu}" <<'EOF'
import os, pathlib, random, shutil, signal, subprocess, sys, time

from scripts.checkpoint import tensors, updates

out, times, processes, program, data, device = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]
out.mkdir(parents=True, exist_ok=True)
for folder in ("undisturbed", "killed"):
    shutil.rmtree(out / folder, ignore_errors=True)
recipe = out / "nano.yaml"
recipe.write_text("""
model: {variant: custom, dims: [8, 16], depths: [1, 1], drop_path: 0.1}
data: {size: 28, channels: 1, mean: [0.5], std: [0.5], workers: 1}
augment: {crop: padded, padding: 2}
train: {epochs: 1, batch: 32, mesa: 1.0, mesa_start: 0}
optimizer: {rate: 1e-3, rate_batch: 0, warmup_rate: 1e-5, minimum_rate: 1e-5, warmup_epochs: 0}
output: {log_every: 50, checkpoint_minutes: 0.005}
""")


def start(folder, error):
    return subprocess.Popen([program, "launch", "-n", str(processes), "train", "--config", recipe, "--data", data, "--out",
                             out / folder, "--threads", "1", "--resume", f"train.device={device}"],
                            stdout=subprocess.DEVNULL, stderr=error)


def ranks(launcher):
    """The processes in the order of their ranks, as soon as the launcher has started all."""
    children = pathlib.Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    while launcher.poll() is None:
        started = [int(process) for process in children.read_text().split()]
        if len(started) == processes:
            return started
        time.sleep(0.01)
    sys.exit(f"the run ended before it could be disturbed, with exit code {launcher.returncode}")


with open(out / "undisturbed.err", "w") as error:
    if start("undisturbed", error).wait() != 0:
        sys.exit(f"the undisturbed run failed: see {error.name}")
whole = updates(out / "undisturbed")
slowest = 0.0
for number in range(1, times + 1):
    with open(out / f"killed_{number}.err", "w") as error:
        launcher = start("killed", error)
        moment = random.uniform(number - 1, number) / times * 0.9 * whole
        while updates(out / "killed") < moment and launcher.poll() is None:
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.3))
        rank = random.randrange(processes)
        os.kill(ranks(launcher)[rank], signal.SIGKILL)
        began = time.monotonic()
        code = launcher.wait(timeout=20)
        seconds = time.monotonic() - began
    slowest = max(slowest, seconds)
    message = pathlib.Path(error.name).read_text()
    if code != 1 or f"rank {rank} was killed by signal 9" not in message:
        sys.exit(f"kill {number}: exit code {code}, message: {message}")
    print(f"kill {number}: rank {rank} after update {updates(out / 'killed')}, all ended after {seconds:.1f} s", flush=True)
with open(out / "last.err", "w") as error:
    if start("killed", error).wait() != 0:
        sys.exit(f"the last resume failed: see {error.name}")
first, second = tensors(out / "undisturbed"), tensors(out / "killed")
different = [name for name in first if first[name] != second.get(name)]
if different or first.keys() != second.keys():
    sys.exit(f"different after {times} kills: {different}")
print(f"{len(first)} tensors are equal byte for byte; the others ended within {slowest:.1f} s")
EOF
