"""The state fusion's three dilated 3x3 kernels as one stencil."""
from collections.abc import Mapping

from torch import Tensor

KERNELS = {"kernel_3": 1, "kernel_3_1": 3, "kernel_3_2": 5}  # official name -> dilation
REACH = 5
OFFSETS = (-5, -3, -1, 0, 1, 3, 5)
TAPS = [(i, j) for i in OFFSETS for j in OFFSETS if abs(i) == abs(j) or i == 0 or j == 0]


def merged(w: Mapping[str, Tensor]) -> Tensor:
    """[C, 1, 11, 11]; all but 25 taps are zero."""
    channels = w["kernel_3"].shape[0]
    stencil = w["kernel_3"].new_zeros(channels, 1, 2 * REACH + 1, 2 * REACH + 1)
    for alpha, (name, dilation) in zip(w["alpha"], KERNELS.items()):
        taps = slice(REACH - dilation, REACH + dilation + 1, dilation)
        stencil[:, :, taps, taps] += alpha * w[name]
    return stencil
