#!/usr/bin/env python3
"""COCO average precision: pycocotools against `spatialmamba eval --results` on 5,000 images x 100 detections x 80 classes,
files read included. Checks that the twelve figures are the same. Needs numpy and pycocotools.

    peers/bin/python bench/peers/coco_eval.py --ours build/release/spatialmamba
"""
import argparse
import contextlib
import io
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

OBJECTS, DETECTIONS, CLASSES, SIDE = 7, 100, 80, 640
FIGURES = ["AP", "AP50", "AP75", "AP_s", "AP_m", "AP_l", "AR_1", "AR_2", "AR_3", "AR_s", "AR_m", "AR_l"]


def make_files(folder, images):
    random = np.random.default_rng(0)
    truth, results = [], []
    for image in range(1, images + 1):
        boxes = np.concatenate([random.uniform(0, 400, (OBJECTS, 2)), random.uniform(8, 200, (OBJECTS, 2))], 1).round(2)
        classes = random.integers(1, CLASSES + 1, OBJECTS)
        for box, category in zip(boxes.tolist(), classes.tolist()):
            truth.append({"id": len(truth) + 1, "image_id": image, "category_id": category, "bbox": box,
                          "area": box[2] * box[3], "iscrowd": int(random.uniform() < 0.02),
                          "segmentation": [[box[0], box[1], box[0] + box[2], box[1], box[0] + box[2], box[1] + box[3]]]})
        for _ in range(DETECTIONS):
            near = random.integers(OBJECTS)
            box = (boxes[near] + random.normal(0, 12, 4)).clip(1).round(2).tolist()
            category = int(classes[near]) if random.uniform() < 0.6 else int(random.integers(1, CLASSES + 1))
            results.append({"image_id": image, "category_id": category, "bbox": box,
                            "score": round(float(random.uniform()), 3)})
    (folder / "gt.json").write_text(json.dumps({
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": SIDE, "height": SIDE} for i in range(1, images + 1)],
        "annotations": truth, "categories": [{"id": i, "name": f"c{i}"} for i in range(1, CLASSES + 1)]}))
    (folder / "results.json").write_text(json.dumps(results))


def run_pycocotools(folder):
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "gt.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return time.perf_counter() - start, evaluation.stats.tolist()


def run_ours(program, folder):
    start = time.perf_counter()
    answer = subprocess.run([program, "eval", "--data", str(folder / "gt.json"), "--results",
                             str(folder / "results.json"), "--json"], capture_output=True, check=True, text=True)
    return time.perf_counter() - start, [json.loads(answer.stdout)["box"][name] for name in FIGURES]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="our program")
    parser.add_argument("--images", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_files(folder, options.images)
        seconds, ours = run_ours(options.ours, folder)
        peer_seconds, theirs = run_pycocotools(folder)
    if ours != theirs:
        raise SystemExit(f"the figures differ:\n{ours}\n{theirs}")
    print(f"pycocotools {peer_seconds:.1f} s, ours {seconds:.2f} s: {peer_seconds / seconds:.0f} times as fast, "
          "all figures equal")


if __name__ == "__main__":
    main()
