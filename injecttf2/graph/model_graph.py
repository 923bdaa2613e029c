"""A model as users and the engine see it: its layers by address, and the graph that it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf

from injecttf2 import device
from injecttf2.config.spelling import nearest
from injecttf2.datasets.slots import Slot, in_words
from injecttf2.errors import ModelError, todo
from injecttf2.graph.cost import work
from injecttf2.graph.dataflow import Dataflow
from injecttf2.graph.functions import Cutter, segment_of
from injecttf2.graph.importing import Importer, Values
from injecttf2.graph.keras_model import KerasModel
from injecttf2.graph.layer_info import LayerInfo
from injecttf2.graph.points import Point, path_of, points_of
from injecttf2.graph.raising import checks_in, used_as_indices
from injecttf2.graph.reading import Reading
from injecttf2.graph.shapes import Shape, Shapes, constant_shapes, shapes_at
from injecttf2.graph.slot_names import chosen, slots_of
from injecttf2.graph.traceable import Traceable
from injecttf2.graph.tracing import ANY_NUMBER, trace

TRACED_SAMPLES = (13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97)
"""Numbers of samples that shapes may be told for: the first that is no size of another axis."""


class ModelGraph:
    """A model, traced once.

    Args:
        model: The model.
        data: Arrays [samples, ...] of each input; None for a model that knows what it takes.
        output: Key or address of the output that is judged, where the model has several.

    Attributes:
        judged: Which of the outputs is judged, where it was said.
        trace: The model as a graph of TensorFlow's.

    Raises:
        ModelError: The model cannot be traced, or has no such output.
    """

    def __init__(
        self, model: Traceable, data: Sequence[Any] | None = None, *, output: str | None = None
    ) -> None:
        device.set_graphs_up()
        self.model = model
        self.name = model.name
        shapes = tuple(spec.shape for spec in model.inputs)
        if data is not None:
            shapes = tuple(array.shape[1:] for array in data)
            _check_count(model, len(data))
        self.trace = trace(model, shapes)
        self._data = data
        self.importer = Importer(self.trace.graph, self.trace.captures)
        self.judged = None if output is None else chosen(output, self.output_slots, self.name)

    @classmethod
    def of(
        cls, model: keras.Model | Traceable, inputs: Any = None, *, output: str | None = None
    ) -> ModelGraph:
        """Return the graph that a model has for some data.

        Args:
            model: A Keras model, or another that can be traced.
            inputs: One array, or several in the order of the model's inputs, [samples, ...].
            output: Key or address of the output that is judged, where the model has several.
        """
        arrays = None
        if inputs is not None:
            arrays = inputs if isinstance(inputs, tuple) else (inputs,)
        if isinstance(model, keras.Model):
            shapes = None if arrays is None else [array.shape[1:] for array in arrays]
            dtypes = None if arrays is None else [array.dtype.name for array in arrays]
            model = KerasModel(model, shapes, dtypes)
        return cls(model, arrays, output=output)

    @property
    def batch(self) -> int | None:
        """Samples that the model takes at a time; None for any number."""
        return self.trace.batch

    @cached_property
    def samples(self) -> int:
        """Samples that :attr:`shapes` are told for."""
        if self.batch is not None:
            return self.batch
        sizes: set[int | None] = set()
        for operation in self.trace.graph.get_operations():
            for tensor in operation.outputs:
                sizes.update(tensor.shape.as_list() if tensor.shape.rank is not None else ())
        for shape in (array.shape for array in self._data or ()):
            sizes.update(shape[1:])
        return next((one for one in TRACED_SAMPLES if one not in sizes), TRACED_SAMPLES[-1])

    @cached_property
    def shapes(self) -> Shapes:
        """Shapes of all tensors, by name, for :attr:`samples` samples."""
        return self.shapes_at(self.samples)

    def shapes_at(self, batch: int) -> Shapes:
        """Return the shapes of all tensors, by name, for a number of samples.

        Raises:
            ModelError: The model takes other numbers only.
        """
        try:
            return shapes_at(self.trace, self.importer, batch, self._data)
        except (ValueError, tf.errors.OpError) as error:
            taken = ", ".join(str((batch, *one.shape[1:])) for one in self.trace.inputs)
            reason = next(iter(str(error).splitlines()), "").partition(" for '{{node")[0]
            raise ModelError(
                f"the model {self.name!r} cannot be run on {batch} samples, inputs of shape "
                f"{taken}: {reason}",
                hint=todo(error, ANY_NUMBER),
            ) from error

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """All addresses in the order of execution.

        Raises:
            ModelError: Two tensors have one address.
        """
        return points_of(self.trace, self.shapes, self.samples)

    @cached_property
    def layers(self) -> tuple[LayerInfo, ...]:
        """All addresses in the order of execution, as a user sees them."""
        return tuple(
            LayerInfo(
                layer=point.layer,
                index=index,
                type=self.type_of(point),
                shape=self._shape(point),
                dtype=self._dtype(point),
                parameters=_parameters(self.model, point.operation),
                is_input=point.is_input,
                reason=point.reason,
                in_all=point.in_all,
            )
            for index, point in enumerate(self.points)
        )

    def type_of(self, point: Point) -> str:
        """Return what kind of layer gives out what a point names."""
        if point.is_input:
            return "InputLayer"
        return self.model.type_of(point.operation, point.tensor)

    def info(self, layer: str) -> LayerInfo:
        """Return what is known of the layer at an address.

        Raises:
            ModelError: The model has no such layer; the message names the nearest ones.
        """
        point = self.point(layer)
        return next(info for info in self.layers if info.layer == point.layer)

    def point(self, layer: str) -> Point:
        """Return what an address names.

        Raises:
            ModelError: The model has no such layer; the message names the nearest ones.
        """
        found = {point.layer: point for point in self.points}
        if layer not in found:
            raise ModelError(
                f"the model has no layer {layer!r}{nearest(layer, found)}",
                hint="`injecttf2 layers MODEL` lists what can be injected",
            )
        return found[layer]

    def is_inside(self, layer: str, holder: str) -> bool:
        """Return whether an address is that of a layer, or of its outputs, inside another's.

        All calls of a layer hold the same layers, whatever call of those an address names.
        """
        if holder in self._own:
            return layer not in self._own
        return layer.startswith(f"{path_of(holder)}/")

    @cached_property
    def _own(self) -> frozenset[str]:
        """The addresses of what the model itself gives out."""
        whole = {id(call.layer) for call in self.trace.calls if not call.within}
        return frozenset(one.layer for one in self.points if id(one.operation) in whole)

    def check_one_input(self) -> None:
        """See that the model has one input.

        Raises:
            ModelError: It has several.
        """
        if (count := len(self.model.inputs)) != 1:
            raise ModelError(f"the model {self.name!r} has {count} inputs; expected one")

    @property
    def outputs(self) -> tuple[Any, ...]:
        """Tensors that come out."""
        return self.trace.outputs

    @property
    def output(self) -> Any:
        """The tensor that is judged.

        Raises:
            ModelError: The model has several outputs and none was chosen.
        """
        return self.outputs[self.output_index]

    @property
    def scores(self) -> Any:
        """What goes into the softmax that gives out what is judged; that itself without one."""
        operation = self.output.op
        return operation.inputs[0] if operation.type == "Softmax" else self.output

    @property
    def output_shape(self) -> Shape:
        """Shape of what is judged of a sample."""
        return (self.shapes[self.output.name] or ())[1:]

    @property
    def output_operation(self) -> Any:
        """The layer that gives out what is judged; None where that is not known."""
        point = self._by_tensor.get(self.output.name)
        return None if point is None else point.operation

    @cached_property
    def _by_tensor(self) -> Mapping[str, Point]:
        """The points by the names of their tensors, without those in loops."""
        graph = self.trace.graph
        held = [one for one in self.points if one.tensor is not None]
        return {one.name: one for one in held if one.tensor.graph is graph}

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
        points = [self._by_tensor.get(one.name) for one in self.outputs]
        names = [
            f"output_{number}" if point is None else point.layer
            for number, point in enumerate(points)
        ]
        return slots_of(self.trace.structure, names)

    @cached_property
    def flow(self) -> Dataflow:
        """The operations that decide what is judged."""
        points = [point.name for point in self.points if point.reason is None]
        asked = [self.output] + ([self.scores] if self.scores is not self.output else [])
        return Dataflow(self.trace, asked, points, self._constants(self.shapes))

    @property
    def work(self) -> float:
        """The counted work of a sample; see ``cost``."""
        return sum(work(one, self.shapes) for one in self.flow.path) / self.samples

    @cached_property
    def cutter(self) -> Cutter:
        """What cuts functions out of the graph."""
        return Cutter(self.flow, self.importer)

    def function_of(self, *names: str) -> tuple[Any, tuple[str, ...]]:
        """Return a function that gives out some tensors, and the names of the inputs that it takes.

        It takes them in a tuple, :attr:`samples` rows each, and returns a tuple.
        """
        constants = self._constants(self.shapes)
        tensors = [self.flow.tensor(name) for name in names]
        flow = Dataflow(self.trace, tensors, (), constants)
        segment = segment_of(flow, 0, len(flow.path), {})
        ends = (*segment.inputs, *segment.outputs)
        specs = {one: self.spec(one, self.samples) for one in ends}
        compiled = Cutter(flow, self.importer).cut(segment, specs, constants)
        return lambda given: compiled(given, (), ())[0], segment.inputs

    def fixed(self, names: tuple[str, ...], reads: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return tensors that do not depend on the data, by name, on the device.

        Args:
            names: Their names.
            reads: What is read of variables, by name.
        """
        return dict(zip(names, self.fixed_of(names, reads)(None), strict=True))

    def fixed_of(
        self, names: tuple[str, ...], reads: Mapping[str, Any], but: str = ""
    ) -> Callable[[Any], Sequence[Any]]:
        """Return what computes such tensors from another value of one variable.

        Args:
            names: Their names.
            reads: What is read of variables, by name.
            but: Name of what is read of the one.
        """
        constants = self._constants(self.shapes)
        needed = {*names, *self.flow.closure(self.flow.tensor(name).op for name in names)}
        used = sorted(needed.intersection(reads))

        def forward(read: Any) -> list[Any]:
            values: Values = {name: tf.constant(one) for name, one in constants.items()}
            values.update(zip(used, read, strict=True))
            missing = [name for name in names if name not in values]
            operations = {self.flow.tensor(name).op.name: name for name in missing}
            self.importer.copy(
                [self.flow.tensor(name).op for name in operations.values()], values, missing
            )
            return [values[name] for name in names]

        compiled = tf.function(forward, autograph=False)

        def found(value: Any) -> Sequence[Any]:
            with tf.init_scope():  # also while something is traced
                read = tuple(value if name == but else reads[name] for name in used)
                return compiled(read)  # type: ignore[no-any-return]

        return found

    def constants(self, batch: int) -> Mapping[str, Any]:
        """Return what stands for tensors that are constants of a number of samples."""
        known = self._constants(self.shapes)
        if not known or batch == self.samples:
            return known
        found = self._constants(self.shapes_at(batch))
        return {name: found[name] for name in known}

    def _constants(self, shapes: Shapes) -> Mapping[str, Any]:
        return constant_shapes(self.trace.graph.get_operations(), shapes)

    def spec(self, name: str, batch: int) -> tf.TensorSpec:
        """Return shape and dtype of a tensor for a number of samples, if it has a row for each."""
        tensor = self.flow.tensor(name)
        if name in self.trace.reads:
            return tf.TensorSpec(tensor.shape, tensor.dtype)
        shape = self.shapes[name]
        if shape is not None and shape[:1] in ((self.samples,), (None,)):
            shape = (batch, *shape[1:])
        return tf.TensorSpec(shape, tensor.dtype)

    @cached_property
    def reading(self) -> Reading:
        """Which variables inference reads."""
        return Reading(self.trace)

    @cached_property
    def may_raise(self) -> bool:
        """Whether it has operations that may well raise where a fault is."""
        graph = self.trace.graph
        return bool(checks_in(graph, used_as_indices(graph)))

    def _shape(self, point: Point) -> Shape:
        if point.tensor is None:
            return (None,)
        if point.tensor.graph is self.trace.graph:
            shape = self.shapes[point.name]
        else:
            shape = None if point.tensor.shape.rank is None else tuple(point.tensor.shape)
        return (None,) if shape is None else shape[1:]

    def _dtype(self, point: Point) -> str:
        if point.tensor is not None:
            return str(point.tensor.dtype.name)
        return str(getattr(point.operation, "compute_dtype", "unknown"))


def _check_count(model: Traceable, count: int) -> None:
    """See that there are data for each input.

    Raises:
        ModelError: There are not.
    """
    if count != len(model.inputs):
        names = ", ".join(spec.name for spec in model.inputs)
        raise ModelError(
            f"the model {model.name!r} has {len(model.inputs)} inputs, {names}; received {count}",
            hint="the data set gives one array for each input, in that order",
        )


def _parameters(model: Traceable, operation: Any) -> int:
    """Return the number of weights of a layer, trained or not."""
    return sum(variable.elements for variable in model.variables_of(operation))
