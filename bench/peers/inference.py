#!/usr/bin/env python3
"""Inference of Spatial-Mamba on a CPU: our program against PyTorch, ONNX Runtime and OpenVINO, taking turns in one run. The
classifier (also against ConvNeXt-T in OpenVINO), UPerNet from an image to the label of each pixel, and Mask R-CNN from an image
to boxes, classes and masks.

    python3 -m venv peers && peers/bin/pip install -r bench/peers/requirements.txt
    peers/bin/python bench/peers/inference.py --ours build/inference/spatialmamba
    peers/bin/python bench/peers/inference.py --ours build/inference/spatialmamba --shape 16x3x224x224 --json batch16.json
    peers/bin/python bench/peers/inference.py --ours build/inference/spatialmamba --task segmentation --shape 1x3x512x2048
    peers/bin/python bench/peers/inference.py --ours build/inference/spatialmamba --task detection --shape 1x3x800x1280

All candidates run the same weights (random, written once) on the same input. Each is a process of its own; they are alive
together and take turns in bursts (A B C ... A B C ...), so that a slow spell of the machine meets all of them. Answers are
first compared with those of PyTorch's float32 reference layout. Prints a table of minima and medians of wall time, the least
processor time of a burst (with one thread the better measure on a busy machine), the agreement, the time from process start
to the first result, and the peak memory. C++ operators and ONNX exports are made on first use.
"""
import argparse
import fnmatch
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import agreement
from candidates import RECIPES
from files import files_of
from turns import Candidate, take_turns

HERE = pathlib.Path(__file__).parent
OURS = "ours"
CLASSIFIER = [
    "torch-cl-onednn-fp32",
    "torch-cl-onednn-bf16",
    "torch-cl-onednn-compile-*",
    "torch-cl-sasf-compile-bf16",
    "onnxruntime-fp32",
    "openvino-fp32",
    "openvino-bf16",
    "convnext-*",
]
TUNED = ["torch-reference-*", "torch-cl-onednn-fp32", "torch-cl-onednn-bf16"]
DEFAULT = {
    "classification": CLASSIFIER,
    "segmentation": [*TUNED, "onnxruntime-fp32", "openvino-fp32", "openvino-bf16"],
    "detection": TUNED,
}
SHAPE = {"classification": [1, 3, 224, 224], "segmentation": [1, 3, 512, 512], "detection": [1, 3, 800, 1280]}

# Freed memory stays with the process and large pages are used, as one tunes a PyTorch server.
MALLOC = (
    "glibc.malloc.mmap_threshold=4294967296",
    "glibc.malloc.trim_threshold=8589934592",
    "glibc.malloc.hugetlb=1",
)


def shape_of(text: str) -> list[int]:
    shape = [int(n) for n in text.split("x")]
    if len(shape) != 4 or shape[1] != 3 or min(shape) < 1:
        raise argparse.ArgumentTypeError("a shape is like 1x3x224x224")
    return shape


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=pathlib.Path, metavar="PROGRAM", help="our spatialmamba program")
    parser.add_argument("--ours-precisions", nargs="*", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--task", default="classification", choices=agreement.ANSWERS)
    parser.add_argument("--candidates", nargs="*", metavar="PATTERN", help="names, * allowed (see --list)")
    parser.add_argument("--list", action="store_true", help="list the candidates and stop")
    parser.add_argument("--variant", default="tiny", choices=["tiny", "small", "base"])
    parser.add_argument("--shape", type=shape_of, metavar="NxCxHxW", help="default: 1x3x224x224, 1x3x512x512, 1x3x800x1280")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60, help="length of the measurement (default 60)")
    parser.add_argument("--burst", type=float, default=0.5, help="seconds that a candidate computes at a time (default 0.5)")
    parser.add_argument("--folder", type=pathlib.Path, default=HERE.parents[1] / "build" / "peers", help="for files made on the way")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="also write the figures here")
    return parser.parse_args()


def chosen(task: str, patterns: Sequence[str]) -> list[str]:
    possible = [name for name, recipe in RECIPES.items() if recipe.takes_part(task)]
    names = [name for name in possible if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise SystemExit(f"no candidate for {task} is called {pattern}; --list names them")
    return names


def environment(folder: pathlib.Path, threads: int) -> dict[str, str]:
    """Everything that is built stays in the folder."""
    return {
        **os.environ,
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": str(threads),
        "TORCH_EXTENSIONS_DIR": str(folder / "extensions"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "GLIBC_TUNABLES": ":".join(MALLOC),
    }


def size_arguments(args: argparse.Namespace) -> list[str]:
    return ["--folder", str(args.folder), "--task", args.task, "--variant", args.variant, "--shape", *map(str, args.shape)]


def check_agreement(candidate: Candidate, answer: pathlib.Path, oracle: pathlib.Path, task: str) -> None:
    precision = "fp32" if candidate.name.endswith("fp32") else "bf16"
    found, limit = agreement.read(answer), agreement.LIMITS[task][precision]
    candidate.ready["deviation"] = agreement.deviation(task, found, dict(np.load(oracle)), precision)
    candidate.ready["work"] = agreement.work(task, found)
    if not candidate.ready["deviation"] <= limit:
        deviation, meaning = candidate.ready["deviation"], agreement.MEANING[task]
        raise SystemExit(f"{candidate.name}: {deviation:.1e} is the {meaning}; at most {limit:.0e} is expected")


def start_peer(name: str, args: argparse.Namespace, env: dict[str, str]) -> Candidate:
    answer = args.folder / f"answer-{name}.npz"
    command = [sys.executable, str(HERE / "serve.py"), name, *size_arguments(args), "--threads", str(args.threads)]
    candidate = Candidate(name, [*command, "--answer", str(answer)], env=env)
    files = files_of(RECIPES[name], args.folder, args.task, args.variant, args.shape)
    check_agreement(candidate, answer, files.oracle, args.task)
    return candidate


def start_ours(precision: str, args: argparse.Namespace) -> Candidate:
    files = files_of(RECIPES["torch-reference-fp32"], args.folder, args.task, args.variant, args.shape)
    answer = args.folder / f"answer-{OURS}-{precision}.safetensors"
    command = [str(args.ours), "bench", "--interactive", "--end-to-end", "--answer", str(answer), "--variant", args.variant]
    model = ["--weights", str(files.weights), "--input", str(files.input), "--precision", precision, "--threads", str(args.threads)]
    candidate = Candidate(f"{OURS}-{precision}", [*command, *model])
    check_agreement(candidate, answer, files.oracle, args.task)
    return candidate


def figures(candidate: Candidate, batch: int) -> dict[str, Any]:
    return {
        "candidate": candidate.name,
        "min_ms": candidate.best * 1e3,
        "median_ms": candidate.median * 1e3,
        "processor_ms": min(candidate.processor) * 1e3,
        "images_per_s": batch / candidate.best,
        "runs": len(candidate.seconds),
        "start_s": candidate.start_s,
        "peak_rss_mb": candidate.peak_rss_mb,
        **candidate.ready,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| candidate | min, ms | median, ms | processor, ms | images/s | deviation | start to first result, s | peak memory, MB | runs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['candidate']} | {r['min_ms']:.1f} | {r['median_ms']:.1f} | {r['processor_ms']:.1f} "
            f"| {r['images_per_s']:.1f} | {r['deviation']:.0e} | {r['start_s']:.2f} | {r['peak_rss_mb']:.0f} | {r['runs']} |"
        )
    return "\n".join(lines)


def ratios(rows: Sequence[dict[str, Any]]) -> list[str]:
    """How much faster ours is than the fastest peer of the same precision."""
    lines = []
    for precision, alike in {"fp32": ("fp32",), "bf16": ("bf16", "amp")}.items():
        ours = [r for r in rows if r["candidate"] == f"{OURS}-{precision}"]
        same_model = [r for r in rows if not r["candidate"].startswith((OURS, "convnext"))]
        peers = [r for r in same_model if r["candidate"].endswith(alike)]
        if not ours or not peers:
            continue
        for key, measure in {"min_ms": "wall time", "processor_ms": "processor time"}.items():
            best = min(peers, key=lambda r: r[key])
            lines.append(f"{precision}, {measure}: {best[key] / ours[0][key]:.2f} x the fastest peer, {best['candidate']}")
    return lines


def processor() -> str:
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    args = parse_arguments()
    if args.list:
        for name, recipe in RECIPES.items():
            if recipe.takes_part(args.task):
                print(f"{name:40} {recipe.about}")
        return
    args.shape = args.shape or SHAPE[args.task]
    args.folder = args.folder.resolve()
    args.folder.mkdir(parents=True, exist_ok=True)
    names, env = chosen(args.task, args.candidates or DEFAULT[args.task]), environment(args.folder, args.threads)
    subprocess.run([sys.executable, str(HERE / "prepare.py"), *names, *size_arguments(args)], check=True, env=env, stdout=sys.stderr)

    candidates = [start_peer(name, args, env) for name in names]
    if args.ours:
        candidates += [start_ours(precision, args) for precision in args.ours_precisions]
    take_turns(candidates, args.burst, args.seconds)
    for candidate in candidates:
        candidate.finish()

    rows = [figures(candidate, args.shape[0]) for candidate in candidates]
    shape = "x".join(map(str, args.shape))
    print(f"{args.task}, {args.variant}, {shape}, {args.threads} thread(s), {processor()}\n\n{table(rows)}\n")
    print(f"deviation: {agreement.MEANING[args.task]}")
    for row in rows:
        if row["work"]:
            print(f"{row['candidate']}: {row['work']}")
    print("\n".join(ratios(rows)))
    if args.json:
        about = {"task": args.task, "variant": args.variant, "shape": args.shape, "threads": args.threads, "processor": processor()}
        args.json.write_text(json.dumps({**about, "candidates": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
