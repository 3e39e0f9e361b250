"""PyTorch, eager and compiled."""
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from safetensors.torch import load_file

import networks
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
) -> Callable[[], dict[str, np.ndarray]]:
    torch.set_num_threads(threads)
    image = networks.input_of(files.input)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if layout == "reference":
        model = reference(files, dtype)
        image = image.to(dtype)
    else:
        model = channels_last(files, fusion, packed, dtype)
    if compile_mode:
        model = compiled(model, compile_mode)
    autocast = torch.autocast("cpu", torch.bfloat16) if precision == "amp" else nullcontext()

    def step() -> dict[str, np.ndarray]:
        with torch.inference_mode(), autocast:
            return networks.named(files.task, model(image))

    return step


def reference(files: Files, dtype: torch.dtype) -> torch.nn.Module:
    return networks.reference(files.task, files.variant, files.weights).to(dtype)


def channels_last(files: Files, fusion: str, packed: bool, dtype: torch.dtype) -> torch.nn.Module:
    from channels_last import ChannelsLast, Choices

    build("spatialmamba_peer_channels_last", "channels_last_ops.cpp", is_python_module=False)
    choices = Choices(torch.ops.spatialmamba_peer.scan, fusion, packed, dtype)
    if files.task == "classification":
        return ChannelsLast(load_file(files.weights), choices).eval()
    from tuned import tune

    with torch.inference_mode():
        return tune(networks.reference(files.task, files.variant, files.weights), choices)


def compiled(model: torch.nn.Module, mode: str) -> Callable[[torch.Tensor], torch.Tensor]:
    from torch._inductor import config

    config.freezing = True
    return torch.compile(model, mode=mode, dynamic=False)
