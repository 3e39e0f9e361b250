"""PyTorch, eager and compiled."""
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from safetensors.torch import load_file

from extension import build
from files import Files


def load(
    files: Files,
    threads: int,
    precision: str,
    layout: str = "channels-last",
    fusion: str = "merged",
    packed: bool = False,
    compile_mode: str = "",
) -> Callable[[], np.ndarray]:
    torch.set_num_threads(threads)
    image = load_file(files.input)["input"]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if layout == "reference":
        model = reference(files, dtype)
        image = image.to(dtype)
    else:
        model = channels_last(files, fusion, packed, dtype)
    if compile_mode:
        model = compiled(model, compile_mode)
    autocast = torch.autocast("cpu", torch.bfloat16) if precision == "amp" else nullcontext()

    def step() -> np.ndarray:
        with torch.inference_mode(), autocast:
            return model(image).float().numpy()

    return step


def reference(files: Files, dtype: torch.dtype) -> torch.nn.Module:
    from model import VARIANTS, SpatialMamba

    model = SpatialMamba(*VARIANTS[files.variant]).eval()
    model.load_state_dict(load_file(files.weights))
    return model.to(dtype)


def channels_last(files: Files, fusion: str, packed: bool, dtype: torch.dtype) -> torch.nn.Module:
    from channels_last import ChannelsLast, Choices

    build("spatialmamba_peer_channels_last", "channels_last_ops.cpp", is_python_module=False)
    scan = torch.ops.spatialmamba_peer.scan
    return ChannelsLast(load_file(files.weights), Choices(scan, fusion, packed, dtype)).eval()


def compiled(model: torch.nn.Module, mode: str) -> Callable[[torch.Tensor], torch.Tensor]:
    from torch._inductor import config

    config.freezing = True
    return torch.compile(model, mode=mode, dynamic=False)
