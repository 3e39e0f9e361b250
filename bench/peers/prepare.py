"""Makes what the candidates of one comparison need: weights, input, oracle, ONNX exports. Files that exist are kept."""
import argparse
import pathlib
import warnings

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import networks
from candidates import CONVNEXT, RECIPES, Recipe
from files import Files, files_of
from weights import random_image, write_input, write_oracle, write_weights


def export(model: torch.nn.Module, shape: list[int], path: pathlib.Path) -> None:
    """By tracing: the newer exporter takes minutes for the scan's thousands of operators."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes become constants, as they should
        torch.onnx.export(model, (torch.zeros(shape),), path, dynamo=False, opset_version=20, input_names=["input"])


def flat_tokens(maps: torch.Tensor) -> torch.Tensor:
    """[B, C, H, W] -> [B, H, W, C] by way of [B, L, C]: a four-dimensional transpose OpenVINO takes for a layout, to undo
    it at great cost before the next matrix product."""
    batch, channels, height, width = map(int, maps.shape)
    return maps.flatten(2).transpose(1, 2).reshape(batch, height, width, channels)


def export_spatial_mamba(files: Files, fusion: str, shape: list[int]) -> None:
    """The runtimes fold BatchNorm themselves."""
    import standard_scan
    from channels_last import ChannelsLast, Choices, under

    choices = Choices(standard_scan.scan, fusion, as_tokens=flat_tokens)
    weights = load_file(files.weights)
    if files.task == "classification":
        return export(ChannelsLast(weights, choices).eval(), shape, files.graph)
    from tuned import ChannelsLastBackbone
    from uper_net import Pool

    network = networks.reference(files.task, files.variant, files.weights)
    network.backbone = ChannelsLastBackbone(under(weights, "backbone."), choices).eval()
    for module in network.modules():
        if isinstance(module, Pool):
            module.standard = True
    export(network, shape, files.graph)


def prepare_convnext(files: Files, shape: list[int]) -> None:
    import timm

    torch.manual_seed(0)
    model = timm.create_model("convnext_tiny", pretrained=False).eval()
    image = random_image(shape)
    with torch.inference_mode():
        np.savez(files.oracle, logits=model(image).numpy())
    save_file({"input": image}, files.input)
    export(model, shape, files.graph)


def prepare(recipe: Recipe, folder: pathlib.Path, task: str, variant: str, shape: list[int]) -> None:
    files = files_of(recipe, folder, task, variant, shape)
    if recipe.network == CONVNEXT:
        if not files.graph.exists():
            prepare_convnext(files, shape)
        return
    write_weights(files)
    write_input(files, shape)
    write_oracle(files)
    if recipe.graph and not files.graph.exists():
        export_spatial_mamba(files, recipe.graph, [1, *shape[1:]] if recipe.single_images else shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("candidates", nargs="+", choices=RECIPES, metavar="candidate")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--variant", required=True)
    parser.add_argument("--shape", type=int, nargs=4, required=True)
    args = parser.parse_args()
    for name in args.candidates:
        prepare(RECIPES[name], args.folder, args.task, args.variant, args.shape)


if __name__ == "__main__":
    main()
