"""Where the files of a comparison lie."""
import pathlib
from dataclasses import dataclass

from candidates import CONVNEXT, Recipe


@dataclass(frozen=True)
class Files:
    variant: str
    weights: pathlib.Path
    input: pathlib.Path  # tensors `input` and `logits`, the oracle's
    graph: pathlib.Path  # the ONNX export, where the recipe asks for one


def files_of(recipe: Recipe, folder: pathlib.Path, variant: str, shape: list[int]) -> Files:
    network = "convnext_tiny" if recipe.network == CONVNEXT else variant
    name = f"{network}-{'x'.join(map(str, shape))}"
    graph = f"{network}-{'x'.join(map(str, [1, *shape[1:]] if recipe.single_images else shape))}-{recipe.graph}.onnx"
    return Files(variant, folder / f"{network}.safetensors", folder / f"{name}.safetensors", folder / graph)
