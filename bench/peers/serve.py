"""One candidate as a process: loads, writes what its network answers to a file, then takes turns on standard input."""
import time

BEGIN = time.perf_counter()

import argparse
import contextlib
import importlib
import pathlib
import sys

import numpy as np

from candidates import RECIPES
from files import files_of
from turns import serve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("candidate", choices=RECIPES)
    parser.add_argument("--task", required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--variant", required=True)
    parser.add_argument("--shape", type=int, nargs=4, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--answer", type=pathlib.Path, required=True)
    args = parser.parse_args()
    recipe = RECIPES[args.candidate]
    files = files_of(recipe, args.folder, args.task, args.variant, args.shape)
    with contextlib.redirect_stdout(sys.stderr):  # nobody's progress report among the answers
        module = importlib.import_module(recipe.module)
        imported = time.perf_counter()
        step = module.load(files, args.threads, **recipe.options)
        loaded = time.perf_counter()
        answer = step()
        first = time.perf_counter()
    ready = {
        "import_s": imported - BEGIN,
        "load_s": loaded - imported,
        "first_s": first - loaded,
        "total_s": first - BEGIN,
    }
    np.savez(args.answer, **answer)
    del answer
    serve(step, ready)


if __name__ == "__main__":
    main()
