"""Files that Keras 2 wrote: which Keras reads them, and what is refused."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from injecttf2.engine import Engine
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.models import loading
from injecttf2.models.digest import model_digest
from injecttf2.models.inputs import model_inputs
from injecttf2.models.keras2_model import Keras2Model
from injecttf2.models.model_files import CODE_HINT
from injecttf2.models.portable import FileModel
from tests import networks
from tests.builders import in_short
from tests.keras_2 import KINDS, Bent, shaken
from tests.refusals import refusal
from tests.splitting import check_outputs, check_weights, dataset, halves

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model:UserWarning")


def save(model: Any, path: Path) -> Path:
    model.save(path, save_format=path.suffix.strip(".").replace("hdf5", "h5"))
    return path


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".keras"])
def test_keras_2_loads_what_it_wrote_and_keras_3_refuses(suffix: str, tmp_path: Path) -> None:
    original = KINDS["convolutions"].model()
    path = save(original, tmp_path / f"model{suffix}")
    portable, model = loading.resolve(str(path))
    assert isinstance(model, Keras2Model)
    assert portable == FileModel(path.read_bytes(), suffix, str(path), keras_2=True)
    sent = pickle.loads(pickle.dumps(portable)).build()  # noqa: S301 - our own
    assert model_digest(sent) == model_digest(model) == model_digest(Keras2Model(original))
    (data,) = KINDS["convolutions"].data()
    expected = original(data, training=False).numpy()
    assert model.model(data, training=False).numpy().tobytes() == expected.tobytes()


def test_keras_3_loads_what_keras_2_wrote_if_it_understands_it_as_version_0_1_did(
    tmp_path: Path,
) -> None:
    given = layers.Input((4,), name="given")
    original = shaken(tf_keras.Model(given, layers.Dense(3, "softmax", name="dense")(given)))
    portable, model = loading.resolve(str(save(original, tmp_path / "model.h5")))
    assert isinstance(portable, FileModel)
    assert not portable.keras_2
    assert isinstance(model, keras.Model)


def test_files_of_keras_3_never_go_to_keras_2(tmp_path: Path) -> None:
    given = keras.Input((4,))
    model = keras.Model(given, keras.layers.Lambda(lambda x: x * 2)(given))
    model.save(tmp_path / "model.keras")
    assert refusal(tmp_path / "model.keras").startswith("Keras cannot load it: ")


def test_the_whole_of_a_file_is_injected_as_keras_2_has_it(tmp_path: Path) -> None:
    kind = KINDS["convolutions"]
    original, data = kind.model(), kind.data()
    _, model = loading.resolve(str(save(original, tmp_path / "model.h5")))
    engine = Engine(ModelGraph.of(model, tuple(data)), dataset(data))
    for name in ("conv", "depthwise", "classes"):
        tensor = original.get_layer(name).output
        check_outputs(engine, name, halves(tf_keras, original, data, tensor, original.output))


PROGRAM = """
import sys
from injecttf2.models import loading
from injecttf2.models.digest import model_digest
for _ in range(2):
    print(model_digest(loading.resolve(sys.argv[1])[1]))
"""


@pytest.mark.parametrize("name", in_short("convolutions", of=("convolutions", "recurrent")))
def test_a_file_has_the_same_digest_in_another_process(name: str, tmp_path: Path) -> None:
    made = KINDS[name].model()
    (given,) = made.inputs  # a function of TensorFlow, which Keras 3 does not read
    path = save(tf_keras.Model(given, tf.nn.relu(made.output)), tmp_path / "model.h5")
    expected = model_digest(loading.resolve(str(path))[1])
    command = [sys.executable, "-c", PROGRAM, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.stdout.split() == [expected, expected], ended.stderr


def test_what_a_model_of_keras_2_does_to_pixels_is_seen() -> None:
    given = layers.Input((8, 8, 1))
    made = layers.Conv2D(2, 3)(layers.Rescaling(1 / 255)(given))
    model = Keras2Model(tf_keras.Model(given, layers.Flatten()(made)))
    assert model_inputs(model)[0].begins((8, 8, 1)).rescales


LAMBDA = "is a Lambda layer, or holds a function: code of Python, which is not run"


def scaled(x: Any) -> Any:
    return x * 2.0


def plain() -> Any:
    given = layers.Input((4,))
    return tf_keras.Model(given, layers.Lambda(lambda x: x * 2.0, name="twice")(given))


def named() -> Any:
    given = layers.Input((4,))
    return tf_keras.Model(given, layers.Lambda(scaled, name="twice")(given))


def nested() -> Any:
    given = layers.Input((4,))
    return tf_keras.Model(given, plain()(given))


def wrapped() -> Any:
    given = layers.Input((3, 4))
    inner = layers.Lambda(lambda x: x * 2.0, name="twice")
    return tf_keras.Model(given, layers.TimeDistributed(inner, name="each")(given))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("make", [plain, named, nested, wrapped])
def test_lambda_layers_are_refused_wherever_they_are(
    make: Callable[[], Any], suffix: str, tmp_path: Path
) -> None:
    path = save(make(), tmp_path / f"model{suffix}")
    assert refusal(path) == f"the layer 'twice' {LAMBDA}\n  {CODE_HINT}"


def test_nothing_of_a_file_with_code_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tf_keras.models, "load_model", lambda *_, **__: pytest.fail("it was loaded")
    )
    refusal(save(nested(), tmp_path / "model.h5"))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_layers_of_a_users_own_are_refused(suffix: str, tmp_path: Path) -> None:
    given = layers.Input((4,))
    path = save(tf_keras.Model(given, Bent(name="mine")(given)), tmp_path / f"model{suffix}")
    message = refusal(path)
    assert message.endswith(f"\n  {CODE_HINT}")
    assert "Bent" in message


def test_functions_of_tensorflow_that_do_more_than_compute_are_refused(tmp_path: Path) -> None:
    given = layers.Input((4,))
    path = save(tf_keras.Model(given, tf.math.multiply(given, 2.0)), tmp_path / "model.h5")
    assert isinstance(loading.resolve(str(path))[1], Keras2Model)
    with h5py.File(path, "r+") as file:
        config = json.dumps(json.loads(file.attrs["model_config"]))
        file.attrs["model_config"] = config.replace('"math.multiply"', '"io.write_file"')
    assert "calls tf.io.write_file, which may do more than compute" in refusal(path)


def test_a_class_of_another_package_is_not_imported(tmp_path: Path) -> None:
    given = layers.Input((4,))
    path = save(tf_keras.Model(given, layers.ReLU(6.0)(given)), tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][1]["module"] = "antigravity"
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert "is of the class antigravity.ReLU, code of Python" in refusal(path)
    assert "antigravity" not in sys.modules


def test_keras_2_is_not_imported_for_other_models(tmp_path: Path) -> None:
    networks.cnn().save(tmp_path / "model.keras")
    program = (
        "import sys; from injecttf2.models import loading; "
        f"loading.resolve({str(tmp_path / 'model.keras')!r}); print('tf_keras' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.stdout.strip() == "False", ended.stderr


WILD = {
    "mlperf_tiny_resnet8_keras2.h5": ((32, 32, 3), 10, False),
    "mlperf_tiny_mobilenetv1_keras2.h5": ((96, 96, 3), 2, True),
    "mlperf_tiny_autoencoder_keras2.h5": ((640,), 640, False),
    "fer_mini_xception_keras2.hdf5": ((64, 64, 1), 7, False),
}
"""Shapes, how many outputs, and whether Keras 2 is needed."""


@pytest.mark.parametrize("file", WILD)
def test_files_that_others_published_are_injected_as_keras_2_has_it(
    file: str, shared_data: Path
) -> None:
    shape, count, keras_2 = WILD[file]
    path = shared_data / "models" / "wild" / file
    portable, model = loading.resolve(str(path))
    assert isinstance(portable, FileModel)
    assert portable.keras_2 is keras_2
    original = tf_keras.models.load_model(path, compile=False)
    data = [np.random.default_rng(2).uniform(0, 1, (8, *shape)).astype(np.float32)]
    engine = Engine(ModelGraph.of(Keras2Model(original), tuple(data)), dataset(data, count))
    own = Engine(ModelGraph.of(model, tuple(data)), dataset(data, count))
    np.testing.assert_allclose(own.golden.outputs, engine.golden.outputs, rtol=1e-3, atol=1e-5)
    chosen = [one for one in original.layers if one.weights][1::8]
    for layer in chosen:
        split = halves(tf_keras, original, data, layer.output, original.output)
        check_outputs(engine, layer.name, split)
        variables = {one.name.rpartition("/")[2].partition(":")[0]: one for one in layer.weights}
        check_weights(
            engine, layer.name, variables, lambda: np.array(original(data[0], training=False))
        )


def test_the_mobilenet_of_mlperf_tells_what_it_takes(shared_data: Path) -> None:
    path = shared_data / "models" / "wild" / "mlperf_tiny_mobilenetv1_keras2.h5"
    graph = ModelGraph.of(loading.resolve(str(path))[1])
    assert (len(graph.layers), graph.output_shape) == (85, (2,))
    assert {info.reason for info in graph.layers} == {None}


def test_a_published_file_of_keras_3_goes_to_keras_3(shared_data: Path) -> None:
    path = shared_data / "models" / "wild" / "sleepecg_bigru.keras"
    portable, model = loading.resolve(str(path))
    assert isinstance(portable, FileModel)
    assert not portable.keras_2
    assert isinstance(model, keras.Model)
    data = np.random.default_rng(2).normal(size=(8, 20, 36)).astype(np.float32)
    graph = ModelGraph.of(model, data)
    function, names = graph.function_of(graph.output.name)
    batch = np.resize(data, (graph.samples, *data.shape[1:]))
    assert names == (graph.trace.inputs[0].name,)
    (found,) = function((tf.constant(batch),))
    np.testing.assert_allclose(found[: len(data)], model(data, training=False), rtol=1e-4)
