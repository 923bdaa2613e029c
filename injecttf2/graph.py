"""A Keras model as an ordered list of steps, and the cut at a layer.

The model is not re-built: the steps are the nodes of the graph that the model itself runs, so a
``Sequential`` that was loaded from disk, whose layers also carry nodes of earlier builds, and a
model with skip connections or shared layers are walked alike. Nested models are walked too. A
subclassed model is one step; the layers inside it, as those inside an attention or a wrapper, are
found by tracing it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf

from injecttf2 import bits
from injecttf2.cuts import Cut, Cutter
from injecttf2.datasets.slots import Slot, in_words
from injecttf2.errors import ModelError
from injecttf2.flatten import Addresses, flatten
from injecttf2.layer_info import LayerInfo
from injecttf2.places import (
    BY_PASSED,
    USED_AS_INDICES,
    Place,
    inner_places,
    is_per_sample,
    parameters,
    reason_of,
    sparse_or_ragged,
    step_places,
    told_apart,
)
from injecttf2.reading import Reading, reading_of
from injecttf2.steps import Step, Values
from injecttf2.structure import chosen, slots_of
from injecttf2.suggest import nearest
from injecttf2.tracing import Trace, fixed_batch, traced, traced_samples
from injecttf2.wrapping import Shape, function_of, sample_shapes, several

__all__ = ["Cut", "Graph", "LayerInfo", "Step", "Values"]


class Graph:
    """The steps of a Keras model in the order in which the model runs them.

    Args:
        model: A model; if it is a ``Sequential``, a built one.
        input_shape: Shape of one sample, for a model that takes inputs of any size; a tuple of
            shapes for a model of several inputs.
        dtypes: dtypes of the inputs, for a subclassed model.
        output: Key or address of the output that is judged, where the model has several.

    Attributes:
        inputs: Symbolic tensors that go in.
        outputs: Symbolic tensors that come out.
        judged: Which of the outputs is judged, where it was said.
        dtypes: dtype of each tensor by key.
        batch: Samples that the model takes at a time; None for any number.

    Raises:
        ModelError: The model has no graph, or no such output.
    """

    def __init__(
        self,
        model: keras.Model,
        input_shape: tuple[Any, ...] | None = None,
        *,
        dtypes: Sequence[str] | None = None,
        output: str | None = None,
    ) -> None:
        given = None if input_shape is None else several(input_shape)
        function, self._wrapped = function_of(model, given, dtypes)
        flat = flatten(function)
        self.name = model.name
        self.steps, self.inputs, self.outputs = flat.steps, flat.inputs, flat.outputs
        self.batch = fixed_batch(self.inputs)
        self._by_layer = {step.layer: step for step in self.steps}
        places = (place for step in self.steps for place in self._places_of(step))
        self._step_places = {place.layer: place for place in places}
        self._made_from = function._outputs_struct
        self.judged = None if output is None else chosen(output, self.output_slots, self.name)
        tensors = [tensor for step in self.steps for tensor in step.made]
        self.dtypes: dict[int, str] = {id(tensor): tensor.dtype for tensor in tensors}
        self.shapes: dict[int, Shape] = {id(one): tuple(one.shape[1:]) for one in tensors}
        self._sample_shapes = sample_shapes(model.name, self.inputs, given)
        if self._is_sized and any(None in shape for shape in self.shapes.values()):
            self.shapes.update((key, shape[1:]) for key, shape in self._trace.shapes.items())

    @classmethod
    def of(cls, model: keras.Model, inputs: Any, *, output: str | None = None) -> Graph:
        """Return the graph that a model has for some data.

        Args:
            model: The model.
            inputs: One array, or several in the order of the model's inputs, [samples, ...].
            output: Key or address of the output that is judged, where the model has several.
        """
        arrays = inputs if isinstance(inputs, tuple) else (inputs,)
        shapes = tuple(array.shape[1:] for array in arrays)
        return cls(model, shapes, dtypes=[array.dtype.name for array in arrays], output=output)

    @property
    def input(self) -> Any:
        """The only input.

        Raises:
            ModelError: The model has several.
        """
        if len(self.inputs) != 1:
            raise ModelError(f"the model {self.name!r} has {len(self.inputs)} inputs; expected one")
        return self.inputs[0]

    @property
    def output(self) -> Any:
        """The output that is judged.

        Raises:
            ModelError: The model has several and none was chosen.
        """
        return self.outputs[self.output_index]

    @property
    def output_index(self) -> int:
        """Which of the outputs is judged.

        Raises:
            ModelError: The model has several and none was chosen.
        """
        if self.judged is not None:
            return self.judged
        if len(self.outputs) != 1:
            raise ModelError(
                f"the model {self.name!r} has {len(self.outputs)} outputs, "
                f"{in_words(self.output_slots)}, and it is not said which of them is judged",
                hint=f"say it, for example judge: {{type: top1, output: "
                f"{self.output_slots[0].called}}}",
            )
        return 0

    @cached_property
    def output_slots(self) -> tuple[Slot, ...]:
        """What the outputs are called."""
        names = {place.key: name for name, place in self._step_places.items()}
        return slots_of(self._made_from, [names[id(tensor)] for tensor in self.outputs])

    def feed(self, inputs: Any) -> Values:
        """Return the model's inputs by key: one tensor, or several in a tuple or list."""
        tensors = inputs if isinstance(inputs, tuple | list) else (inputs,)
        return dict(zip(map(id, self.inputs), tensors, strict=True))

    def signature(self, samples: int) -> list[tf.TensorSpec]:
        """Return shapes and dtypes of the inputs for a number of samples."""
        return [
            tf.TensorSpec((samples, *shape), tensor.dtype)
            for tensor, shape in zip(self.inputs, self._sample_shapes, strict=True)
        ]

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """All addresses in the order of execution.

        Raises:
            ModelError: The model cannot be run on any number of samples, or two have one address.
        """
        addresses = Addresses([step.path for step in self.steps])
        for step in self.steps:
            addresses.of(step.path)
        found: list[Place] = []
        for step in self.steps:
            wrapped = self._wrapped and not step.is_input
            inside = list(inner_places(step, self._trace, addresses, wrapped=wrapped))
            found.extend([*inside, *self._places_of(step)])
        return told_apart(found)

    @cached_property
    def layers(self) -> tuple[LayerInfo, ...]:
        """All addresses in the order of execution, as a user sees them.

        Raises:
            ModelError: The model cannot be run on any number of samples.
        """
        others = sparse_or_ragged(self.steps)
        return tuple(
            LayerInfo(
                layer=place.layer,
                index=index,
                type=type(place.operation).__name__,
                shape=self.shapes.get(place.key, tuple(place.tensor.shape[1:])),
                dtype=place.tensor.dtype,
                parameters=parameters(place.operation),
                is_input=place.step.is_input,
                reason=self._reason(place, dense=place.key not in others),
                inside=place.step.layer if place.is_inside else None,
                in_all=place.in_all,
            )
            for index, place in enumerate(self.places)
        )

    def info(self, layer: str) -> LayerInfo:
        """Return what is known of the layer at an address.

        Raises:
            ModelError: The model has no such layer; the message names the nearest ones.
        """
        place = self.place(layer)
        return next(info for info in self.layers if info.layer == place.layer)

    def shape(self, key: int) -> tuple[int, ...]:
        """Return the shape of one sample's part of the tensor ``key``.

        Raises:
            ModelError: It depends on the data, and no input shape was given.
        """
        shape = self.shapes[key]
        if None in shape:
            taken = ", ".join(str(tuple(tensor.shape[1:])) for tensor in self.inputs)
            raise ModelError(
                f"the model takes inputs of any size, {taken}; the size must be known here"
            )
        return tuple(size or 0 for size in shape)

    def row_bytes(self, key: int) -> int:
        """Return the bytes of one sample's part of the tensor ``key``.

        Raises:
            ModelError: The size depends on the data, and no input shape was given.
        """
        return math.prod(self.shape(key)) * bits.numpy_dtype(self.dtypes[key]).itemsize

    def place(self, layer: str) -> Place:
        """Return the tensor at the address ``layer``.

        Raises:
            ModelError: The model has no such layer; the message names the nearest ones.
        """
        if layer in self._step_places:
            return self._step_places[layer]
        found = {place.layer: place for place in self.places}
        if layer not in found:
            raise ModelError(
                f"the model has no layer {layer!r}{nearest(layer, found)}",
                hint="`injecttf2 layers MODEL` lists what can be injected",
            )
        return found[layer]

    def step(self, layer: str) -> Step:
        """Return the step at the address ``layer``, or the one that it is inside of.

        Raises:
            ModelError: The model has no such layer; the message names the nearest ones.
        """
        return self._by_layer[layer] if layer in self._by_layer else self.place(layer).step

    def made_by(self, key: int) -> Step:
        """Return the step that gives out the tensor ``key``."""
        return next(step for step in self.steps if key in step.outputs)

    def run(
        self,
        steps: Sequence[Step],
        values: Mapping[int, Any],
        *,
        state: Iterable[tuple[Any, Any]] = (),
        scope: Any = None,
    ) -> Values:
        """Run ``steps`` in order on top of ``values`` and return all tensors by key.

        What a layer assigns to a variable holds for this run: the variable itself is not changed.

        Args:
            steps: The steps.
            values: Tensors that are there already, by key.
            state: Variables, and the values that they have in place of their own.
            scope: A ``keras.StatelessScope`` that holds such values, and then what was assigned;
                in place of ``state``.
        """
        masked = bool(self._trace.masks)  # before the scope, which would keep what it assigns
        with scope or keras.StatelessScope(state_mapping=list(state)):
            return self._run(steps, values, masked=masked)

    def _run(self, steps: Sequence[Step], values: Mapping[int, Any], *, masked: bool) -> Values:
        computed = dict(values)
        for step in steps:
            if step.is_input:
                continue
            if masked:
                for key, mask in self._trace.reads[step.index]:
                    # Also where there is none: a step may have taken it from a tensor that it read.
                    computed[key]._keras_mask = None if mask is None else computed[mask]
            step.run(computed)
            for key, mask in self._trace.makes.get(step.index, ()):
                computed[mask] = computed[key]._keras_mask
        return computed

    def cut(self, layer: str) -> Cut:
        """Split the model at the output of ``layer``; see :meth:`Cutter.at`."""
        return self.cutter.at(self.place(layer))

    def cut_of(self, layers: Sequence[str], *, weights: bool = False) -> Cut:
        """Split the model where a fault in one layer, or in several together, comes in.

        Before the first of several layers, or before the first step that uses one of the weights;
        what is hit is then behind the cut.

        Args:
            layers: Their addresses, in the order of the model.
            weights: Whether their weights are hit, and not their outputs.
        """
        places = [self.place(layer) for layer in layers]
        if weights:
            return self.cutter.before(self.reading.users(place.operation for place in places))
        if len(places) == 1:
            return self.cutter.at(places[0])
        return self.cutter.before([place.step for place in places])

    def reason_of_cut(self, layers: Sequence[str], *, weights: bool = False) -> str | None:
        """Return why the model cannot be split there, or None when it can; see :meth:`cut_of`."""
        if not self.not_per_sample:
            return None
        frontier = self.cut_of(layers, weights=weights).frontier
        return None if self.not_per_sample.isdisjoint(frontier) else BY_PASSED

    @cached_property
    def cutter(self) -> Cutter:
        """What splits the model."""
        return Cutter(self.steps, self._trace, [id(tensor) for tensor in self.outputs])

    @cached_property
    def reading(self) -> Reading:
        """Which variables the model reads at inference."""
        return reading_of(self.steps, self.inputs, self._sample_shapes, self.outputs, self.run)

    def has_masks(self, keys: Iterable[int]) -> bool:
        """Return whether masks of Keras are among or travel beside some tensors."""
        return self._trace.has_masks(keys)

    @property
    def may_raise(self) -> bool:
        """Whether it has operations that may well raise where a fault is."""
        return bool(self._trace.checks)

    def inside(self, step: Step) -> tuple[int, ...]:
        """Return the keys of the tensors inside a step that is a model without a graph."""
        if not isinstance(step.operation, keras.Model):
            return ()
        return tuple(
            place.key
            for place in self.places
            if place.step.index == step.index and place.inner is not None
        )

    def _places_of(self, step: Step) -> list[Place]:
        return step_places(step, wrapped=self._wrapped and not step.is_input)

    @property
    def _is_sized(self) -> bool:
        return not any(None in shape for shape in self._sample_shapes)

    def _reason(self, place: Place, *, dense: bool) -> str | None:
        """Return why a tensor cannot be injected, or None when it can."""
        if place.key in self._trace.indices:
            return USED_AS_INDICES
        if (reason := reason_of(place, self.batch)) is not None:
            return reason
        if not dense:
            return "its output is sparse or ragged"
        if place.key in self.not_per_sample:
            return "its first axis is not the sample"
        return self.reason_of_cut([place.layer])

    @cached_property
    def not_per_sample(self) -> frozenset[int]:
        """Keys of the tensors whose first axis is not the sample."""
        tensors = [tensor for step in self.steps for tensor in step.made]
        fixed = {id(one) for one in tensors if not is_per_sample(one, self.batch)}
        if not self._is_sized:
            return frozenset(fixed)
        samples = traced_samples(self.inputs)
        moved = {key for key, shape in self._trace.shapes.items() if shape[:1] != (samples,)}
        return frozenset(fixed | moved)

    @cached_property
    def _trace(self) -> Trace:
        """What a trace shows; shapes and dtypes of the tensors that it found are added."""
        found = traced(self.steps, self.inputs, self._sample_shapes)
        for tensor in found.tensors:
            self.dtypes[id(tensor)] = tensor.dtype
            self.shapes[id(tensor)] = tuple(found.shapes.get(id(tensor), tensor.shape)[1:])
        return found
