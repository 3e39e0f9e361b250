"""The networks of each task in the reference's layout, and what they answer."""
import pathlib
from collections.abc import Sequence

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from agreement import ANSWERS


def blank(task: str, variant: str) -> torch.nn.Module:
    """Freshly initialised."""
    match task:
        case "segmentation":
            from uper_net import UPerNet

            return UPerNet(variant).eval()
        case "detection":
            from mask_rcnn import MaskRCNN

            return MaskRCNN(variant).eval()
    from model import VARIANTS, SpatialMamba

    return SpatialMamba(*VARIANTS[variant]).eval()


def reference(task: str, variant: str, weights: pathlib.Path) -> torch.nn.Module:
    model = blank(task, variant)
    model.load_state_dict(load_file(weights))
    return model


def input_of(path: pathlib.Path) -> torch.Tensor:
    with safe_open(path, "pt") as file:
        return file.get_tensor("input")


def named(task: str, outputs: torch.Tensor | Sequence[torch.Tensor]) -> dict[str, np.ndarray]:
    """A network's outputs by their names."""
    tensors = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    return {name: (x.float() if x.is_floating_point() else x).numpy() for name, x in zip(ANSWERS[task], tensors, strict=True)}
