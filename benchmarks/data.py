"""The model and the images that the benchmarks use.

They are the example's trained CNN and MNIST's test images where a folder holds them: the one that
INJECTTF2_DATA names, or ``../shared``. Elsewhere they are the same CNN trained on the digits, and
the digits repeated to as many images, which takes the same time.
"""

import functools
import os
import platform
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

IMAGES = 10_000

PUBLISHED_IMAGES = 10_000

SFI_COLUMNS = [
    *("Injection", "Layer", "TensorIndex", "Bit"),
    *("n_injections", "masked", "non_critical", "critical"),
]

LEVELS = ("drop", "difference")

RESNET_MEAN = (0.485, 0.456, 0.406)
RESNET_STD = (0.229, 0.224, 0.225)
"""How images were normalised when ResNet-20 was trained."""


def folder() -> Path:
    """A folder with models/mnist_model.h5 and data/mnist.npz."""
    named = os.environ.get("INJECTTF2_DATA", "../shared")
    return Path(named).resolve() if Path(named).is_dir() else _made_of_digits()


@functools.cache
def _made_of_digits() -> Path:
    from injecttf2 import device

    device.load()
    from injecttf2.datasets import digits
    from injecttf2.models import digits_cnn

    made = Path(tempfile.mkdtemp(prefix="injecttf2-benchmarks-"))
    (made / "models").mkdir()
    (made / "data").mkdir()
    digits_cnn.trained_model().save(made / "models" / "mnist_model.h5")
    images, labels = digits.test_data()
    repeated = np.resize(images, (IMAGES, *images.shape[1:])), np.resize(labels, IMAGES)
    np.savez(made / "data" / "mnist.npz", x_test=repeated[0], y_test=repeated[1])
    return made


def mnist_model() -> Path:
    return folder() / "models" / "mnist_model.h5"


def mnist() -> Path:
    return folder() / "data" / "mnist.npz"


def example() -> tuple[Any, Any]:
    """The example's CNN and its test images; TensorFlow must have been configured."""
    from injecttf2 import datasets
    from injecttf2.models import loading

    inputs = [datasets.ModelInput("image", (28, 28, 1))]
    dataset = datasets.prepare(datasets.load(str(mnist()), inputs), datasets.Preparation(), inputs)
    return loading.load_file(mnist_model()), dataset


def resnet_files() -> tuple[Path, Path]:
    return (
        folder() / "models" / "resnet20_cifar10.keras",
        folder() / "data" / "cifar10_jpeg_test.npz",
    )


def published_images() -> Path:
    """The first 1,000 test images of CIFAR-10."""
    return folder() / "data" / "cifar10_test1000.npz"


def published() -> Path:
    """Faults in weights of ResNet-20 with their values and published outcomes."""
    return folder() / "data" / "published" / "resnet20_published.csv"


def write_sfi_list(file: Path) -> None:
    """Write ``published`` as its authors did: ResNet20_FL.csv of cad-polito-it/dnn-benchmarks."""
    from injecttf2.models import loading

    model, _ = resnet_files()
    shapes = {
        layer.name: layer.kernel.shape
        for layer in loading.load_file(model).layers
        if hasattr(layer, "kernel")
    }
    table = pd.read_csv(published())
    indices = []
    for layer, element in zip(table["layer"], table["element"], strict=True):
        *places, inputs, outputs = map(int, np.unravel_index(element, shapes[layer]))
        indices.append(str((outputs, inputs, *places)))
    table = table.assign(TensorIndex=indices, n_injections=PUBLISHED_IMAGES)
    table = table.rename(columns={"trial": "Injection", "torch_layer": "Layer", "bit": "Bit"})
    table[SFI_COLUMNS].to_csv(file, index=False)


def resnet() -> tuple[Any, Any]:
    """ResNet-20 and 2,000 test images of CIFAR-10; TensorFlow must have been configured."""
    from injecttf2 import datasets
    from injecttf2.models import loading

    model, images = resnet_files()
    preparation = datasets.Preparation(mean=RESNET_MEAN, std=RESNET_STD)
    inputs = [datasets.ModelInput("image", (32, 32, 3))]
    dataset = datasets.prepare(datasets.load(str(images), inputs), preparation, inputs)
    return loading.load_file(model), dataset


def resnet_dataset() -> str:
    """The same images as a campaign names them."""
    return f"{{source: {resnet_files()[1]}, mean: {[*RESNET_MEAN]}, std: {[*RESNET_STD]}}}"


def peak_memory() -> float:
    """Peak memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def machine() -> str:
    cpu = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return f"{len(os.sched_getaffinity(0))} cores of {cpu}, Python {platform.python_version()}"
