"""Where the files of a comparison lie."""
import pathlib
from dataclasses import dataclass

from candidates import CONVNEXT, Recipe


@dataclass(frozen=True)
class Files:
    task: str
    variant: str
    weights: pathlib.Path
    input: pathlib.Path  # the tensor `input`
    oracle: pathlib.Path  # what the reference layout answers in float32
    graph: pathlib.Path  # the ONNX export, where the recipe asks for one


def files_of(recipe: Recipe, folder: pathlib.Path, task: str, variant: str, shape: list[int]) -> Files:
    network = "convnext_tiny" if recipe.network == CONVNEXT else variant
    stem = network if task == "classification" else f"{task}-{network}"
    size = "x".join(map(str, shape))
    graph = f"{stem}-{'x'.join(map(str, [1, *shape[1:]] if recipe.single_images else shape))}-{recipe.graph}.onnx"
    return Files(
        task,
        variant,
        folder / f"{stem}.safetensors",
        folder / f"{stem}-{size}-input.safetensors",
        folder / f"{stem}-{size}-oracle.npz",
        folder / graph,
    )
