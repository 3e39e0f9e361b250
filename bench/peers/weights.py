"""The comparison's common ground, written once: random weights of a variant under the official names, an input, and the
logits of the reference layout in float32 that every candidate is checked against."""
import pathlib

import torch
from safetensors.torch import load_file, save_file

from model import VARIANTS, SpatialMamba

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


def value_range(name: str, tensor: torch.Tensor) -> tuple[float, float]:
    last = name.rsplit(".", 1)[-1]
    if last in RANGES:
        return RANGES[last]
    if tensor.dim() == 1:
        return (1.0, 0.25) if last == "weight" else (0.0, 0.125)
    gain = 0.25 if ".cpe" in name else 1.375 if "patch_embed" in name or "downsample" in name else 1.0
    return 0.0, gain * (3 / tensor[0].numel()) ** 0.5


def random_state(variant: str, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = SpatialMamba(*VARIANTS[variant]).state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            centre, width = value_range(name, tensor)
            state[name] = centre + width * (2 * torch.rand(tensor.shape, generator=generator) - 1)
    return state


def random_image(shape: list[int]) -> torch.Tensor:
    return 4 * torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 2


def write_weights(path: pathlib.Path, variant: str) -> None:
    if not path.exists():
        save_file(random_state(variant), path)


def write_input_and_oracle(weights: pathlib.Path, path: pathlib.Path, variant: str, shape: list[int]) -> None:
    """`input` and `logits` in one file; the program under test reads the first and ignores the second."""
    if path.exists():
        return
    image = random_image(shape)
    model = SpatialMamba(*VARIANTS[variant]).eval()
    model.load_state_dict(load_file(weights))
    with torch.inference_mode():
        logits = model(image)
    if not torch.isfinite(logits).all() or logits.std() < 1e-3:
        raise SystemExit(f"{weights}: the random weights give degenerate outputs")
    save_file({"input": image, "logits": logits.contiguous()}, path)
