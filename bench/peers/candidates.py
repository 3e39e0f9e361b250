"""Who takes part: a name, the module that runs it, what that module's `load` is told, and the files it needs made before."""
from dataclasses import dataclass, field
from typing import Any

SPATIAL_MAMBA, CONVNEXT = "spatial-mamba", "convnext"


@dataclass(frozen=True)
class Recipe:
    about: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    network: str = SPATIAL_MAMBA
    graph: str = ""  # the ONNX export: its fusion
    single_images: bool = False  # the export is for batch 1

    def takes_part(self, task: str) -> bool:
        """Graphs are made of classifiers and segmentors, streams and the other network concern classifiers alone."""
        if task == "detection":
            return not self.graph and "compile_mode" not in self.options
        return task == "classification" or not (self.single_images or self.network == CONVNEXT)


EAGER: dict[str, tuple[str, dict[str, Any]]] = {
    "torch-reference": ("layout of the official code, scan in C++", {"layout": "reference"}),
    "torch-cl": ("channels-last rewrite, scan in C++", {"fusion": "merged"}),
    "torch-cl-sasf": ("channels-last rewrite, scan and fusion in C++", {"fusion": "cpp"}),
    "torch-cl-onednn": (
        "channels-last rewrite, scan and fusion in C++, layers packed for oneDNN",
        {"fusion": "cpp", "packed": True},
    ),
}
UNUSUAL = {("torch-reference", "bf16"), ("torch-cl-onednn", "amp")}


def _eager() -> dict[str, Recipe]:
    return {
        f"{name}-{precision}": Recipe(about, "torch_peer", {**options, "precision": precision})
        for name, (about, options) in EAGER.items()
        for precision in ("fp32", "amp", "bf16")
        if (name, precision) not in UNUSUAL
    }


def _compiled() -> dict[str, Recipe]:
    return {
        f"{name}-compile{suffix}-{precision}": Recipe(
            f"{EAGER[name][0]}; torch.compile, mode {mode}",
            "torch_peer",
            {**EAGER[name][1], "precision": precision, "compile_mode": mode},
        )
        for name in ("torch-cl", "torch-cl-sasf", "torch-cl-onednn")
        for suffix, mode in (("", "default"), ("-maxautotune", "max-autotune"))
        for precision in ("fp32", "bf16")
    }


def _openvino() -> dict[str, Recipe]:
    recipes = {}
    for precision in ("fp32", "bf16"):
        told = {"precision": precision}
        recipes |= {
            f"openvino-{precision}": Recipe("scan in standard operators, fusion as one 11x11 stencil", "openvino_peer", told, graph="merged"),
            f"openvino-3x3-{precision}": Recipe("the same, fusion as three dilated 3x3", "openvino_peer", told, graph="dilated"),
            f"openvino-streams-{precision}": Recipe(
                "the same, a batch as single images, one stream per thread",
                "openvino_peer",
                {**told, "streams": True},
                graph="merged",
                single_images=True,
            ),
            f"convnext-openvino-{precision}": Recipe(
                "timm convnext_tiny: what a user would pick instead", "openvino_peer", told, CONVNEXT, "plain"
            ),
        }
    return recipes


RECIPES: dict[str, Recipe] = {
    **_eager(),
    **_compiled(),
    "onnxruntime-fp32": Recipe("scan in standard operators, fusion as one 11x11 stencil", "onnxruntime_peer", graph="merged"),
    "onnxruntime-3x3-fp32": Recipe("the same, fusion as three dilated 3x3", "onnxruntime_peer", graph="dilated"),
    **_openvino(),
}
