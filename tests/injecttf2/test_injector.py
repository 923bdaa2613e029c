"""Single faults from Python: what Keras itself gives out with a value changed by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from injecttf2 import Injector, Site
from injecttf2.datasets import Dataset
from injecttf2.errors import FaultError, ModelError
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.faults.value_faults import RandomValue, Scale, Zero
from tests.splitting import flipped, halves, outcome

SAMPLES = 20


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(4)
    inputs = keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    x = layers.Dense(5, name="hidden")(layers.Flatten(name="flat")(x))
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="classes")(x))


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(SAMPLES, 6, 6, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def injector(model: keras.Model, data: np.ndarray) -> Injector:
    return Injector(model, data)


def split(model: keras.Model, data: np.ndarray, layer: str) -> Any:
    return halves(keras, model, [data], model.get_layer(layer).output, model.output)


def test_a_flip_gives_what_keras_computes_from_the_flipped_value(
    model: keras.Model, data: np.ndarray, injector: Injector
) -> None:
    front, back = split(model, data, "conv")
    for sample, element, bit in ((3, (0, 3, 2), 30), (19, (3, 0, 0), 31), (0, (1, 1, 1), 2)):
        result = injector.flip(layer="conv", sample=sample, element=element, bit=bit)
        values = front()
        values[sample] = flipped(values[sample], element, bit)
        faulty, golden = back(values)[sample], back(front())[sample]
        assert result.samples.tolist() == [sample]
        np.testing.assert_allclose(result.outputs[0], faulty, rtol=1e-5)
        np.testing.assert_allclose(result.golden[0], golden, rtol=1e-5)
        assert result.outcome == outcome(golden, faulty)


def test_several_flips_in_several_layers_are_in_one_run(
    model: keras.Model, data: np.ndarray, injector: Injector
) -> None:
    front, back = split(model, data, "conv")
    sites = (Site("conv", (0, 1, 0), 4, bit=30), Site("conv", (2, 2, 1), 4, bit=29))
    values = front()
    for site in sites:
        values[4] = flipped(values[4], site.element, site.bit)  # type: ignore[arg-type]
    result = injector.flip(*sites)
    np.testing.assert_allclose(result.outputs[0], back(values)[4], rtol=1e-5)
    later = injector.flip(*sites, Site("hidden", 2, 7, bit=31))
    assert later.samples.tolist() == [4, 7]
    np.testing.assert_array_equal(later.outputs[0], result.outputs[0])
    _, behind = split(model, data, "hidden")
    values = split(model, data, "hidden")[0]()
    values[7, 2] *= -1
    np.testing.assert_allclose(later.outputs[1], behind(values)[7], rtol=1e-5)


def test_a_flip_in_a_weight_is_in_all_samples_and_leaves_the_model_as_it_was(
    model: keras.Model, data: np.ndarray, injector: Injector
) -> None:
    kernel = model.get_layer("hidden").kernel
    before = kernel.numpy()
    golden = model.predict(data, verbose=0)
    result = injector.flip(layer="hidden", variable="kernel", element=(7, 3), bit=30)
    np.testing.assert_array_equal(kernel.numpy(), before)
    kernel.assign(flipped(before, (7, 3), 30))
    faulty = model.predict(data, verbose=0)
    kernel.assign(before)
    assert result.samples.tolist() == list(range(SAMPLES))
    np.testing.assert_allclose(result.outputs, faulty, rtol=1e-4, atol=1e-6)
    pairs = zip(golden, faulty, strict=True)
    assert result.outcomes == tuple(outcome(one, other) for one, other in pairs)
    with pytest.raises(ValueError, match="too many values"):
        _ = result.outcome


def test_any_fault_model_is_taken(model: keras.Model, data: np.ndarray, injector: Injector) -> None:
    front, back = split(model, data, "hidden")
    for fault, change in ((Scale(-20.0), lambda x: -20 * x), (Zero(), lambda x: 0 * x)):
        values = front()
        values[2, 1] = change(values[2, 1])
        result = injector.inject(fault, Site("hidden", 1, 2))
        np.testing.assert_allclose(result.outputs[0], back(values)[2], rtol=1e-5)
    drawn = RandomValue("uniform", low=-2, high=2)
    one, other, same = (
        injector.inject(drawn, Site("hidden", 1, 2), seed=seed).outputs for seed in (1, 2, 1)
    )
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(one, same)


def test_layers_and_golden_outputs_are_told(
    model: keras.Model, data: np.ndarray, injector: Injector
) -> None:
    assert [info.layer for info in injector.layers()][1:] == ["conv", "flat", "hidden", "classes"]
    np.testing.assert_allclose(injector.golden(), model.predict(data, verbose=0), rtol=1e-5)
    labelled = Injector(model, Dataset(data, np.zeros(SAMPLES, np.int64)))
    np.testing.assert_array_equal(labelled.golden(), injector.golden())


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ({"layer": "conf", "sample": 0, "element": 0, "bit": 1}, "has no layer 'conf'"),
        ({"layer": "conv", "sample": 20, "element": 0, "bit": 1}, "received 20, expected 0 to 19"),
        ({"layer": "conv", "element": 0, "bit": 1}, "sample: received None"),
        (
            {"layer": "conv", "sample": 0, "element": (0, 4, 0), "bit": 1},
            r"'conv' has the shape \(4, 4, 3\); received the element \(0, 4, 0\)",
        ),
        (
            {"layer": "conv", "variable": "kernels", "element": 0, "bit": 1},
            "has no weight 'kernels'; did you mean 'kernel'",
        ),
    ],
)
def test_a_place_that_there_is_not_is_told(
    injector: Injector, site: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        injector.flip(**site)


def test_what_is_missing_is_told(injector: Injector) -> None:
    with pytest.raises(FaultError, match="needs a layer, an element and a bit"):
        injector.flip(layer="conv", sample=0, element=0)
    with pytest.raises(FaultError, match="float32 has bits 0 to 31; received bit 32"):
        injector.flip(layer="conv", sample=0, element=0, bit=32)
    with pytest.raises(FaultError, match="received no site"):
        injector.inject(Zero())
    both = Site("conv", 0, 0, bit=1), Site("conv", 0, variable="kernel", bit=1)
    with pytest.raises(FaultError, match="in outputs and in weights"):
        injector.inject(BitFlip(bit=1), *both)
