"""Spatial-Mamba in eager PyTorch, laid out as the official code lays it out: convolutions on [B, C, H, W], linear layers
and norms on [B, H, W, C], the scan on [B, C, L]. The CUDA-only scan is a C++ extension (scan.cpp); the fusion is three
dilated depthwise convolutions over replicated borders in training, one 11x11 convolution in evaluation. Parameter names are
the official ones, so that one weights file serves every candidate."""
import math

import torch
import torch.nn.functional as F
from torch import nn

import stencil
from extension import build

_scan = build("spatialmamba_peer_scan", "scan.cpp")

VARIANTS = {
    "tiny": ((64, 128, 256, 512), (2, 4, 8, 4)),
    "small": ((64, 128, 256, 512), (2, 4, 21, 5)),
    "base": ((96, 192, 384, 768), (2, 4, 21, 5)),
}


class SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, delta, a, b, bias):
        """In float32 whatever autocast left: written out, since PyTorch before 2.4 has custom_fwd for GPUs alone."""
        u, delta, a, b, bias = (x.float().contiguous() for x in (u, delta, a, b, bias))
        h = _scan.forward(u, delta, a, b, bias)
        ctx.save_for_backward(h, u, delta, a, b, bias)
        return h

    @staticmethod
    def backward(ctx, dh):
        h, u, delta, a, b, bias = ctx.saved_tensors
        return tuple(_scan.backward(dh.float().contiguous(), h, u, delta, a, b, bias))


class StateFusion(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.kernel_3 = nn.Parameter(torch.ones(channels, 1, 3, 3))
        self.kernel_3_1 = nn.Parameter(torch.ones(channels, 1, 3, 3))
        self.kernel_3_2 = nn.Parameter(torch.ones(channels, 1, 3, 3))
        self.alpha = nn.Parameter(torch.ones(3))
        self.stencil = None

    def forward(self, h):
        return self.dilated(h) if self.training else self.merged(h)

    def dilated(self, h):
        fused = 0
        for alpha, (name, reach) in zip(self.alpha, stencil.KERNELS.items()):
            padded = F.pad(h, (reach,) * 4, mode="replicate")
            fused = fused + alpha * F.conv2d(padded, getattr(self, name), dilation=reach, groups=h.shape[1])
        return fused

    def merged(self, h):
        """Merged at the first evaluation and kept, as the official code does."""
        if self.stencil is None:
            self.stencil = stencil.merged(dict(self.named_parameters()))
        return F.conv2d(F.pad(h, (stencil.REACH,) * 4, mode="replicate"), self.stencil, groups=h.shape[1])


class StructureAwareSSM(nn.Module):
    def __init__(self, dim):
        super().__init__()
        inner, rank = 2 * dim, math.ceil(dim / 16)
        self.rank = rank
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.x_proj_weight = nn.Parameter(torch.randn(rank + 2, inner) * inner**-0.5)
        self.dt_projs_weight = nn.Parameter((torch.rand(inner, rank) * 2 - 1) * rank**-0.5)
        self.dt_projs_bias = nn.Parameter(torch.full((inner,), -4.0))
        self.A_logs = nn.Parameter(torch.zeros(inner, 1))
        self.Ds = nn.Parameter(torch.ones(inner))
        self.state_fusion = StateFusion(inner)
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, dim, bias=False)

    def forward(self, u):
        batch, height, width, _ = u.shape
        x, z = self.in_proj(u).chunk(2, dim=-1)
        x = F.silu(self.conv2d(x.permute(0, 3, 1, 2).contiguous()))
        flat = x.flatten(2)
        projected = torch.einsum("bdl,cd->bcl", flat, self.x_proj_weight)
        low_rank, b, c = projected.split([self.rank, 1, 1], dim=1)
        delta = torch.einsum("brl,dr->bdl", low_rank, self.dt_projs_weight)
        a = -torch.exp(self.A_logs.float()).squeeze(1)
        h = SelectiveScan.apply(flat, delta, a, b.squeeze(1), self.dt_projs_bias.float())
        h = self.state_fusion(h.view(batch, -1, height, width)).flatten(2)
        y = h * c + flat * self.Ds.view(1, -1, 1)
        y = y.transpose(1, 2).reshape(batch, height, width, -1)
        return self.out_proj(self.out_norm(y) * F.silu(z))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.cpe1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.ln_1 = nn.LayerNorm(dim)
        self.self_attention = StructureAwareSSM(dim)
        self.cpe2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.ln_2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim)

    def forward(self, x):
        x = x + self.cpe1(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.self_attention(self.ln_1(x))
        x = x + self.cpe2(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.mlp(self.ln_2(x))


class ConvLayer(nn.Module):
    def __init__(self, cin, cout, kernel, stride=1, padding=0, groups=1, bias=False, norm=True, act=None):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, padding, groups=groups, bias=bias)
        self.norm = nn.BatchNorm2d(cout) if norm else None
        self.act = act

    def forward(self, x):
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)


class Stem(nn.Module):
    def __init__(self, cin, dim):
        super().__init__()
        half = dim // 2
        self.conv1 = ConvLayer(cin, half, 3, 2, 1, act=F.relu)
        self.conv2 = nn.Sequential(ConvLayer(half, half, 3, 1, 1, act=F.relu), ConvLayer(half, half, 3, 1, 1))
        self.conv3 = nn.Sequential(ConvLayer(half, 4 * dim, 3, 2, 1, act=F.relu), ConvLayer(4 * dim, dim, 1))

    def forward(self, x):
        x = self.conv1(x)
        x = x + self.conv2(x)
        return self.conv3(x).permute(0, 2, 3, 1)


class Downsampling(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv = nn.Sequential(
            ConvLayer(dim, 8 * dim, 1, bias=True, norm=False, act=F.relu),
            ConvLayer(8 * dim, 8 * dim, 3, 2, 1, groups=8 * dim, bias=True, norm=False, act=F.relu),
            ConvLayer(8 * dim, 2 * dim, 1, bias=True),
        )

    def forward(self, x):
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Stage(nn.Module):
    def __init__(self, dim, depth, last):
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim) for _ in range(depth))
        self.downsample = None if last else Downsampling(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class SpatialMamba(nn.Module):
    def __init__(self, dims, depths, num_classes=1000, in_chans=3):
        super().__init__()
        self.patch_embed = Stem(in_chans, dims[0])
        self.layers = nn.ModuleList(
            Stage(dim, depth, i + 1 == len(dims)) for i, (dim, depth) in enumerate(zip(dims, depths))
        )
        self.norm = nn.LayerNorm(dims[-1])
        self.head = nn.Linear(dims[-1], num_classes)

    def forward(self, x):
        x = self.patch_embed(x)
        for stage in self.layers:
            x = stage(x)
        return self.head(self.norm(x).mean(dim=(1, 2)))
