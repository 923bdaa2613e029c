"""A model's digest: equal for equal models, different for any that computes something else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import keras
import numpy as np
import pytest
from keras import layers

from injecttf2.graph.model_graph import ModelGraph
from injecttf2.models import loading
from injecttf2.models.digest import model_digest
from injecttf2.user_code.digest import class_digest
from tests import networks

ROOT = Path(__file__).parents[3]


def functional(build: Callable[[Any], Any], *, seed: int = 1) -> keras.Model:
    """A model of four features, without regard to what was built before."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,), name="features")
    return keras.Model(inputs, build(inputs))


def digest_of(build: Callable[[Any], Any], *, seed: int = 1) -> str:
    return model_digest(functional(build, seed=seed))


def dense(**options: Any) -> Callable[[Any], Any]:
    arguments = {"units": 4, "name": "dense", **options}
    return lambda inputs: layers.Dense(**arguments)(inputs)


@pytest.mark.parametrize("build", [networks.cnn, networks.residual])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_saving_in_either_format_keeps_the_digest(
    suffix: str, build: Callable[[], keras.Model], tmp_path: Path
) -> None:
    model = build()
    model.save(tmp_path / f"model{suffix}")
    assert model_digest(loading.load_file(tmp_path / f"model{suffix}")) == model_digest(model)


def test_saving_keeps_the_digest_of_operations_and_their_constants(tmp_path: Path) -> None:
    def build(inputs: Any) -> Any:
        x = keras.ops.sin(inputs * 2.0) + np.asarray([1.0, 2.0, 3.0, 4.0], np.float32)
        x = x * keras.ops.convert_to_tensor([1.0, 0.5, 0.25, 2.0])
        left, right = keras.ops.split(x * np.float32(0.1), 2, axis=1)
        return layers.Dense(2, name="classes")(right - left[:, :1])

    model = functional(build)
    model.save(tmp_path / "model.keras")
    assert model_digest(loading.load_file(tmp_path / "model.keras")) == model_digest(model)


def test_the_same_model_has_the_same_digest_whatever_was_built_before() -> None:
    digests = [model_digest(networks.branches())]
    keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    digests.append(model_digest(networks.branches()))
    assert digests[0] == digests[1]
    assert re.fullmatch("[0-9a-f]{32}", digests[0])


def test_compiling_and_running_a_model_keep_the_digest() -> None:
    model = functional(dense())
    before = model_digest(model)
    model.compile("adam", "mse")
    model.predict(np.zeros((2, 4), np.float32), verbose=0)
    assert model_digest(model) == before


@pytest.mark.parametrize("index", range(5))
def test_one_changed_weight_changes_the_digest(index: int) -> None:
    def build(inputs: Any) -> Any:
        return layers.BatchNormalization(name="bn")(dense(use_bias=False)(inputs))

    model = functional(build)
    before = model_digest(model)
    weights = model.get_weights()
    last = weights[index].reshape(-1)[-1:]
    last[:] = np.nextafter(last, np.float32(9))  # one bit
    model.set_weights(weights)
    assert model_digest(model) != before


def test_two_weights_that_change_places_change_the_digest() -> None:
    model = functional(lambda inputs: dense(name="second")(dense(name="first")(inputs)))
    before = model_digest(model)
    kernel1, bias1, kernel2, bias2 = model.get_weights()
    model.set_weights([kernel2, bias2, kernel1, bias1])
    assert model_digest(model) != before


def split(inputs: Any, part: int) -> Any:
    return keras.ops.split(inputs, 2, axis=1)[part]


DIFFERENT: dict[str, list[Callable[[Any], Any]]] = {
    "activation": [dense(), dense(activation="relu"), dense(activation="tanh")],
    "name": [dense(), dense(name="other")],
    "dtype": [dense(), dense(dtype="float16"), dense(dtype="bfloat16")],
    "class": [
        lambda inputs: layers.Maximum(name="x")([inputs, inputs]),
        lambda inputs: layers.Minimum(name="x")([inputs, inputs]),
    ],
    "slope": [layers.LeakyReLU(0.1, name="x"), layers.LeakyReLU(0.2, name="x")],
    "order of layers": [
        lambda inputs: layers.ReLU(name="relu")(layers.UnitNormalization(name="unit")(inputs)),
        lambda inputs: layers.UnitNormalization(name="unit")(layers.ReLU(name="relu")(inputs)),
    ],
    "order of inputs": [
        lambda inputs: layers.Subtract()([inputs, layers.ReLU(name="relu")(inputs)]),
        lambda inputs: layers.Subtract()([layers.ReLU(name="relu")(inputs), inputs]),
    ],
    "constant": [lambda inputs: inputs * 2.0, lambda inputs: inputs * 3.0],
    "side of a constant": [lambda inputs: inputs - 2.0, lambda inputs: 2.0 - inputs],
    "array": [
        lambda inputs: inputs + np.asarray([0.0, 1.0, 2.0, 3.0], np.float32),
        lambda inputs: inputs + np.asarray([0.0, 1.0, 2.0, 4.0], np.float32),
    ],
    "tensor": [
        lambda inputs: inputs * keras.ops.convert_to_tensor([1.0, 2.0, 3.0, 4.0]),
        lambda inputs: inputs * keras.ops.convert_to_tensor([1.0, 2.0, 3.0, 5.0]),
    ],
    "slice": [lambda inputs: inputs[:, :2], lambda inputs: inputs[:, 2:]],
    "index": [lambda inputs: inputs[:, 0:1], lambda inputs: inputs[:, 1:2]],
    "output": [lambda inputs: split(inputs, 0), lambda inputs: split(inputs, 1)],
    "axis": [
        lambda inputs: keras.ops.roll(inputs, 1, axis=1),
        lambda inputs: keras.ops.roll(inputs, 2, axis=1),
    ],
    "number and step": [  # the second step's index is 1
        lambda inputs: layers.ReLU(name="relu")(inputs) + 1,
        lambda inputs: keras.ops.add(*[layers.ReLU(name="relu")(inputs)] * 2),
    ],
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_models_that_compute_something_else_have_other_digests(what: str) -> None:
    digests = [digest_of(build) for build in DIFFERENT[what]]
    assert len(set(digests)) == len(digests)


def test_models_with_other_random_weights_have_other_digests() -> None:
    assert digest_of(dense(), seed=1) == digest_of(dense(), seed=1)
    assert digest_of(dense(), seed=1) != digest_of(dense(), seed=2)


@pytest.mark.parametrize(("shape", "dtype"), [((3, 4), "float32"), ((2, 6), "int32")])
def test_the_shape_and_dtype_of_a_weight_are_in_the_digest(
    shape: tuple[int, ...], dtype: str
) -> None:
    class Holder(layers.Layer):
        def __init__(self, holds: Callable[[], tuple[tuple[int, ...], str]]) -> None:
            super().__init__(name="holder")
            held_shape, held_dtype = holds()
            self.held = self.add_weight(shape=held_shape, dtype=held_dtype, initializer="zeros")

        def call(self, inputs: Any) -> Any:
            return inputs

    assert digest_of(Holder(lambda: ((2, 6), "float32"))) != digest_of(
        Holder(lambda: (shape, dtype))
    )


def test_a_layer_that_cannot_be_configured_is_told_by_its_class_and_weights() -> None:
    class Applied(layers.Layer):
        def __init__(self, function: Callable[[Any], Any]) -> None:
            super().__init__(name="applied")
            self.function = function

        def call(self, inputs: Any) -> Any:
            return self.function(inputs)

    with pytest.raises(NotImplementedError):
        Applied(keras.ops.sin).get_config()
    digest = digest_of(lambda inputs: Applied(keras.ops.sin)(dense()(inputs)))
    assert digest == digest_of(lambda inputs: Applied(keras.ops.sin)(dense()(inputs)))
    assert digest != digest_of(lambda inputs: layers.ReLU(name="applied")(dense()(inputs)))


def test_attributes_of_a_class_without_a_configuration_make_another_digest() -> None:
    class Scaled(keras.layers.Layer):
        def __init__(self, by: float, anything: object) -> None:
            super().__init__(name="scaled")
            self.by, self.anything = by, anything

        def call(self, inputs: Any) -> Any:
            return inputs * self.by

    with pytest.raises(NotImplementedError):
        Scaled(2.0, object()).get_config()
    digest = digest_of(lambda inputs: Scaled(2.0, object())(dense()(inputs)))
    assert digest == digest_of(lambda inputs: Scaled(2.0, object())(dense()(inputs)))
    assert digest != digest_of(lambda inputs: Scaled(3.0, object())(dense()(inputs)))


CODE = """
import keras

SLOPE = 2.0


def scaled(x, by=1.0):
    return x * SLOPE * by


def closed_over(power):
    return lambda x: x**power


class Base(keras.layers.Layer):
    offset = 0.0

    @staticmethod
    def shift(x):
        return x + 1.0


class Mine(Base):
    def call(self, x):
        return self.shift(x) + self.offset


def build(x):
    x = keras.layers.Dense(4, activation=scaled, name="dense")(x)
    x = keras.layers.Lambda(lambda x: x if x.dtype in {"a", "b", "c"} else x * 3.0, name="l")(x)
    x = keras.layers.Lambda(closed_over(2), output_shape=(4,), name="power")(x)
    x = keras.layers.Dense(4, activation=lambda x, by=4.0: x - by, name="less")(x)
    inner = keras.Sequential([Mine(name="mine")], name="inner")
    return inner(x)
"""
"""Code of the user's own in every place where a layer may have it."""


def digest_of_code(code: str, file: str = "code_of_mine.py") -> str:
    names: dict[str, Any] = {"__name__": "code_of_mine"}
    exec(compile(code, file, "exec"), names)  # noqa: S102
    return digest_of(names["build"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SLOPE = 2.0", "SLOPE = 2.5"),
        ("by=1.0", "by=1.5"),
        ("x * SLOPE", "x + SLOPE"),
        ("x**power", "x*power"),
        ("closed_over(2)", "closed_over(3)"),
        ("offset = 0.0", "offset = 0.5"),
        ("x + 1.0", "x + 2.0"),
        ("self.shift(x) +", "self.shift(x) -"),
        ("x * 3.0", "x * 4.0"),
        ("by=4.0: x - by", "by=5.0: x - by"),
        ("by=4.0: x - by", "by=4.0: x + by"),
        ('"c"}', '"d"}'),
    ],
)
def test_changed_code_changes_the_digest(old: str, new: str) -> None:
    assert old in CODE
    assert digest_of_code(CODE.replace(old, new)) != digest_of_code(CODE)


def test_the_place_of_code_is_not_in_the_digest() -> None:
    assert digest_of_code(f"\n\n{CODE}", "elsewhere.py") == digest_of_code(CODE)


def test_code_has_the_same_digest_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "code_of_mine.py").write_text(CODE)
    program = (
        "import code_of_mine, keras\nfrom injecttf2.models.digest import model_digest\n"
        "keras.utils.set_random_seed(1)\ninputs = keras.Input((4,), name='features')\n"
        "print(model_digest(keras.Model(inputs, code_of_mine.build(inputs))))\n"
    )
    found = set()
    for seed in ("1", "2"):  # the order of a set of texts, and marshalled code, depend on it
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        found.add(done.stdout.strip())
    assert found == {digest_of_code(CODE)}


def test_a_function_that_calls_itself_has_a_digest() -> None:
    code = """
import keras

def again(x, times=2):
    return x if times == 0 else again(x * 2.0, times - 1)

def build(x):
    return keras.layers.Dense(4, activation=again, name="dense")(x)
"""
    assert digest_of_code(code) != digest_of_code(code.replace("2.0", "3.0"))


def test_a_nested_model_that_is_called_on_another_tensor_has_another_digest() -> None:
    def build(second: bool) -> Callable[[Any], Any]:
        def called(inputs: Any) -> Any:
            inner = keras.Sequential([keras.Input((4,)), layers.ReLU(name="relu")], name="inner")
            first = inner(inputs - 1.0)
            return keras.ops.add(first, inner(first * 2.0 if second else inputs * 2.0))

        return called

    assert digest_of(build(second=True)) == digest_of(build(second=True))
    assert digest_of(build(second=True)) != digest_of(build(second=False))


def test_a_subclassed_model_is_told_by_what_is_inside_and_by_its_code() -> None:
    class Mine(keras.Model):
        def __init__(self, kinds: Any, power: Any) -> None:
            super().__init__(name="mine")
            self.hidden = [kind(name=f"layer{place}") for place, kind in enumerate(kinds())]
            self.power = power

        def call(self, inputs: Any) -> Any:
            x = inputs
            for layer in self.hidden:
                x = layer(x)
            return self.power(x)

    def digest(kinds: list[Any], power: Any) -> str:
        keras.utils.clear_session(free_memory=False)
        model = Mine(lambda: kinds, power)
        return model_digest(model, ModelGraph.of(model, np.zeros((2, 4), np.float32)))

    relu, elu = (lambda name: layers.ReLU(name=name)), (lambda name: layers.ELU(name=name))
    steep = lambda name: layers.ReLU(negative_slope=0.5, name=name)  # noqa: E731
    digests = [digest(kinds, lambda x: x**2) for kinds in ([relu], [elu], [steep], [relu, relu])]
    digests.append(digest([relu], lambda x: x**3))
    assert len(set(digests)) == 5
    assert digest([relu], lambda x: x**2) == digests[0]


def test_the_outputs_of_a_model_are_in_its_digest() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((4,), name="features")
    a, b = layers.ReLU(name="a")(inputs), layers.ELU(name="b")(inputs)
    digests = {model_digest(keras.Model(inputs, outputs)) for outputs in ([a, b], [b, a], [a, b])}
    assert len(digests) == 2


HOLDING = """
import enum
import functools
import types
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

TABLE = {"gain": 2.0, "nested": [{"deep": 1.0}], ("a", 1): {2.0, 3.0}}
TABLE["itself"] = TABLE
ORDERED = OrderedDict(a=1)
SPACE = types.SimpleNamespace(gain=2.0)


class Kind(enum.Enum):
    LOW = 0.25


class Holder:
    shared = 1.0

    def __init__(self):
        self.gain = 2.0
        self.me = self

    def by(self, value):
        return value * self.gain


class Slots:
    __slots__ = ("__gain", "other")

    def __init__(self):
        self.__gain = 2.0
        self.other = object()


HOLDER = Holder()
SLOTS = Slots()
METHOD = HOLDER.by
PICKED = [Kind.LOW]
ENUM = {Kind.LOW, Holder, "x"}


def scaled(value, by=1.0):
    return value * by


half = functools.partial(scaled, by=0.5)
cached = functools.lru_cache(scaled)
vectorised = np.vectorize(scaled)


@dataclass(frozen=True)
class Gain:
    def corrupt(self, values, draws):
        held = (TABLE, ORDERED, SPACE, Kind, HOLDER, SLOTS, METHOD, PICKED, ENUM, Gain)
        return half(values) + cached(1) + vectorised(values)
"""

SETTINGS = [
    "TABLE['gain'] = 5.0",
    "TABLE['nested'][0]['deep'] = 5.0",
    "TABLE[('a', 1)].add(4.0)",
    "TABLE['more'] = 5.0",
    "ORDERED['a'] = 5",
    "SPACE.gain = 5.0",
    "HOLDER.gain = 5.0",
    "Holder.shared = 5.0",
    "SLOTS._Slots__gain = 5.0",
    "METHOD = Holder().by; METHOD.__self__.gain = 5.0",
    "PICKED[0] = 5.0",
    "ENUM.add('y')",
    "half = functools.partial(scaled, by=5.0)",
    "cached = functools.lru_cache(lambda value: 5.0)",
    "vectorised = np.vectorize(lambda value: 5.0)",
    "scaled.__defaults__ = (5.0,)",
    "Gain.variable = 5.0",
]


def holding(text: str = "") -> str:
    space: dict[str, Any] = {"__name__": "mine"}
    exec(HOLDING + text, space)  # noqa: S102 - as a notebook does
    return class_digest(space["Gain"])


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_value_that_a_program_sets_in_what_a_class_refers_to_changes_its_digest(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mine", types.ModuleType("mine"))
    assert holding() == holding()
    assert holding(f"\n{setting}\n") != holding()


@pytest.mark.parametrize("module", ["mine", "__main__"])
def test_what_a_class_refers_to_has_the_same_digest_in_every_process(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    space: dict[str, Any] = {"__name__": module}
    # Without what cloudpickle does not take, or gives back as something else.
    text = HOLDING.replace("functools.lru_cache(scaled)", "scaled").replace("__gain", "_gain")
    exec(text, space)  # noqa: S102
    (tmp_path / "pickled").write_bytes(cloudpickle.dumps(space["Gain"]))
    program = (
        "import sys, types, pickle\n"
        f"text, space = {text!r}, {{'__name__': {module!r}}}\n"
        f"sys.modules.setdefault({module!r}, types.ModuleType({module!r}))\n"
        "exec(text, space)\n"
        "from injecttf2.user_code.digest import class_digest\n"
        f"pickled = open({str(tmp_path / 'pickled')!r}, 'rb').read()\n"
        "print(class_digest(space['Gain']), class_digest(pickle.loads(pickled)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
        timeout=120,
    )
    assert done.stdout.split()[-2:] == [class_digest(space["Gain"])] * 2
