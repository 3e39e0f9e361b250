"""Spatial-Mamba as a backbone in eager PyTorch: the maps of its four stages, before their downsampling, each through a
LayerNorm of its own, as [B, C, H, W]."""
import torch
from torch import Tensor, nn

from model import SpatialMamba


class Backbone(SpatialMamba):
    def __init__(self, dims, depths):
        super().__init__(dims, depths)
        del self.norm, self.head
        for i, dim in enumerate(dims):
            self.add_module(f"outnorm{i}", nn.LayerNorm(dim))

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.patch_embed(image)
        maps = []
        for i, stage in enumerate(self.layers):
            for block in stage.blocks:
                x = block(x)
            maps.append(getattr(self, f"outnorm{i}")(x).permute(0, 3, 1, 2).contiguous())
            if stage.downsample is not None:
                x = stage.downsample(x)
        return maps


class ConvModule(nn.Module):
    """A convolution that keeps the size, BatchNorm and ReLU where they are wanted."""

    def __init__(self, cin: int, cout: int, kernel: int, *, norm: bool = False, relu: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, padding=kernel // 2, bias=not norm)
        self.bn = nn.BatchNorm2d(cout) if norm else None
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        return torch.relu(x) if self.relu else x
