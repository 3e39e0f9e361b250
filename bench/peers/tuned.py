"""Whole networks as a careful PyTorch user rewrites them for inference on a CPU: the channels-last backbone, and the heads'
layers replaced one by one: BatchNorm folded, weights as `Choices` says, maps channels-last in memory throughout."""
import torch
from torch import Tensor, nn

from channels_last import Block, Choices, Downsampling, LayerNorm, Stem, Weights, under, view_as_tokens
from features import ConvModule


class ChannelsLastBackbone(nn.Module):
    """[B, 3, H, W] -> the maps of four stages, as [B, C, H, W] that are channels-last in memory."""

    def __init__(self, w: Weights, choices: Choices):
        super().__init__()
        self.dtype = choices.dtype
        self.stem = Stem(under(w, "patch_embed."), choices)
        self.stages, self.reductions, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        while stage := under(w, f"layers.{len(self.stages)}."):
            self.norms.append(LayerNorm(under(w, f"outnorm{len(self.stages)}.")))
            self.stages.append(self.make_blocks(stage, choices))
            if downsample := under(stage, "downsample."):
                self.reductions.append(Downsampling(downsample, choices))
        for parameter in self.parameters():
            parameter.data = parameter.data.to(choices.dtype)

    @staticmethod
    def make_blocks(w: Weights, choices: Choices) -> nn.Module:
        blocks: list[nn.Module] = []
        while block := under(w, f"blocks.{len(blocks)}."):
            blocks.append(Block(block, choices))
        return nn.Sequential(*blocks)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image.to(self.dtype, memory_format=torch.channels_last).permute(0, 2, 3, 1))
        maps = []
        for i, (stage, norm) in enumerate(zip(self.stages, self.norms)):
            x = stage(x)
            maps.append(norm(x).permute(0, 3, 1, 2))
            if i < len(self.reductions):
                x = self.reductions[i](x)
        return maps


class OnMaps(nn.Module):
    """A layer of tokens [B, H, W, C] on maps [B, C, H, W]; both are views of the same memory."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, maps: Tensor) -> Tensor:
        tokens = view_as_tokens(maps.contiguous(memory_format=torch.channels_last))
        return self.layer(tokens).permute(0, 3, 1, 2)


def folded(module: ConvModule) -> tuple[Tensor, Tensor]:
    if module.bn is None:
        return module.conv.weight, module.conv.bias
    bn = module.bn
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return module.conv.weight * scale.view(-1, 1, 1, 1), bn.bias - bn.running_mean * scale


def tuned_layer(module: nn.Module, choices: Choices) -> nn.Module | None:
    """What takes its place; nothing for modules that are no layers."""
    match module:
        case ConvModule():
            return OnMaps(choices.conv(*folded(module), "relu" if module.relu else "none"))
        case nn.Conv2d():
            return OnMaps(choices.conv(module.weight, module.bias))
        case nn.Linear():
            return choices.linear(module.weight, module.bias)
        case nn.ConvTranspose2d():
            return module.to(choices.dtype, memory_format=torch.channels_last)
    return None


def tune_heads(module: nn.Module, choices: Choices) -> None:
    for name, child in module.named_children():
        layer = tuned_layer(child, choices)
        if layer is None:
            tune_heads(child, choices)
        else:
            module.register_module(name, layer)


def tune(network: nn.Module, choices: Choices) -> nn.Module:
    """A network of the reference's layout with its weights, rewritten in place."""
    network.backbone = ChannelsLastBackbone(under(network.state_dict(), "backbone."), choices)
    for name, child in network.named_children():
        if name != "backbone":
            tune_heads(child, choices)
    return network.eval()
