"""The comparison's common ground, written once: random weights of a network under the official names, an input, and what the
reference layout answers in float32, which every candidate is checked against."""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import networks
from files import Files

# Last part of a name: mean and half-width of the uniform distribution. The rest is scaled by the fan-in, as initialisation
# does; nothing is left trivial (running statistics, fusion weights, decays).
RANGES = {
    "running_mean": (0.0, 0.125),
    "running_var": (1.0, 0.5),
    "A_logs": (0.0, 0.5),
    "Ds": (1.0, 0.25),
    "dt_projs_bias": (-3.0, 1.5),
    "alpha": (1.0, 0.5),
    "kernel_3": (0.125, 0.125),
    "kernel_3_1": (0.125, 0.125),
    "kernel_3_2": (0.125, 0.125),
}


# Of the heads: gains for parts of names, the first that fits. Those of the detector give it work as photographs do: a thousand
# proposals, of which some are sure of a class.
GAINS = {
    ".cpe": 0.25,
    "patch_embed": 1.375,
    "downsample": 1.375,
    "conv_seg": 4.0,
    "decode_head": 1.375,
    "rpn_conv": 1.375,
    "rpn_reg": 0.25,
    "shared_fcs": 1.375,
    "fc_cls": 2.0,
    "mask_head": 1.375,
}
BACKGROUND = 8.0  # added to the background's score
# What follows a ReLU sees numbers that are all positive: weights that add up to zero tell places apart, not classes alone.
CENTRED = ("conv_seg.weight", "rpn_cls.weight", "fc_cls.weight", "conv_logits.weight")


def value_range(name: str, tensor: torch.Tensor) -> tuple[float, float]:
    last = name.rsplit(".", 1)[-1]
    if last in RANGES:
        return RANGES[last]
    if tensor.dim() == 1:
        return (1.0, 0.25) if last == "weight" else (0.0, 0.125)
    gain = next((gain for part, gain in GAINS.items() if part in name), 1.0)
    return 0.0, gain * (3 / tensor[0].numel()) ** 0.5


def random_state(task: str, variant: str, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = networks.blank(task, variant).state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            centre, width = value_range(name, tensor)
            state[name] = centre + width * (2 * torch.rand(tensor.shape, generator=generator) - 1)
        if name.endswith(CENTRED):
            state[name] = state[name] - state[name].mean(1, keepdim=True)
    if task == "detection":
        state["roi_head.bbox_head.fc_cls.bias"][-1] += BACKGROUND
    return state


def random_image(shape: list[int]) -> torch.Tensor:
    return 4 * torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 2


def random_scene(shape: list[int]) -> torch.Tensor:
    """Patches of many sizes, so that places differ from each other as in a photograph."""
    generator = torch.Generator().manual_seed(1)
    scene = torch.zeros(shape)
    for size in (4, 16, 64, 256):
        grid = [shape[0], shape[1], -(-shape[2] // size), -(-shape[3] // size)]
        scene += F.interpolate(torch.randn(grid, generator=generator), size=shape[2:], mode="bilinear")
    return scene


def write_weights(files: Files) -> None:
    if not files.weights.exists():
        save_file(random_state(files.task, files.variant), files.weights)


def write_input(files: Files, shape: list[int]) -> None:
    if not files.input.exists():
        make = random_image if files.task == "classification" else random_scene
        save_file({"input": make(shape)}, files.input)


def write_oracle(files: Files) -> None:
    if files.oracle.exists():
        return
    model = networks.reference(files.task, files.variant, files.weights)
    with torch.inference_mode():
        answer = networks.named(files.task, model(networks.input_of(files.input)))
    for name, values in answer.items():
        if values.size == 0 or not np.isfinite(values).all() or (values.size > 1 and values.std() < 1e-3):
            raise SystemExit(f"{files.weights}: the random weights give degenerate {name}")
    np.savez(files.oracle, **answer)
