"""OpenVINO."""
from collections.abc import Callable

import numpy as np
import openvino
from safetensors.numpy import load_file

from agreement import ANSWERS
from files import Files

TYPES = {"fp32": "f32", "bf16": "bf16"}


def load(files: Files, threads: int, precision: str, streams: bool = False) -> Callable[[], dict[str, np.ndarray]]:
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads if streams else 1,
        "PERFORMANCE_HINT": "THROUGHPUT" if streams else "LATENCY",
        "INFERENCE_PRECISION_HINT": TYPES[precision],
    }
    model = openvino.Core().compile_model(files.graph, "CPU", settings)
    image = load_file(files.input)["input"]
    step = by_streams(model, image) if streams else at_once(model, image)
    return lambda: {ANSWERS[files.task][0]: step()}


def at_once(model: openvino.CompiledModel, image: np.ndarray) -> Callable[[], np.ndarray]:
    request = model.create_infer_request()
    request.set_input_tensor(openvino.Tensor(image))

    def step() -> np.ndarray:
        request.infer()
        return request.get_output_tensor(0).data

    return step


def by_streams(model: openvino.CompiledModel, images: np.ndarray) -> Callable[[], np.ndarray]:
    queue = openvino.AsyncInferQueue(model)
    logits: list[np.ndarray] = [np.empty(0)] * len(images)

    def keep(request: openvino.InferRequest, index: int) -> None:
        logits[index] = request.get_output_tensor(0).data.copy()

    queue.set_callback(keep)

    def step() -> np.ndarray:
        for index, image in enumerate(images):
            queue.start_async([image[None]], index)
        queue.wait_all()
        return np.concatenate(logits)

    return step
