"""Mask R-CNN on Spatial-Mamba in eager PyTorch: an image to boxes, classes and masks in its pixels. Modules, parameter names,
thresholds and numbers of candidates are those of mmdetection 3.3.0's configuration; suppression and pooling are
torchvision's operators, which compute what mmcv's do."""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import nms, roi_align

from features import Backbone, ConvModule
from model import VARIANTS

CLASSES, CHANNELS, FC_CHANNELS = 80, 256, 1024
STRIDES, RATIOS, SCALE = (4, 8, 16, 32, 64), (0.5, 1.0, 2.0), 8
POOLED_LEVELS, FINEST = 4, 56
PER_LEVEL, PROPOSALS, DETECTIONS = 1000, 1000, 100
PROPOSAL_NMS, CLASS_NMS, LEAST_SCORE, LEAST_MASK = 0.7, 0.5, 0.05, 0.5
LARGEST_SHIFT = abs(math.log(16 / 1000))


class FPN(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.lateral_convs = nn.ModuleList(ConvModule(dim, CHANNELS, 1) for dim in dims)
        self.fpn_convs = nn.ModuleList(ConvModule(CHANNELS, CHANNELS, 3) for _ in dims)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        levels = [conv(x) for conv, x in zip(self.lateral_convs, maps)]
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + F.interpolate(levels[i], size=levels[i - 1].shape[2:], mode="nearest")
        levels = [conv(x) for conv, x in zip(self.fpn_convs, levels)]
        return [*levels, F.max_pool2d(levels[-1], 1, stride=2)]


class RPNHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.rpn_conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.rpn_cls = nn.Conv2d(CHANNELS, len(RATIOS), 1)
        self.rpn_reg = nn.Conv2d(CHANNELS, 4 * len(RATIOS), 1)

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.rpn_conv(level))
        return self.rpn_cls(hidden), self.rpn_reg(hidden)


class BoxHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared_fcs = nn.ModuleList([nn.Linear(CHANNELS * 7 * 7, FC_CHANNELS), nn.Linear(FC_CHANNELS, FC_CHANNELS)])
        self.fc_cls = nn.Linear(FC_CHANNELS, CLASSES + 1)
        self.fc_reg = nn.Linear(FC_CHANNELS, 4 * CLASSES)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        x = pooled.flatten(1)
        for fc in self.shared_fcs:
            x = torch.relu(fc(x))
        return self.fc_cls(x), self.fc_reg(x)


class MaskHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(ConvModule(CHANNELS, CHANNELS, 3, relu=True) for _ in range(4))
        self.upsample = nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, stride=2)
        self.conv_logits = nn.Conv2d(CHANNELS, CLASSES, 1)

    def forward(self, pooled: Tensor) -> Tensor:
        for conv in self.convs:
            pooled = conv(pooled)
        return self.conv_logits(torch.relu(self.upsample(pooled)))


class RoIHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.bbox_head, self.mask_head = BoxHead(), MaskHead()


def anchors(stride: int, height: int, width: int) -> Tensor:
    """[height * width * ratios, 4], centred at multiples of the stride."""
    root = torch.tensor(RATIOS).sqrt()
    half = torch.stack([1 / root, root], 1) * (SCALE * stride / 2)
    y, x = torch.meshgrid(torch.arange(height) * stride, torch.arange(width) * stride, indexing="ij")
    centre = torch.stack([x, y], -1).reshape(-1, 1, 2)
    return torch.cat([centre - half, centre + half], -1).reshape(-1, 4)


def decoded(boxes: Tensor, shifts: Tensor, deviations: tuple[float, float], size: tuple[int, int]) -> Tensor:
    """Boxes [N, 4] moved by shifts [N, ..., 4] and clipped to a picture of size (height, width)."""
    centre, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    while centre.dim() < shifts.dim():
        centre, extent = centre.unsqueeze(1), extent.unsqueeze(1)
    centre = centre + extent * shifts[..., :2] * deviations[0]
    half = extent * (shifts[..., 2:] * deviations[1]).clamp(-LARGEST_SHIFT, LARGEST_SHIFT).exp() / 2
    border = boxes.new_tensor([size[1], size[0]])
    corners = [corner.clamp(min=0).minimum(border) for corner in (centre - half, centre + half)]
    return torch.cat(corners, -1)


def grouped_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Boxes of different groups are moved apart, so that they do not compete."""
    if len(boxes) == 0:
        return boxes.new_zeros(0, dtype=torch.long)
    apart = groups.to(boxes) * (boxes.max() + 1)
    return nms(boxes + apart.unsqueeze(1), scores, threshold)


def pooled(levels: list[Tensor], boxes: Tensor, bins: int) -> Tensor:
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    chosen = torch.floor(torch.log2(sides / FINEST + 1e-6)).clamp(0, POOLED_LEVELS - 1).long()
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], 1)
    out = levels[0].new_zeros(len(boxes), CHANNELS, bins, bins)
    for i, level in enumerate(levels[:POOLED_LEVELS]):
        rows = (chosen == i).nonzero().squeeze(1)
        if len(rows):
            # The operator knows no bfloat16.
            features = roi_align(level.float(), rois[rows], bins, 1 / STRIDES[i], 0, aligned=True)
            out[rows] = features.to(out)
    return out


def pasted(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Shares [N, 28, 28] -> [N, height, width]: each mask is stretched over its box and cut at the threshold."""
    height, width = size
    out = torch.zeros(len(masks), height, width, dtype=torch.bool)
    for mask, box, target in zip(masks, boxes, out):
        x1, y1 = (box[:2].floor().int() - 1).clamp(min=0).tolist()
        x2, y2 = min(math.ceil(box[2]) + 1, width), min(math.ceil(box[3]) + 1, height)
        x = (torch.arange(x1, x2) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
        y = (torch.arange(y1, y2) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)
        shares = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]
        target[y1:y2, x1:x2] = shares >= LEAST_MASK
    return out


class MaskRCNN(nn.Module):
    def __init__(self, variant: str):
        super().__init__()
        self.backbone = Backbone(*VARIANTS[variant])
        self.neck = FPN(VARIANTS[variant][0])
        self.rpn_head, self.roi_head = RPNHead(), RoIHead()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """[1, 3, H, W] -> boxes [D, 4], scores [D], classes [D], masks [D, H, W], and how many proposals there were."""
        size = (image.shape[2], image.shape[3])
        levels = self.neck(self.backbone(image))
        proposals = self.proposals(levels, size)
        boxes, scores, classes = self.detections(levels, proposals, size)
        return boxes, scores, classes, self.masks(levels, boxes, classes, size), torch.tensor([len(proposals)])

    def proposals(self, levels: list[Tensor], size: tuple[int, int]) -> Tensor:
        boxes, scores, groups = [], [], []
        for i, level in enumerate(levels):
            logits, shifts = (x[0].permute(1, 2, 0).float() for x in self.rpn_head(level))
            best, rows = logits.reshape(-1).sigmoid().sort(descending=True)
            rows = rows[:PER_LEVEL]
            own = anchors(STRIDES[i], *level.shape[2:])[rows]
            boxes.append(decoded(own, shifts.reshape(-1, 4)[rows], (1.0, 1.0), size))
            scores.append(best[:PER_LEVEL])
            groups.append(torch.full_like(rows, i))
        boxes, scores, groups = torch.cat(boxes), torch.cat(scores), torch.cat(groups)
        valid = (boxes[:, 2:] > boxes[:, :2]).all(1)
        boxes, scores, groups = boxes[valid], scores[valid], groups[valid]
        return boxes[grouped_nms(boxes, scores, groups, PROPOSAL_NMS)[:PROPOSALS]]

    def detections(self, levels: list[Tensor], proposals: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        logits, shifts = (x.float() for x in self.roi_head.bbox_head(pooled(levels, proposals, 7)))
        boxes = decoded(proposals, shifts.view(-1, CLASSES, 4), (0.1, 0.2), size)
        scores = logits.softmax(1)[:, :-1]
        rows, classes = (scores > LEAST_SCORE).nonzero(as_tuple=True)
        boxes, scores = boxes[rows, classes], scores[rows, classes]
        kept = grouped_nms(boxes, scores, classes, CLASS_NMS)[:DETECTIONS]
        return boxes[kept], scores[kept], classes[kept]

    def masks(self, levels: list[Tensor], boxes: Tensor, classes: Tensor, size: tuple[int, int]) -> Tensor:
        logits = self.roi_head.mask_head(pooled(levels, boxes, 14)).float()
        return pasted(logits[torch.arange(len(classes)), classes].sigmoid(), boxes, size)
