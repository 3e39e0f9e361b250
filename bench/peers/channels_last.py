"""Spatial-Mamba as a careful PyTorch user rewrites it for inference on a CPU: tokens stay [B, H, W, C] throughout (a
convolution sees a channels-last view, nothing is transposed), BatchNorm and residuals are folded into the convolutions, the
input projection is split so that both halves are contiguous. Parameters come from a state dictionary with official names.

What the candidates vary is passed in: the dense layers (`PlainLayers`, or `PackedLayers` with weights reordered for oneDNN
and fused activations), the scan, and the state fusion (one 11x11 stencil, three dilated 3x3 ones, or a C++ operator).
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stencil import KERNELS, REACH, TAPS, merged

Weights = Mapping[str, Tensor]
Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
Rearrange = Callable[[Tensor], Tensor]

ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "gelu": F.gelu, "swish": F.silu}


def view_as_tokens(maps: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H, W, C]: no copy, where the maps are channels-last in memory."""
    return maps.permute(0, 2, 3, 1)


def under(weights: Weights, prefix: str) -> dict[str, Tensor]:
    """The entries below `prefix`, without it."""
    return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}


class PlainLinear(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str):
        super().__init__()
        self.weight, self.bias, self.activation = constant(weight), constant(bias), ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(F.linear(x, self.weight, self.bias))


class PlainConv(nn.Module):
    """A convolution of channels-last tokens through a view."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, activation: str, stride: int, groups: int, as_tokens: Rearrange
    ):
        super().__init__()
        self.weight = constant(weight.contiguous(memory_format=torch.channels_last))
        self.as_tokens = as_tokens
        self.bias, self.activation = constant(bias), ACTIVATIONS[activation]
        self.stride, self.padding, self.groups = stride, weight.shape[-1] // 2, groups

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, self.stride, self.padding, groups=self.groups)
        return self.as_tokens(self.activation(y))


class PackedLinear(nn.Module):
    """PyTorch calls MKL for float32, which picks its code path by the processor's vendor; oneDNN does not."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str):
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        self.bias, self.activation = constant(bias), activation

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, self.activation, [], "none")


class PackedConv(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str, stride: int, groups: int):
        super().__init__()
        pad = weight.shape[-1] // 2
        self.shape = ([pad, pad], [stride, stride], [1, 1], groups)
        weight = weight.contiguous(memory_format=torch.channels_last)
        self.packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.shape)
        self.bias, self.activation = constant(bias), activation

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2)
        y = torch.ops.mkldnn._convolution_pointwise(x, self.packed, self.bias, *self.shape, self.activation, [], "none")
        return view_as_tokens(y)


@dataclass(frozen=True)
class Choices:
    """What a candidate varies."""

    scan: Scan
    fusion: str = "merged"  # merged, dilated, cpp
    packed: bool = False
    dtype: torch.dtype = torch.float32
    as_tokens: Rearrange = view_as_tokens  # how a convolution's output becomes tokens

    def linear(self, weight: Tensor, bias: Tensor | None = None, activation: str = "none") -> nn.Module:
        kind = PackedLinear if self.packed else PlainLinear
        return kind(*self.cast(weight, bias), activation)

    def conv(self, weight: Tensor, bias: Tensor | None = None, activation="none", stride=1, groups=1) -> nn.Module:
        if weight.shape[-1] == 1:
            return self.linear(weight.flatten(1), bias, activation)
        weight, bias = self.cast(weight, bias)
        if self.packed:
            return PackedConv(weight, bias, activation, stride, groups)
        return PlainConv(weight, bias, activation, stride, groups, self.as_tokens)

    def state_fusion(self, w: Weights) -> nn.Module:
        match self.fusion:
            case "merged":
                return MergedFusion(w, self.as_tokens)
            case "dilated":
                return DilatedFusion(w, self.as_tokens)
            case "cpp":
                return CppFusion(w)
        raise ValueError(self.fusion)

    def cast(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return weight.to(self.dtype), None if bias is None else bias.to(self.dtype)


def constant(tensor: Tensor | None) -> nn.Parameter | None:
    return None if tensor is None else nn.Parameter(tensor.detach().clone(memory_format=torch.preserve_format), False)


def conv_with_norm(w: Weights) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a `conv` and the BatchNorm after it, if there is one."""
    weight, bias = w["conv.weight"], w.get("conv.bias")
    if "norm.weight" not in w:
        return weight, bias
    scale = w["norm.weight"] / torch.sqrt(w["norm.running_var"] + 1e-5)
    shift = (bias if bias is not None else 0) - w["norm.running_mean"]
    return weight * scale.view(-1, 1, 1, 1), w["norm.bias"] + shift * scale


def with_residual(weight: Tensor) -> Tensor:
    """x + conv(x) as one depthwise convolution."""
    weight = weight.clone()
    weight[:, 0, 1, 1] += 1
    return weight


class LayerNorm(nn.Module):
    def __init__(self, w: Weights):
        super().__init__()
        self.weight, self.bias = constant(w["weight"]), constant(w["bias"])

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class MergedFusion(nn.Module):
    def __init__(self, w: Weights, as_tokens: Rearrange):
        super().__init__()
        self.as_tokens = as_tokens
        self.weight = constant(merged(w).contiguous(memory_format=torch.channels_last))

    def forward(self, h: Tensor) -> Tensor:
        padded = F.pad(h.permute(0, 3, 1, 2), (REACH,) * 4, mode="replicate")
        return self.as_tokens(F.conv2d(padded, self.weight, groups=h.shape[-1]))


class DilatedFusion(nn.Module):
    def __init__(self, w: Weights, as_tokens: Rearrange):
        super().__init__()
        self.as_tokens = as_tokens
        self.weights = nn.ParameterList(constant(alpha * w[name]) for alpha, name in zip(w["alpha"], KERNELS))

    def forward(self, h: Tensor) -> Tensor:
        maps = h.permute(0, 3, 1, 2)
        padded = F.pad(maps, (REACH,) * 4, mode="replicate")
        parts = []
        for reach, weight in zip(KERNELS.values(), self.weights):
            edge = REACH - reach
            inner = padded[:, :, edge : padded.shape[2] - edge, edge : padded.shape[3] - edge]
            parts.append(F.conv2d(inner, weight, dilation=reach, groups=h.shape[-1]))
        return self.as_tokens(parts[0] + parts[1] + parts[2])


class CppFusion(nn.Module):
    def __init__(self, w: Weights):
        super().__init__()
        stencil = merged(w)
        taps = torch.stack([stencil[:, 0, REACH + i, REACH + j] for i, j in TAPS])
        self.register_buffer("taps", taps.contiguous())

    def forward(self, h: Tensor) -> Tensor:
        return torch.ops.spatialmamba_peer.fuse(h, self.taps)


class StructureAwareSSM(nn.Module):
    def __init__(self, w: Weights, choices: Choices):
        super().__init__()
        inner, self.rank = w["dt_projs_weight"].shape
        self.scan = choices.scan
        self.in_x = choices.linear(w["in_proj.weight"][:inner])
        self.in_z = choices.linear(w["in_proj.weight"][inner:], activation="swish")
        self.conv = choices.conv(w["conv2d.weight"], w["conv2d.bias"], "swish", groups=inner)
        self.x_proj = choices.linear(w["x_proj_weight"])
        self.dt_proj = choices.linear(w["dt_projs_weight"])
        self.skip = constant(w["Ds"])
        self.register_buffer("decay", -torch.exp(w["A_logs"]).flatten())
        self.register_buffer("delta_bias", w["dt_projs_bias"].clone())
        self.fusion = choices.state_fusion(under(w, "state_fusion."))
        self.norm = LayerNorm(under(w, "out_norm."))
        self.out = choices.linear(w["out_proj.weight"])

    def forward(self, u: Tensor) -> Tensor:
        x = self.conv(self.in_x(u))
        low_rank, b, c = self.x_proj(x).split([self.rank, 1, 1], dim=-1)
        delta = self.dt_proj(low_rank)
        b = b.flatten(1).float().contiguous()
        h = self.scan(x.flatten(1, 2), delta.flatten(1, 2), self.decay, b, self.delta_bias)
        y = self.fusion(h.view(x.shape)) * c + x * self.skip
        return self.out(self.norm(y) * self.in_z(u))


class Block(nn.Module):
    def __init__(self, w: Weights, choices: Choices):
        super().__init__()
        dim = w["ln_1.weight"].shape[0]
        self.cpe1 = choices.conv(with_residual(w["cpe1.weight"]), w["cpe1.bias"], groups=dim)
        self.cpe2 = choices.conv(with_residual(w["cpe2.weight"]), w["cpe2.bias"], groups=dim)
        self.norm1, self.norm2 = LayerNorm(under(w, "ln_1.")), LayerNorm(under(w, "ln_2."))
        self.ssm = StructureAwareSSM(under(w, "self_attention."), choices)
        self.fc1 = choices.linear(w["mlp.fc1.weight"], w["mlp.fc1.bias"], "gelu")
        self.fc2 = choices.linear(w["mlp.fc2.weight"], w["mlp.fc2.bias"])

    def forward(self, x: Tensor) -> Tensor:
        x = self.cpe1(x)
        x = x + self.ssm(self.norm1(x))
        x = self.cpe2(x)
        return x + self.fc2(self.fc1(self.norm2(x)))


class Stem(nn.Module):
    def __init__(self, w: Weights, choices: Choices):
        super().__init__()
        layers = ("conv1", "conv2.0", "conv2.1", "conv3.0", "conv3.1")
        folded = [conv_with_norm(under(w, f"{name}.")) for name in layers]
        activations, strides = ("relu", "relu", "none", "relu", "none"), (2, 1, 1, 2, 1)
        self.convs = nn.ModuleList(
            choices.conv(*parameters, activation, stride)
            for parameters, activation, stride in zip(folded, activations, strides)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.convs[0](x)
        x = x + self.convs[2](self.convs[1](x))
        return self.convs[4](self.convs[3](x))


class Downsampling(nn.Sequential):
    def __init__(self, w: Weights, choices: Choices):
        expand, reduce, project = (conv_with_norm(under(w, f"conv.{i}.")) for i in range(3))
        super().__init__(
            choices.conv(*expand, "relu"),
            choices.conv(*reduce, "relu", 2, reduce[0].shape[0]),
            choices.conv(*project),
        )


class ChannelsLast(nn.Module):
    """[B, 3, H, W] -> logits. Everything but the scan's parameters is in `choices.dtype`."""

    def __init__(self, weights: Weights, choices: Choices):
        super().__init__()
        self.dtype = choices.dtype
        self.stem = Stem(under(weights, "patch_embed."), choices)
        stages: list[nn.Module] = []
        while stage := under(weights, f"layers.{len(stages)}."):
            stages.append(self.make_stage(stage, choices))
        self.stages = nn.Sequential(*stages)
        self.norm = LayerNorm(under(weights, "norm."))
        self.head = choices.linear(weights["head.weight"], weights["head.bias"])
        for parameter in self.parameters():
            parameter.data = parameter.data.to(choices.dtype)

    @staticmethod
    def make_stage(w: Weights, choices: Choices) -> nn.Module:
        modules: list[nn.Module] = []
        while block := under(w, f"blocks.{len(modules)}."):
            modules.append(Block(block, choices))
        if downsample := under(w, "downsample."):
            modules.append(Downsampling(downsample, choices))
        return nn.Sequential(*modules)

    def forward(self, image: Tensor) -> Tensor:
        x = image.to(self.dtype, memory_format=torch.channels_last).permute(0, 2, 3, 1)
        x = self.stages(self.stem(x))
        return self.head(self.norm(x).mean(dim=(1, 2))).float()
