"""What each task's network answers, and how far an answer is from the oracle's."""
import pathlib

import numpy as np
from safetensors.numpy import load_file

Answer = dict[str, np.ndarray]

ANSWERS = {
    "classification": ("logits",),
    "segmentation": ("labels",),
    "detection": ("boxes", "scores", "classes", "masks", "proposals"),
}
MEANING = {
    "classification": "greatest difference over greatest logit",
    "segmentation": "share of pixels with another label",
    "detection": "share of detections without a counterpart",
}
# In bf16 other proposals are kept, and random weights leave many classes and pixels of masks nearly equal.
LIMITS = {
    "classification": {"fp32": 1e-4, "bf16": 5e-2},
    "segmentation": {"fp32": 1e-3, "bf16": 0.1},
    "detection": {"fp32": 0.02, "bf16": 0.4},
}
# What makes a detection the counterpart of another: intersection over union of boxes and of masks, difference of scores.
SAME_OVERLAP, SAME_SCORE = {"fp32": 0.9, "bf16": 0.5}, {"fp32": 1e-3, "bf16": 0.2}


def read(path: pathlib.Path) -> Answer:
    """Written by serve.py (.npz), or by our program."""
    if path.suffix == ".npz":
        return dict(np.load(path))
    answer = load_file(path)
    if "runs" in answer:
        answer["masks"] = answer["runs"]  # decoded where the picture's size is known
    return answer


def decoded(runs: np.ndarray, counts: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """COCO's runs of several masks, zeros first, down the columns -> [N, height, width]."""
    ends = np.cumsum(counts)
    masks = np.zeros((len(counts), *shape), bool)
    for mask, end, count in zip(masks, ends, counts):
        own = runs[end - count : end]
        mask[:] = np.repeat(np.arange(count) % 2 == 1, own).reshape(shape[::-1]).T
    return masks


def intersection_over_union(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    corner = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = (corner[1] - corner[0]).clip(0).prod(1)
    area = lambda b: (b[..., 2:] - b[..., :2]).prod(-1)
    return common / np.maximum(area(box) + area(boxes) - common, 1e-9)


def lost_detections(answer: Answer, oracle: Answer, precision: str) -> float:
    """Share of the oracle's that have no counterpart of the same class."""
    least = SAME_OVERLAP[precision]
    if "mask_runs" in answer:
        answer["masks"] = decoded(answer["runs"], answer["mask_runs"], oracle["masks"].shape[1:])
    free = np.ones(len(answer["scores"]), bool)
    lost = 0
    for box, score, kind, mask in zip(*(oracle[name] for name in ("boxes", "scores", "classes", "masks"))):
        alike = free & (answer["classes"] == kind) & (abs(answer["scores"] - score) <= SAME_SCORE[precision])
        overlap = np.where(alike, intersection_over_union(box, answer["boxes"]), 0) if len(alike) else np.zeros(1)
        best = int(overlap.argmax())
        if overlap[best] < least or mask_overlap(mask, answer["masks"][best]) < least:
            lost += 1
        else:
            free[best] = False
    return lost / max(len(oracle["scores"]), 1)


def mask_overlap(a: np.ndarray, b: np.ndarray) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def deviation(task: str, answer: Answer, oracle: Answer, precision: str) -> float:
    match task:
        case "segmentation":
            return float((answer["labels"] != oracle["labels"]).mean())
        case "detection":
            return lost_detections(answer, oracle, precision)
    return float(np.abs(answer["logits"] - oracle["logits"]).max() / np.abs(oracle["logits"]).max())


def work(task: str, answer: Answer) -> str:
    """What decides how much there is to do."""
    if task != "detection":
        return ""
    return f"{int(answer['proposals'].sum())} proposals, {len(answer['scores'])} detections"
