#!/usr/bin/env python3
"""NMS, RoIAlign and its backward pass, and mask pasting: torchvision's CPU operators (for pasting PyTorch's grid_sample, as
mmdetection uses it) against our kernels, on the same arrays: those of an 800 x 1280 picture. The results are compared first;
then both take turns, and the best run of each counts.

    peers/bin/python bench/peers/detection_ops.py --ours build/release/bench/bench_detection_ops
"""
import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import torch
import torchvision
from safetensors.numpy import load_file, save_file

from mask_rcnn import pasted
from turns import wait_for_quiet

HEIGHT, WIDTH, CHANNELS, BOXES, ROIS, MASKS = 800, 1280, 256, 4000, 1000, 100
ROUNDS, REPEATS = 5, 3
AGREEMENT = 1e-5  # greatest difference over greatest value


def random_boxes(random, count, smallest, largest):
    sides = random.uniform(smallest, largest, (count, 2))
    corner = random.uniform(0, 1, (count, 2)) * (np.array([WIDTH, HEIGHT]) - sides)
    return np.concatenate([corner, corner + sides], 1).astype(np.float32)


def arrays():
    random = np.random.default_rng(0)
    rois = np.concatenate([np.zeros((ROIS, 1), np.float32), random_boxes(random, ROIS, 16, 112)], 1)
    return {
        "boxes": random_boxes(random, BOXES, 16, 300),
        "scores": random.uniform(size=BOXES).astype(np.float32),
        "map": random.normal(size=(1, HEIGHT // 4, WIDTH // 4, CHANNELS)).astype(np.float32),
        "rois": rois.astype(np.float32),
        "masks": random.uniform(size=(MASKS, 28, 28)).astype(np.float32),
        "mask_boxes": random_boxes(random, MASKS, 30, 500),
        "picture": np.array([HEIGHT, WIDTH], np.int64),
    }


def best(run):
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times)


def torchvision_runs(data):
    """Name -> what is measured."""
    t = {name: torch.from_numpy(value) for name, value in data.items()}
    planes = t["map"].permute(0, 3, 1, 2).contiguous().requires_grad_()
    pool = lambda: torchvision.ops.roi_align(planes, t["rois"], 7, 0.25, -1, True)
    pooled = pool()
    return {
        "nms": lambda: torchvision.ops.nms(t["boxes"], t["scores"], 0.7),
        "roi_align": torch.no_grad()(pool),
        "roi_align_backward": lambda: torch.autograd.grad(pooled, planes, pooled.detach(), retain_graph=True)[0],
        "mask_paste": torch.no_grad()(lambda: pasted(t["masks"], t["mask_boxes"], (HEIGHT, WIDTH))),
    }


def check_agreement(runs, ours):
    if runs["nms"]().tolist() != ours["nms"].tolist():
        raise SystemExit("nms: other boxes are kept")
    for name in ("roi_align", "roi_align_backward"):
        expected = runs[name]().permute(0, 2, 3, 1).numpy()
        deviation = np.abs(ours[name] - expected).max() / np.abs(expected).max()
        if not deviation <= AGREEMENT:
            raise SystemExit(f"{name}: differs by {deviation:.1e} of the greatest value")
    areas = runs["mask_paste"]().sum((1, 2)).numpy()
    if not np.abs(areas - ours["mask_paste"]).max() <= 2:  # pixels that are a half but for rounding
        raise SystemExit("mask_paste: the masks differ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="our bench_detection_ops program")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = arrays()
    runs = torchvision_runs(data)
    theirs, ours = {name: [] for name in runs}, {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(pathlib.Path(folder) / name) for name in ("input.safetensors", "output.safetensors")]
        save_file(data, paths[0])
        command = [options.ours, *paths, str(options.threads), str(REPEATS)]
        for index in range(ROUNDS):
            wait_for_quiet(1.0)
            answer = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            if index == 0:
                check_agreement(runs, load_file(paths[1]))
            for name, run in runs.items():
                ours[name].append(answer[name])
                theirs[name].append(best(run))
    print(f"{'':20} {'torchvision':>12} {'ours':>12} {'faster':>8}")
    for name in runs:
        print(f"{name:20} {min(theirs[name]):9.2f} ms {min(ours[name]):9.2f} ms {min(theirs[name]) / min(ours[name]):7.1f}x")


if __name__ == "__main__":
    main()
