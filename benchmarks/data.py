"""The model and the images that the benchmarks use."""

import os
import platform
import sys
from pathlib import Path


def folder() -> Path:
    """The folder that holds models/mnist_model.h5 and data/mnist.npz."""
    if "INJECTTF2_DATA" not in os.environ:
        sys.exit(
            "error: INJECTTF2_DATA is not set; it names a folder with models/mnist_model.h5 (see "
            "campaigns/mnist_example/mnist.py) and data/mnist.npz (Keras' copy of MNIST)"
        )
    return Path(os.environ["INJECTTF2_DATA"]).resolve()


def mnist_model() -> Path:
    return folder() / "models" / "mnist_model.h5"


def mnist() -> Path:
    return folder() / "data" / "mnist.npz"


def machine() -> str:
    cpu = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return f"{len(os.sched_getaffinity(0))} cores of {cpu}, Python {platform.python_version()}"
