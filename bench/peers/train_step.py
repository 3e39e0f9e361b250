#!/usr/bin/env python3
"""A training step (forward + backward + clip + AdamW) of Spatial-Mamba: PyTorch eager in four modes against our own
program, taking turns in one run. Prints one table: minimum and median of each candidate, ratios of the minima to the faster
of PyTorch's two fp32 layouts, peak memory.

    python3 -m venv peers && peers/bin/pip install -r bench/peers/requirements.txt
    peers/bin/python bench/peers/train_step.py --ours build/release/bench/bench_train_step

Every candidate is its own process, and only one computes at a time (A B C ... A B C ...). Weights and inputs are random:
this measures speed and memory; that both compute the same function is what the golden tests are for.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

MODES = {"fp32": (False, False), "fp32-cl": (False, True), "amp": (True, False), "amp-cl": (True, True)}


def serve_torch(mode, variant, batch, size, threads):
    """The child process: answers each line `run` with the seconds of one step."""
    import torch

    from model import VARIANTS, SpatialMamba

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    amp, channels_last = MODES[mode]
    dims, depths = VARIANTS[variant]
    model = SpatialMamba(dims, depths).train()
    images, labels = torch.randn(batch, 3, size, size), torch.randint(0, 1000, (batch,))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() != "run":
            break
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)
    print(json.dumps({"peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)


class Candidate:
    def __init__(self, name, command):
        self.name, self.seconds = name, []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline().startswith("ready"):
            sys.exit(f"{name}: did not start")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def run(self):
        return float(self.ask("run"))

    def finish(self):
        return json.loads(self.ask("end"))["peak_rss_mb"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", help="our train_step program")
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=list(MODES))
    parser.add_argument("--serve", choices=list(MODES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve_torch(args.serve, args.variant, args.batch, args.size, args.threads)

    shape = ["--variant", args.variant, "--batch", str(args.batch), "--size", str(args.size), "--threads", str(args.threads)]
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    candidates = [Candidate(f"pytorch {m}", [sys.executable, __file__, "--serve", m, *shape]) for m in args.modes]
    if args.ours:
        for precision in ("fp32", "bf16"):
            candidates.append(Candidate(f"ours {precision}", [args.ours, "--interactive", "--precision", precision, *shape]))
    for round_number in range(args.rounds + 1):
        for candidate in candidates:
            seconds = candidate.run()
            if round_number > 0:  # the first round warms up
                candidate.seconds.append(seconds)
    fastest = min((min(c.seconds) for c in candidates if c.name.startswith("pytorch fp32")), default=float("nan"))
    print(f"{args.variant}, batch {args.batch}, {args.size} x {args.size}, {args.threads} threads, {args.rounds} rounds")
    print("| candidate | min s | median s | x faster than the best fp32 peer | peak RSS MB |\n|---|---|---|---|---|")
    for c in candidates:
        best = min(c.seconds)
        print(f"| {c.name} | {best:.3f} | {statistics.median(c.seconds):.3f} | {fastest / best:.2f} | {c.finish():.0f} |")


if __name__ == "__main__":
    main()
