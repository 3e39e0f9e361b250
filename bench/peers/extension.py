"""Builds the peers' C++ operators for the machine at hand, once; later processes find them built."""
import pathlib
from types import ModuleType

from torch.utils.cpp_extension import load

FLAGS = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-fopenmp-simd"]


def build(name: str, source: str, *, is_python_module: bool = True) -> ModuleType | str:
    """Compiles `source`, which lies beside this file."""
    path = pathlib.Path(__file__).with_name(source)
    return load(name=name, sources=[str(path)], extra_cflags=FLAGS, is_python_module=is_python_module)
