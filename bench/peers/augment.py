#!/usr/bin/env python3
"""The paper's training transform (random resized crop, flip, RandAugment, normalisation, random erasing) from 500 x 375 JPEG
to a 224 x 224 tensor: timm 0.4.12 over torchvision and Pillow against our own bench_data_loader, taking turns in one run on
one core. Prints pictures per second of processor time, the best of the rounds, with and without decoding.

    python3 -m venv peers && peers/bin/pip install -r bench/peers/requirements-augment.txt
    peers/bin/python bench/peers/augment.py --images tests/golden/classification/data/images \\
      --ours build/release/bench/bench_data_loader

Both draw their own random numbers, so each round averages over several hundred pictures.
"""
import argparse
import io
import json
import pathlib
import random
import subprocess
import tempfile
import time

import numpy
import torch
from PIL import Image
from timm.data import create_transform

SIZE = (500, 375)
OURS = {"whole chain": "decode_and_augment", "without decoding": "augment_only"}


def make_photographs(images, folder):
    """JPEGs as cameras write them: quality 90, 4:2:0."""
    for number, path in enumerate(sorted(p for p in pathlib.Path(images).iterdir() if p.suffix in (".jpg", ".png"))):
        Image.open(path).convert("RGB").resize(SIZE, Image.BICUBIC).save(
            folder / f"{number}.jpg", quality=90, subsampling="4:2:0")


def rate(work, count):
    start = time.process_time()
    work()
    return count / (time.process_time() - start)


class Peer:
    def __init__(self, folder, repeats):
        self.files = [p.read_bytes() for p in sorted(folder.iterdir())] * repeats
        self.pictures = [self.decode(file) for file in self.files[: len(self.files) // repeats]] * repeats
        self.transform = create_transform(
            224, is_training=True, color_jitter=0.4, auto_augment="rand-m9-mstd0.5-inc1", re_prob=0.25, re_mode="pixel",
            re_count=1, interpolation="bicubic")

    @staticmethod
    def decode(file):
        return Image.open(io.BytesIO(file)).convert("RGB")

    def run(self):
        return {
            "whole chain": rate(lambda: [self.transform(self.decode(f)) for f in self.files], len(self.files)),
            "without decoding": rate(lambda: [self.transform(p) for p in self.pictures], len(self.pictures)),
        }


def run_ours(program, folder):
    command = [program, f"--photographs={folder}", "--benchmark_format=json",
               f"--benchmark_filter=^({'|'.join(OURS.values())})$"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rates = {b["name"]: b["items_per_second"] for b in report["benchmarks"]}
    return {what: rates[name] for what, name in OURS.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="our bench_data_loader program")
    parser.add_argument("--images", required=True, help="folder of photographs to make the JPEGs from")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=30, help="times that the peer goes through the photographs in a round")
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)
    rounds = {"timm + torchvision": [], "ours": []}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_photographs(args.images, folder)
        peer = Peer(folder, args.repeats)
        for _ in range(args.rounds):
            rounds["timm + torchvision"].append(peer.run())
            rounds["ours"].append(run_ours(args.ours, folder))
    print("| pictures/s per core | " + " | ".join(rounds) + " | ratio |\n|---|---|---|---|")
    for what in OURS:
        theirs, ours = (max(r[what] for r in rounds[name]) for name in rounds)
        print(f"| {what} | {theirs:.0f} | {ours:.0f} | {ours / theirs:.2f} |")


if __name__ == "__main__":
    main()
