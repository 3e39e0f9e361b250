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
import os
import sys

from turns import Candidate, serve

MODES = {"fp32": (False, False), "fp32-cl": (False, True), "amp": (True, False), "amp-cl": (True, True)}


def serve_torch(mode: str, variant: str, batch: int, size: int, threads: int) -> None:
    """The child process."""
    import torch

    from model import VARIANTS, SpatialMamba

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    amp, channels_last = MODES[mode]
    model = SpatialMamba(*VARIANTS[variant]).train()
    images, labels = torch.randn(batch, 3, size, size), torch.randint(0, 1000, (batch,))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    serve(step, {})


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", help="our train_step program")
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=list(MODES))
    parser.add_argument("--serve", choices=list(MODES), help=argparse.SUPPRESS)
    return parser.parse_args()


def start(args: argparse.Namespace) -> list[Candidate]:
    shape = ["--variant", args.variant, "--batch", str(args.batch), "--size", str(args.size), "--threads", str(args.threads)]
    env = {"OMP_NUM_THREADS": str(args.threads), **os.environ}
    commands = {f"pytorch {mode}": [sys.executable, __file__, "--serve", mode] for mode in args.modes}
    if args.ours:
        for precision in ("fp32", "bf16"):
            commands[f"ours {precision}"] = [args.ours, "--interactive", "--precision", precision]
    return [Candidate(name, [*command, *shape], env=env) for name, command in commands.items()]


def main() -> None:
    args = parse_arguments()
    if args.serve:
        return serve_torch(args.serve, args.variant, args.batch, args.size, args.threads)
    candidates = start(args)
    for candidate in candidates:
        candidate.run()  # warms up
    for _ in range(args.rounds):
        for candidate in candidates:
            candidate.measure(1)
    fastest = min((c.best for c in candidates if c.name.startswith("pytorch fp32")), default=float("nan"))
    print(f"{args.variant}, batch {args.batch}, {args.size} x {args.size}, {args.threads} threads, {args.rounds} rounds")
    print("| candidate | min s | median s | x faster than the best fp32 peer | peak RSS MB |\n|---|---|---|---|---|")
    for c in candidates:
        c.finish()
        print(f"| {c.name} | {c.best:.3f} | {c.median:.3f} | {fastest / c.best:.2f} | {c.peak_rss_mb:.0f} |")


if __name__ == "__main__":
    main()
