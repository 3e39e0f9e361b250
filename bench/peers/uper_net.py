"""UPerNet on Spatial-Mamba in eager PyTorch: an image to the label of each of its pixels, as mmsegmentation's `whole` mode
does it. Modules and parameter names are mmsegmentation's, so that its checkpoints load."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features import Backbone, ConvModule
from model import VARIANTS

CLASSES, CHANNELS, POOLS = 150, 512, (1, 2, 3, 6)
AUXILIARY_CHANNELS = 256


def resized(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)


def conv_norm_relu(cin: int, cout: int, kernel: int) -> ConvModule:
    return ConvModule(cin, cout, kernel, norm=True, relu=True)


class Pool(nn.Module):
    """Adaptive average pooling, cut into bins as PyTorch cuts them. `standard` does it by slices: the tracing exporter knows
    only sizes that divide the map."""

    def __init__(self, side: int):
        super().__init__()
        self.side, self.standard = side, False

    def forward(self, x: Tensor) -> Tensor:
        if not self.standard:
            return F.adaptive_avg_pool2d(x, self.side)
        rows = [x[:, :, a:b].mean(2, keepdim=True) for a, b in self.bins(int(x.shape[2]))]
        x = torch.cat(rows, 2)
        return torch.cat([x[..., a:b].mean(3, keepdim=True) for a, b in self.bins(int(x.shape[3]))], 3)

    def bins(self, length: int) -> list[tuple[int, int]]:
        return [(i * length // self.side, -(-(i + 1) * length // self.side)) for i in range(self.side)]


class UPerHead(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.psp_modules = nn.ModuleList(nn.Sequential(Pool(side), conv_norm_relu(dims[-1], CHANNELS, 1)) for side in POOLS)
        self.bottleneck = conv_norm_relu(dims[-1] + len(POOLS) * CHANNELS, CHANNELS, 3)
        self.lateral_convs = nn.ModuleList(conv_norm_relu(dim, CHANNELS, 1) for dim in dims[:-1])
        self.fpn_convs = nn.ModuleList(conv_norm_relu(CHANNELS, CHANNELS, 3) for _ in dims[:-1])
        self.fpn_bottleneck = conv_norm_relu(len(dims) * CHANNELS, CHANNELS, 3)
        self.conv_seg = nn.Conv2d(CHANNELS, CLASSES, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Class scores at the first map's size."""
        top = maps[-1]
        pooled = [resized(module(top), top) for module in self.psp_modules]
        levels = [conv(x) for conv, x in zip(self.lateral_convs, maps)]
        levels.append(self.bottleneck(torch.cat([top, *pooled], 1)))
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + resized(levels[i], levels[i - 1])
        outputs = [conv(x) for conv, x in zip(self.fpn_convs, levels)] + [levels[-1]]
        outputs = [outputs[0], *(resized(x, outputs[0]) for x in outputs[1:])]
        return self.conv_seg(self.fpn_bottleneck(torch.cat(outputs, 1)))


class FCNHead(nn.Module):
    """Takes part in training alone; its weights are part of every checkpoint."""

    def __init__(self, dim: int):
        super().__init__()
        self.convs = nn.ModuleList([conv_norm_relu(dim, AUXILIARY_CHANNELS, 3)])
        self.conv_seg = nn.Conv2d(AUXILIARY_CHANNELS, CLASSES, 1)


class UPerNet(nn.Module):
    def __init__(self, variant: str):
        super().__init__()
        dims = VARIANTS[variant][0]
        self.backbone = Backbone(*VARIANTS[variant])
        self.decode_head = UPerHead(dims)
        self.auxiliary_head = FCNHead(dims[2])

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] -> labels [B, H, W]."""
        scores = self.decode_head(self.backbone(image)).float()
        return resized(scores, image).argmax(1)
