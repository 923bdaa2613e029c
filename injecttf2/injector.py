"""Single faults from Python: which element, which bit, and what comes of it.

The engine is that of campaigns, so an outcome is what the row of a trial with these sites counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from injecttf2.bits import layout
from injecttf2.config.spelling import nearest
from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.errors import FaultError, ModelError
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.faults.fault_model import Fault
from injecttf2.faults.listed import FromFaultList
from injecttf2.graph.layer_info import LayerInfo
from injecttf2.graph.traceable import Traceable
from injecttf2.graph.weights import Weight, weights_in
from injecttf2.judging import Assessment
from injecttf2.judging.outcomes import OUTCOMES
from injecttf2.sampling.sites import NO_BIT, Sites, WeightSites
from injecttf2.trial import OUTPUTS, WEIGHTS, Cell, Scope, Trial

Place = int | tuple[int, ...]


@dataclass(frozen=True)
class Site:
    """One place of a fault.

    Args:
        layer: Address of the layer.
        element: Index into the layer's output of one sample, or into the variable: one number for
            each axis, or one into the flattened array.
        sample: Which of the samples, from 0; for outputs.
        variable: Name of the weight, such as ``kernel``; for weights.
        bit: Which bit, counted from the least significant; None where the fault has none.
    """

    layer: str
    element: Place
    sample: int | None = None
    variable: str | None = None
    bit: int | None = None


@dataclass(frozen=True, eq=False)
class Result:
    """What came of a fault.

    Args:
        samples: int64 [hit], the samples that were evaluated, ascending.
        outputs: [hit, ...], the model's outputs for them with the fault.
        golden: [hit, ...], without it.
        outcomes: One of ``masked``, ``benign``, ``sdc`` and ``due`` for each.
    """

    samples: npt.NDArray[np.int64]
    outputs: npt.NDArray[Any]
    golden: npt.NDArray[Any]
    outcomes: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """The outcome of the only sample.

        Raises:
            ValueError: There are several.
        """
        (only,) = self.outcomes
        return only


class Injector:
    """A model and some samples, to inject single faults into. The model is never changed.

    Args:
        model: A Keras model, or another that can be traced.
        x: One array [samples, ...] as the model takes it, a tuple of several, or a ``Dataset``.
        output: Key or address of the output that is judged, where the model has several.
        assessment: What is asked of outputs; the top-1 class by default.

    Raises:
        ModelError: The model cannot be traced, or its output has no top-1.
        DatasetError: The golden outputs hold NaN or Inf.

    Examples:
        >>> from injecttf2 import Injector
        >>> from injecttf2.datasets.digits import test_data
        >>> from injecttf2.models.digits_cnn import trained_model
        >>> images, _ = test_data()
        >>> injector = Injector(trained_model(), images[:50].astype("float32"))
        >>> result = injector.flip(layer="softmax", sample=3, element=1, bit=30)
        >>> result.outcome, result.golden.argmax(axis=1), result.outputs.argmax(axis=1)
        ('sdc', array([7]), array([1]))
    """

    def __init__(
        self,
        model: keras.Model | Traceable,
        x: Any,
        *,
        output: str | None = None,
        assessment: Assessment | None = None,
    ) -> None:
        if not isinstance(x, Dataset):
            several = isinstance(x, tuple)
            arrays = tuple(map(np.asarray, x if several else (x,)))
            labels = np.zeros(len(arrays[0]), np.int64)  # outcomes do not depend on them
            x = Dataset(arrays if several else arrays[0], labels)
        self._engine = Engine(model, x, output=output, assessment=assessment or Assessment())

    def layers(self) -> tuple[LayerInfo, ...]:
        """Return what can be injected, with shapes and dtypes, and why the rest cannot."""
        return self._engine.graph.layers

    def golden(self) -> npt.NDArray[Any]:
        """Return the model's outputs without any fault, [samples, ...]."""
        return self._engine.golden.outputs

    def flip(
        self,
        *sites: Site,
        layer: str | None = None,
        element: Place | None = None,
        sample: int | None = None,
        variable: str | None = None,
        bit: int | None = None,
    ) -> Result:
        """Flip one bit, or several at once.

        Args:
            *sites: The places; or one of them by the other arguments, those of a ``Site``.
            layer: Address of the layer.
            element: Index of the element.
            sample: Which of the samples, from 0.
            variable: Name of the weight.
            bit: Which bit.

        Returns:
            What came of it: of one sample for a fault in an output, of all for one in a weight.

        Raises:
            ModelError: There is no such layer, weight or element, or it cannot be injected.
            FaultError: A bit is missing, or the word has no such bit.

        Examples:
            >>> kernel = injector.flip(layer="dense", variable="kernel", element=(7, 5), bit=30)
            >>> len(kernel.outcomes)
            50
        """
        if layer is not None and element is not None:
            sites = (*sites, Site(layer, element, sample, variable, bit))
        bits = {site.bit for site in sites}
        if None in bits or not bits:
            raise FaultError("a flip needs a layer, an element and a bit")
        only = next(iter(bits)) if len(bits) == 1 else None
        fault = BitFlip(bit_field="any") if only is None else BitFlip(bit=only)
        return self.inject(fault, *sites)

    def inject(self, fault: Fault, *sites: Site, seed: int = 0) -> Result:
        """Inject a fault of any model at some places in the same run.

        Args:
            fault: What happens at each of them.
            *sites: The places, all in outputs or all in weights.
            seed: Of the numbers that the fault draws, if any.

        Returns:
            What came of it, for the samples that were hit.

        Raises:
            ModelError: There is no such layer, weight or element, or it cannot be injected.
            FaultError: The fault does not fit a place.

        Examples:
            >>> from injecttf2 import Site
            >>> from injecttf2.faults import Scale
            >>> sites = Site("conv2d", (0, 5, 2), sample=3), Site("dense", 5, sample=4)
            >>> injector.inject(Scale(-20.0), *sites).samples
            array([3, 4])
        """
        if not sites:
            raise FaultError("received no site; expected at least one")
        in_weights = {site.variable is not None for site in sites}
        if len(in_weights) != 1:
            raise FaultError("received sites in outputs and in weights; expected one of both")
        draws = np.random.Generator(np.random.Philox(seed)).random((len(sites), fault.draws))
        order = [info.layer for info in self.layers()]
        for site in sites:
            self._engine.graph.point(site.layer)
        names = sorted({site.layer for site in sites}, key=order.index)
        target = WEIGHTS if in_weights == {True} else OUTPUTS
        rate = (self._in_weights if target == WEIGHTS else self._in_outputs)(names, sites, draws)
        trial = Trial(Cell(Scope(tuple(names), target), fault, rate), 0, 0)
        samples, outputs = self._engine.outputs(trial)
        evaluation = self._engine.evaluate([trial], record=True)
        found = evaluation.injections
        assert found is not None  # noqa: S101 - it was asked for
        first = np.unique(found.sample, return_index=True)[1]
        outcomes = tuple(OUTCOMES[code] for code in found.outcome[first])
        return Result(samples, outputs, self.golden()[samples], outcomes)

    def _in_outputs(
        self, names: Sequence[str], sites: Sequence[Site], draws: npt.NDArray[np.float64]
    ) -> FromFaultList:
        samples = len(self._engine.dataset)
        parts = []
        for name in names:
            info = self._engine.graph.info(name)
            shape = tuple(size or 0 for size in info.shape)
            rows = []
            for number, site in enumerate(sites):
                if site.layer != name:
                    continue
                if site.sample is None or not 0 <= site.sample < samples:
                    raise ModelError(f"sample: received {site.sample}, expected 0 to {samples - 1}")
                element = _flat(site.element, shape, f"the output of {name!r}")
                rows.append((site.sample, element, _bit(site, info.dtype), number))
            columns = np.array(sorted(rows), np.int64).T
            parts.append(Sites(columns[0], columns[1], columns[2], draws[columns[3]]))
        return FromFaultList(
            _digest([(one.sample, one.element, one.bit) for one in parts]), tuple(parts)
        )

    def _in_weights(
        self, names: Sequence[str], sites: Sequence[Site], draws: npt.NDArray[np.float64]
    ) -> FromFaultList:
        weights = weights_in(self._engine.graph, names)
        rows = []
        for number, site in enumerate(sites):
            index = _weight(weights, site)
            what = f"{site.variable!r} of {site.layer!r}"
            element = _flat(site.element, weights[index].variable.shape, what)
            rows.append((index, element, _bit(site, weights[index].dtype), number))
        columns = np.array(sorted(rows), np.int64).T
        found = WeightSites(columns[0], columns[1], columns[2], draws[columns[3]])
        return FromFaultList(_digest([(found.variable, found.element, found.bit)]), weights=found)


def _weight(weights: Sequence[Weight], site: Site) -> int:
    """Return which of some weights a site is in.

    Raises:
        ModelError: In none.
    """
    names = [one.name for one in weights if one.layer == site.layer]
    for index, one in enumerate(weights):
        if (one.layer, one.name) == (site.layer, site.variable):
            return index
    raise ModelError(
        f"the layer {site.layer!r} has no weight {site.variable!r}"
        f"{nearest(str(site.variable), names)}",
        hint=f"expected one of {', '.join(names)}" if names else None,
    )


def _flat(element: Place, shape: Sequence[int], what: str) -> int:
    """Return the number of an element in a flattened array.

    Raises:
        ModelError: There is no such element.
    """
    index = (element,) if isinstance(element, int) else tuple(element)
    sizes = (int(np.prod(shape)),) if isinstance(element, int) else tuple(shape)
    if len(index) != len(sizes) or not all(
        0 <= at < size for at, size in zip(index, sizes, strict=True)
    ):
        raise ModelError(f"{what} has the shape {tuple(shape)}; received the element {element}")
    return int(np.ravel_multi_index(index, sizes))


def _bit(site: Site, dtype: str) -> int:
    """Return the bit of a site as sites are listed.

    Raises:
        FaultError: Words of the dtype have no such bit.
    """
    if site.bit is None:
        return NO_BIT
    if not 0 <= site.bit < (width := layout(dtype).width):
        raise FaultError(f"{dtype} has bits 0 to {width - 1}; received bit {site.bit}")
    return site.bit


def _digest(columns: Sequence[Sequence[npt.NDArray[np.int64]]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in columns:
        for column in part:
            digest.update(column.tobytes())
    return digest.hexdigest()
