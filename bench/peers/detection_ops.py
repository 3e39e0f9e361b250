#!/usr/bin/env python3
"""NMS, RoIAlign and mask pasting: torchvision's CPU operators against our kernels, on the same arrays (those of an 800 x
1280 picture), best of many runs each. Needs torchvision beside requirements.txt.

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
from safetensors.numpy import save_file
from torchvision.models.detection.roi_heads import paste_masks_in_image

HEIGHT, WIDTH, CHANNELS, BOXES, ROIS, MASKS, REPEATS = 800, 1280, 256, 4000, 1000, 100, 15


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


def torchvision_times(data):
    t = {name: torch.from_numpy(value) for name, value in data.items()}
    planes = t["map"].permute(0, 3, 1, 2).contiguous().requires_grad_()
    pool = lambda: torchvision.ops.roi_align(planes, t["rois"], 7, 0.25, -1, True)
    pooled = pool()
    gradient = torch.ones_like(pooled)
    kept = torchvision.ops.nms(t["boxes"], t["scores"], 0.7).numel()
    with torch.no_grad():
        times = {
            "nms": best(lambda: torchvision.ops.nms(t["boxes"], t["scores"], 0.7)),
            "roi_align": best(pool),
            "mask_paste": best(lambda: paste_masks_in_image(t["masks"][:, None], t["mask_boxes"], (HEIGHT, WIDTH))),
        }
    times["roi_align_backward"] = best(lambda: torch.autograd.grad(pooled, planes, gradient, retain_graph=True))
    return times, kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="our bench_detection_ops program")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = arrays()
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "input.safetensors")
        save_file(data, path)
        answer = subprocess.run([options.ours, path, str(options.threads)], capture_output=True, check=True, text=True)
    ours = json.loads(answer.stdout)
    theirs, kept = torchvision_times(data)
    if kept != ours["nms_kept"]:
        raise SystemExit(f"nms keeps {kept} boxes in torchvision, {ours['nms_kept']} in ours")
    print(f"{'':20} {'torchvision':>12} {'ours':>12} {'faster':>8}")
    for name, value in theirs.items():
        print(f"{name:20} {value:9.2f} ms {ours[name]:9.2f} ms {value / ours[name]:7.1f}x")


if __name__ == "__main__":
    main()
