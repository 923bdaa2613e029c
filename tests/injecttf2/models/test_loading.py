"""Loading models by reference, sending them to other processes, and telling them apart."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from injecttf2.errors import ModelError
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.models import builtin, digits_cnn, loading
from injecttf2.models.digest import model_digest
from injecttf2.models.model_files import CODE_HINT
from tests import networks

ROOT = Path(__file__).parents[3]

MODULE = """
import keras
import helpers_of_mine


def build():
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(helpers_of_mine.WIDTH, name="random"),
            helpers_of_mine.Half(name="half"),
            keras.layers.Lambda(lambda x, by=2.0: x if by in {"a", "b", "c"} else x * by),
            keras.layers.Dense(3, activation=helpers_of_mine.bent),
            keras.layers.Dense(2),
        ]
    )
"""

HELPERS = """
import keras

WIDTH = 3
SLOPE = 0.5


def bent(x):
    return keras.ops.maximum(x, scaled(x))


def scaled(x):
    return x * SLOPE


class Half(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 0.5
"""


@pytest.fixture
def imports_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in [name for name in sys.modules if name.endswith("_of_mine")]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, imports_are_forgotten: None) -> Path:
    """A campaign's folder with a module that builds a model, and a neighbour of that module."""
    (tmp_path / "networks_of_mine.py").write_text(MODULE)
    (tmp_path / "helpers_of_mine.py").write_text(HELPERS)
    return tmp_path


def saved(model: keras.Model, path: Path) -> str:
    model.save(path)
    return str(path)


def outputs(model: keras.Model) -> list[Any]:
    inputs = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    result: list[Any] = model(inputs, training=False).numpy().tolist()
    return result


def refusal(reference: str, *arguments: Any, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        loading.resolve(reference, *arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
def test_a_file_gives_the_model_and_its_bytes(suffix: str, tmp_path: Path) -> None:
    original = networks.cnn()
    weights = [array.tobytes() for array in original.get_weights()]
    path = tmp_path / f"model{suffix}"
    saved(original, tmp_path / "model.h5" if suffix == ".hdf5" else path)
    if suffix == ".hdf5":
        (tmp_path / "model.h5").rename(path)
    portable, model = loading.resolve(str(path))
    assert portable == loading.FileModel(path.read_bytes(), suffix, str(path))
    assert [array.tobytes() for array in model.get_weights()] == weights
    assert [info.layer for info in ModelGraph.of(model).layers][:2] == ["image", "conv"]
    assert model_digest(portable.build()) == model_digest(model) == model_digest(original)


def test_the_example_from_disk_is_the_one_of_the_original(shared_data: Path) -> None:
    path = shared_data / "models" / "mnist_model.h5"
    _, model = loading.resolve(str(path))
    assert model.count_params() == 804_554
    assert model_digest(model) == model_digest(loading.load_file(path))


def test_a_builtin_model_comes_from_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keras.utils.set_random_seed(8)
    kept = digits_cnn.example_cnn()  # untrained: training is tested with the digits
    monkeypatch.setattr(digits_cnn, "_train", lambda: kept)
    digits_cnn.trained_model()
    monkeypatch.setattr(digits_cnn, "_train", lambda: pytest.fail("it was kept"))
    portable, model = loading.resolve("builtin:digits_cnn")
    assert (portable.name, portable.suffix) == ("builtin:digits_cnn", ".keras")  # type: ignore[union-attr]
    assert model_digest(model) == model_digest(kept)
    assert model_digest(portable.build()) == model_digest(kept)


def test_an_unknown_builtin_model_names_the_nearest() -> None:
    assert refusal("builtin:digit_cnn") == (
        "there is no builtin model 'digit_cnn'; did you mean 'digits_cnn'?\n"
        "  expected builtin: and one of digits_cnn"
    )


APPLICATION: dict[str, Any] = {"weights": "random", "input_shape": (32, 32, 3), "classes": 4}


def test_an_application_with_random_weights_is_the_same_every_time(tmp_path: Path) -> None:
    portable, model = loading.resolve("keras.applications:MobileNet", **APPLICATION)
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 3), (None, 4))
    assert portable.name == "keras.applications:MobileNet"
    digest = model_digest(model)
    np.random.seed(5)  # noqa: NPY002 - the state that must not matter
    again = loading.resolve("keras.applications:MobileNet", **APPLICATION)[1]
    assert model_digest(again) == digest
    assert model_digest(portable.build()) == digest

    weights = tmp_path / "mine.weights.h5"
    again.set_weights([array + 1 for array in again.get_weights()])
    again.save_weights(weights)
    given = {**APPLICATION, "weights": str(weights)}
    from_file = loading.resolve("keras.applications:MobileNet", **given)[1]
    assert model_digest(from_file) == model_digest(again) != digest


def test_an_unknown_application_names_the_nearest() -> None:
    assert refusal("keras.applications:MobilNet", **APPLICATION).startswith(
        "keras.applications:MobilNet: keras.applications has no model 'MobilNet'; "
        "did you mean 'MobileNet' or "
    )
    message = refusal("keras.applications:mobilenet", **APPLICATION)  # a module, not a model
    assert "keras.applications has no model 'mobilenet'" in message


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("MobileNet", {"input_shape": (8, 8, 3)}, "Input size must be at least 32x32"),
        ("MobileNet", {"weights": "missing.weights.h5"}, "The `weights` argument should be either"),
    ],
)
def test_an_application_that_cannot_be_built_says_why(
    name: str, options: dict[str, Any], reason: str
) -> None:
    message = refusal(f"keras.applications:{name}", **{**APPLICATION, **options})
    first, hint = message.splitlines()
    assert first.startswith(f"keras.applications:{name}: it cannot be built: {reason}")
    assert hint == (
        "  where the ImageNet weights cannot be downloaded, give `weights: FILE` or "
        "`weights: random` beside `source` in the campaign file's `model:` mapping"
    )


def test_weights_that_cannot_be_downloaded_are_the_users_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # refuses at once
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    message = refusal("keras.applications:MobileNet")
    assert message.startswith(
        "keras.applications:MobileNet: it cannot be built: URL fetch failure on https://"
    )
    assert "`weights: random`" in message
    assert capsys.readouterr().out == ""  # where results go as JSON


def test_a_function_beside_the_campaign_gives_a_model(folder: Path) -> None:
    portable, model = loading.resolve("networks_of_mine:build", folder)
    assert [info.layer for info in ModelGraph.of(model).layers] == [
        "input_layer",
        "random",
        "half",
        "lambda",
        "dense",
        "dense_1",
    ]
    assert isinstance(portable, loading.FunctionModel)
    assert portable.name == "networks_of_mine:build"
    assert portable.weights is not None
    assert [array.shape for array in portable.weights] == [
        (4, 3),
        (3,),
        (3, 3),
        (3,),
        (3, 2),
        (2,),
    ]
    expected, digest = outputs(model), model_digest(model)
    again = portable.build()
    assert (outputs(again), model_digest(again)) == (expected, digest)


def test_a_function_that_initialises_at_random_gives_another_model_each_time(folder: Path) -> None:
    digests = {model_digest(loading.resolve("networks_of_mine:build", folder)[1]) for _ in range(2)}
    assert len(digests) == 2


def test_a_function_on_the_python_path_gives_a_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    portable, model = loading.resolve("networks_of_mine:build")
    assert model_digest(portable.build()) == model_digest(model)


FUNCTIONS = """
import keras

from injecttf2.errors import ModelError

WORD = "word"

def nothing(): pass
def raises(): raise RuntimeError("no weights here\\nsecond line")
def silent(): raise ValueError
def leaves(): raise SystemExit(0)
def printing():
    print("building")
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
def user_error(): raise ModelError("the disk is not mounted", hint="mount it")
def layer(): return keras.layers.Dense(2)
"""


EXPECTED = (
    "expected a keras.Model, a tf_keras.Model, a tf.Module or a concrete function of TensorFlow"
)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", f"the function returned NoneType; {EXPECTED}"),
        ("layer", f"the function returned Dense; {EXPECTED}"),
        ("raises", "the function raised RuntimeError: no weights here"),
        ("silent", "the function raised ValueError: ValueError"),
        ("leaves", "the function raised SystemExit: 0"),
        ("missing", "the module 'functions_of_mine' has no function 'missing'"),
        ("WORD", "the module 'functions_of_mine' has no function 'WORD'"),
    ],
)
def test_a_function_that_gives_no_model_is_refused(
    function: str, message: str, tmp_path: Path, imports_are_forgotten: None
) -> None:
    (tmp_path / "functions_of_mine.py").write_text(FUNCTIONS)
    reference = f"functions_of_mine:{function}"
    assert refusal(reference, tmp_path) == f"{reference}: {message}"


def test_a_functions_own_user_error_reaches_the_user(
    tmp_path: Path, imports_are_forgotten: None
) -> None:
    (tmp_path / "functions_of_mine.py").write_text(FUNCTIONS)
    message = refusal("functions_of_mine:user_error", tmp_path)
    assert message == "the disk is not mounted\n  mount it"


def test_what_a_function_prints_stays_off_the_standard_output(
    tmp_path: Path, imports_are_forgotten: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "functions_of_mine.py").write_text(FUNCTIONS)
    loading.resolve("functions_of_mine:printing", tmp_path)
    assert capsys.readouterr() == ("", "building\n")


@pytest.mark.parametrize("reference", ["mnist", "model.pb", "folder/model", ""])
def test_an_unknown_reference_names_what_is_known(reference: str) -> None:
    assert refusal(reference) == (
        f"unknown model {str(Path(reference))!r}\n"
        "  expected a .keras or .h5 file, a SavedModel folder, builtin:NAME, "
        "keras.applications:NAME, or package.module:function"
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".H5"])
def test_a_missing_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    assert refusal(str(path)) == (
        f"{path}: the model file cannot be read: No such file or directory"
    )


@pytest.mark.parametrize("share", [0, 0.9])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_broken_file_is_refused_by_its_own_name(
    suffix: str, share: float, tmp_path: Path
) -> None:
    path = tmp_path / f"model{suffix}"
    networks.cnn().save(path)
    whole = path.read_bytes()
    path.write_bytes(b"nonsense" * 9 if share == 0 else whole[: int(len(whole) * share)])
    assert refusal(str(path)) == f"{path}: it is not a {suffix} file, or its end is missing"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_model_file_is_refused(suffix: str, tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")
    layer = layers.Lambda(lambda inputs: (__import__("pathlib").Path(mark).touch(), inputs)[1])
    reference = saved(keras.Sequential([keras.Input((4,)), layer]), tmp_path / f"model{suffix}")
    Path(mark).unlink()
    message = refusal(reference)
    assert message.startswith(
        f"{reference}: Keras cannot load it: Requested the deserialization of a `Lambda` layer"
    )
    assert message.endswith(f"\n  {CODE_HINT}")
    assert not Path(mark).exists()


@pytest.mark.parametrize(
    ("suffix", "reason"),
    [(".keras", "Could not locate class 'Half'."), (".h5", "Unknown layer: 'Half'.")],
)
def test_a_layer_of_the_users_own_in_a_file_points_to_functions(
    suffix: str, reason: str, folder: Path
) -> None:
    _, model = loading.resolve("networks_of_mine:build", folder)
    reference = saved(model, folder / f"model{suffix}")
    message = refusal(reference)
    assert message.startswith(f"{reference}: Keras cannot load it: {reason}")
    assert len(message.splitlines()) == 2
    assert message.endswith(f"\n  {CODE_HINT}")


IN_ANOTHER_PROCESS = """
import json, pickle, sys
import numpy as np
from injecttf2 import device
from injecttf2.models import loading
from injecttf2.models.digest import model_digest
device.configure(threads=1, gpu=False)
inputs = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
found = {}
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        model = pickle.load(file).build()
    found[name] = [model_digest(model)]
    if model.input_shape == (None, 4):
        found[name].append(model(inputs, training=False).numpy().tolist())
again = loading.resolve(
    "keras.applications:MobileNet", weights="random", input_shape=(32, 32, 3), classes=4
)
found["application"] = [model_digest(again[1])]
print(json.dumps(found))
"""


def test_a_model_is_the_same_in_another_process_that_does_not_have_its_module(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    function, built = loading.resolve("networks_of_mine:build", folder)
    expected: dict[str, Any] = {"function": [model_digest(built), outputs(built)]}
    (elsewhere / "function").write_bytes(pickle.dumps(function))
    for suffix in (".keras", ".h5"):
        file, model = loading.resolve(saved(networks.residual(), folder / f"model{suffix}"))
        expected[suffix] = [model_digest(model)]
        (elsewhere / suffix).write_bytes(pickle.dumps(file))
    expected["application"] = [
        model_digest(loading.resolve("keras.applications:MobileNet", **APPLICATION)[1])
    ]
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, "function", ".keras", ".h5"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"},
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
    assert expected[".keras"] == expected[".h5"]


def test_a_relative_folder_makes_a_model_that_travels(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = list(sys.path)
    monkeypatch.chdir(folder)
    portable, model = loading.resolve("networks_of_mine:build", Path())
    digest = model_digest(model)
    for name in ("networks_of_mine", "helpers_of_mine"):
        del sys.modules[name]
    monkeypatch.setattr(sys, "path", path)
    monkeypatch.chdir(folder.parent)
    assert model_digest(pickle.loads(pickle.dumps(portable)).build()) == digest  # noqa: S301


def test_a_full_disk_for_temporary_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(builtin.BUILTIN, "digits_cnn", digits_cnn.example_cnn)
    monkeypatch.setattr(keras.Model, "save", full)
    message = refusal("builtin:digits_cnn")
    assert message.startswith(
        "builtin:digits_cnn: it cannot be put into a temporary file: No space left on device\n"
    )
    assert message.endswith("; set TMPDIR to one with room")
