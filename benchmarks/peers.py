"""Side by side with PyTorchFI: the same weights, images and sites, one flip an image.

Needs the extra ``bench``. The network is moved into PyTorch (``torch_twin``) and PyTorchFI sets, at
each site, the value that the flip makes of it. Whoever uses PyTorchFI has to know that value;
computing it is not timed. Each tool runs at the best of some batch sizes.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import data
from benchmarks.timing import median_seconds, trials
from injecttf2 import device

BATCHES = (64, 250, 1000)
ROUNDS = 3


@dataclass(frozen=True)
class Case:
    """A layer to inject, and the PyTorch module whose output is that layer's.

    Args:
        name: Of the model.
        layer: Address in the Keras model.
        module: Class of the module in the twin that PyTorchFI hooks; all for those of any class.
        shape: The layer's output of one image, NHWC without N.
    """

    name: str
    layer: str
    module: str
    shape: tuple[int, ...]


CASES = (
    Case("example CNN", "conv2d", "all", (28, 28, 32)),  # classes must have weights
    Case("ResNet-20", "stem_conv", "Conv2d", (32, 32, 16)),
    Case("ResNet-20", "stage2_block1_conv1", "Conv2d", (16, 16, 32)),
    Case("ResNet-20", "stage3_block1_conv1", "Conv2d", (8, 8, 64)),
)


def main() -> None:
    device.configure()
    try:
        import pytorchfi.core  # noqa: F401
        import torch
    except ImportError as error:
        print(f"peers: left out, {error}; pip install -e '.[bench]' brings it\n")
        return
    logging.getLogger().setLevel(logging.ERROR)  # PyTorchFI's; it tells of every injection
    torch.set_grad_enabled(False)
    console = Console(width=110)
    table = Table(title="peers: injections/s, one random flip an image")
    for name in (
        "model, layer",
        "plain loop",
        "PyTorchFI",
        "dense",
        "levels",
        "levels / PyTorchFI",
    ):
        table.add_column(name, justify="left" if name == "model, layer" else "right")
    agreement = Table(title="peers: decisions on the same sites, ours against PyTorch's")
    for name in ("model, layer", "injections", "agree", "not finite", "near a tie", "other"):
        agreement.add_column(name, justify="left" if name == "model, layer" else "right")
    loaded = {"example CNN": data.example, "ResNet-20": data.resnet}
    ready: dict[str, Any] = {}
    cases = [one for one in CASES if one.name != "ResNet-20" or data.resnet_files()[0].exists()]
    for case in cases:
        if case.name not in ready:
            ready[case.name] = Bench(*loaded[case.name]())
        rates, counts = ready[case.name].run(case)
        name = f"{case.name}, {case.layer}"
        table.add_row(name, *(f"{rate:,.0f}" for rate in rates), f"{rates[3] / rates[1]:.1f}x")
        agreement.add_row(name, *(f"{count:,}" for count in counts))
    console.print(table)
    console.print(
        f"median of {ROUNDS}, each tool at the best of the batch sizes {BATCHES}; "
        f"{data.machine()}\n",
        highlight=False,
    )
    console.print(agreement)
    console.print(
        "not finite: one of the two is NaN or Inf; near a tie: the two largest of PyTorch's "
        "outputs differ by less than 0.1 %\n",
        highlight=False,
    )


class Bench:
    """One model in both frameworks.

    Args:
        model: The Keras model.
        dataset: Its images.
    """

    def __init__(self, model: Any, dataset: Any) -> None:
        import torch

        from benchmarks.torch_twin import Twin
        from injecttf2.engine import Engine
        from injecttf2.graph.keras_calls import flatten
        from injecttf2.graph.keras_function import function_of

        self.dataset = dataset
        self.engines = {
            levels: Engine(model, dataset, levels=levels) for levels in ((), data.LEVELS)
        }
        self._graph = flatten(function_of(model)[0])
        self.twin = Twin(self._graph)
        self._halves: dict[str, tuple[Any, Any]] = {}
        self.images = torch.from_numpy(dataset.inputs.transpose(0, 3, 1, 2).copy())
        golden = np.concatenate([self.twin(part).numpy() for part in self.images.split(250)])
        assert (golden.argmax(1) == self.engines[()].golden.classes).mean() > 0.999

    def run(self, case: Case) -> tuple[list[float], list[int]]:
        """Return injections/s of the plain loop, PyTorchFI, level dense and all levels; counts."""
        chosen = trials(case.layer, 5)
        ours = []
        for engine in self.engines.values():
            engine.prepare(case.layer)
            engine.evaluate(chosen)
            seconds = median_seconds(lambda engine=engine: engine.evaluate(chosen), ROUNDS)
            ours.append(len(chosen) * len(self.dataset) / seconds)
        recorded = self.engines[data.LEVELS].evaluate(chosen[:1], record=True).injections
        outputs = self._torchfi(case, recorded, BATCHES[1])
        peers = [
            self._best_rate(lambda batch: self._plain_loop(case, recorded, batch)),
            self._best_rate(lambda batch: self._torchfi(case, recorded, batch)),
        ]
        return [*peers, *ours], _compared(recorded, outputs)

    def _best_rate(self, evaluate: Callable[[int], Any]) -> float:
        """Return the injections/s at the best batch size."""
        seconds = [median_seconds(lambda size=batch: evaluate(size), ROUNDS) for batch in BATCHES]
        return len(self.dataset) / min(seconds)

    def _torchfi(self, case: Case, recorded: Any, batch: int) -> Any:
        """Return the outputs of PyTorchFI with the recorded faults, [samples, classes]."""
        import torch
        from pytorchfi.core import fault_injection

        from injecttf2.evaluation.batching import batches

        kind = "all" if case.module == "all" else getattr(torch.nn, case.module)
        injector = fault_injection(
            self.twin, batch, input_shape=list(self.images.shape[1:]), layer_types=[kind]
        )
        number = self._module_number(case, kind)
        rows, columns, channels = np.unravel_index(recorded.element, case.shape)
        parts = []
        for start, stop in batches(len(self.images), batch):
            here = slice(start, stop)
            corrupted = injector.declare_neuron_fi(
                batch=list(range(stop - start)),
                layer_num=[number] * (stop - start),
                dim1=channels[here].tolist(),
                dim2=rows[here].tolist(),
                dim3=columns[here].tolist(),
                value=recorded.corrupted[here].tolist(),
            )
            parts.append(corrupted(self.images[here]).numpy())
        return np.concatenate(parts)

    def _module_number(self, case: Case, kind: Any) -> int:
        """Return the place of the layer's module among those that PyTorchFI hooks."""
        hooked = [
            module
            for module in self.twin.modules()
            if not list(module.children()) and (kind == "all" or isinstance(module, kind))
        ]
        layer = dict(self.twin.named_children())[case.layer]
        last = list(layer.modules())[-1]
        return next(index for index, module in enumerate(hooked) if module is last)

    def _plain_loop(self, case: Case, recorded: Any, batch: int) -> Any:
        """Return the outputs of the whole Keras model for every image, flips by NumPy between."""
        import tensorflow as tf

        from injecttf2.evaluation.batching import batches

        if case.layer not in self._halves:
            halves = cut_behind(self._graph, case.layer)
            self._halves[case.layer] = tuple(tf.function(one, autograph=False) for one in halves)
        before, behind = self._halves[case.layer]
        parts = []
        for start, stop in batches(len(self.dataset), batch):
            target, *others = before([tf.constant(self.dataset.inputs[start:stop])])
            values = target.numpy().copy()
            flat = values.reshape(stop - start, -1)
            flat[np.arange(stop - start), recorded.element[start:stop]] = recorded.corrupted[
                start:stop
            ]
            parts.append(behind([tf.constant(values), *others]).numpy())
        return np.concatenate(parts)


def cut_behind(graph: Any, layer: str) -> tuple[Any, Any]:
    """Return a model up to a layer, and the rest of it.

    The first takes the images in a list and gives out, in a list, the layer's output and what else
    the rest needs; the second takes that list.

    Args:
        graph: The model, flattened.
        layer: Address of the layer.
    """
    import keras

    end = next(index for index, step in enumerate(graph.steps) if step.layer == layer) + 1
    needed = {key for step in graph.steps[end:] for key in step.inputs}
    *earlier, last = graph.steps[:end]
    others = [made for step in earlier for made in step.made if id(made) in needed]
    between = [*last.made, *others]
    (output,) = graph.outputs
    return keras.Function(list(graph.inputs), between), keras.Function(between, output)


def _compared(recorded: Any, outputs: Any) -> list[int]:
    """Return injections, how many decisions agree, and how many of the others are of which kind."""
    finite = np.isfinite(outputs).all(axis=1)
    theirs = np.where(finite, outputs.argmax(axis=1), -1)
    differ = theirs != recorded.faulty_class
    not_finite = differ & ((theirs < 0) | (recorded.faulty_class < 0))
    two = np.sort(np.where(finite[:, None], outputs, 0), axis=1)[:, -2:]
    tie = differ & ~not_finite & (two[:, 1] - two[:, 0] <= 1e-3 * np.abs(two[:, 1]))
    other = differ & ~not_finite & ~tie
    return [
        len(theirs),
        int((~differ).sum()),
        *(int(one.sum()) for one in (not_finite, tie, other)),
    ]
