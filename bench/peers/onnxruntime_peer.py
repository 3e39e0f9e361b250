"""ONNX Runtime (float32: it has no bfloat16 for x86)."""
from collections.abc import Callable

import numpy as np
import onnxruntime
from safetensors.numpy import load_file

from agreement import ANSWERS
from files import Files


def load(files: Files, threads: int) -> Callable[[], dict[str, np.ndarray]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(files.graph, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: load_file(files.input)["input"]}
    return lambda: dict(zip(ANSWERS[files.task], session.run(None, feed), strict=True))
