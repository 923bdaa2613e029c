"""Loading labelled data by reference, and the digest that tells them apart."""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from injecttf2 import bits, datasets
from injecttf2.datasets import Arrays, Dataset, ModelInput, Preparation, Raw, digits
from injecttf2.errors import DatasetError
from tests.builders import install_package

Load = Callable[..., Any]


def prepare(
    inputs: Any, labels: Any, *, shape: tuple[int | None, ...], dtype: str = "float32", **how: Any
) -> Dataset:
    one = ModelInput("image", shape, bits.numpy_dtype(dtype))
    return datasets.prepare(Raw(inputs, labels), Preparation(**how), [one])


def load(reference: str, folder: Path | None = None) -> tuple[Arrays, Arrays]:
    raw = datasets.load(reference, [ModelInput("image", (2, 2))], folder=folder)
    return raw.inputs, raw.labels


def refusal(call: Load, *arguments: Any, **options: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("names", [("x_test", "y_test"), ("x", "y")])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file_holds_inputs_and_labels(
    names: tuple[str, str], save: Load, tmp_path: Path
) -> None:
    inputs = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    save(tmp_path / "data.npz", **{names[0]: inputs, names[1]: np.asarray([2, 0, 1])})
    loaded = load(str(tmp_path / "data.npz"))
    assert loaded[0].dtype == np.uint8
    assert loaded[0].tolist() == inputs.tolist()
    assert loaded[1].tolist() == [2, 0, 1]


def test_the_test_part_is_taken_where_a_file_holds_both_parts(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "data.npz",
        x=np.zeros((1, 2)),
        y=np.asarray([0]),
        x_train=np.zeros((1, 2)),
        y_train=np.asarray([0]),
        x_test=np.ones((2, 2)),
        y_test=np.asarray([3, 4]),
    )
    inputs, labels = load(str(tmp_path / "data.npz"))
    assert (inputs.tolist(), labels.tolist()) == ([[1.0, 1.0], [1.0, 1.0]], [3, 4])


def test_mnist_is_read_from_a_copy_of_its_file(shared_data: Path) -> None:
    loaded = load(str(shared_data / "data" / "mnist.npz"))
    prepared = prepare(*loaded, shape=(28, 28, 1))
    assert (prepared.inputs.shape, prepared.inputs.dtype.name) == ((10_000, 28, 28, 1), "float32")
    assert (prepared.inputs.min(), prepared.inputs.max()) == (0.0, 1.0)
    assert np.bincount(prepared.labels).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (("x_test",), "x_test"),
        (("x_test", "y_train"), "x_test, y_train"),
        (("x", "y_test"), "x, y_test"),
        ((), "(none)"),
    ],
)
def test_a_file_without_labels_is_refused(
    names: tuple[str, ...], listed: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.npz"
    arrays: dict[str, Any] = dict.fromkeys(names, np.zeros(2))
    np.savez(path, **arrays)
    assert refusal(load, str(path)) == (
        f"{path}: it holds the arrays {listed}; "
        "expected inputs and labels named x_test and y_test, or x and y\n"
        "  write it with numpy.savez(path, x=inputs, y=labels); the labels of an autoencoder are "
        "its inputs"
    )


HINT = (
    "write it with numpy.savez(path, x=inputs, y=labels); pickled objects are refused, such as "
    "sparse matrices (take .toarray()), frames of several dtypes, and sequences of several lengths "
    "(keras.utils.pad_sequences fills them up: take the value that the model masks)"
)


@pytest.mark.parametrize("name", ["x", "y"])
def test_pickled_objects_in_a_file_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    arrays: dict[str, Any] = {"x": np.zeros((2, 2)), "y": np.zeros(2)}
    np.savez(path, **{**arrays, name: np.asarray([{}, None], object)})
    assert refusal(load, str(path)) == (
        f"{path}: it cannot be read as .npz: "
        f"Object arrays cannot be loaded when allow_pickle=False\n  {HINT}"
    )


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("form", ["pickle", "object array"])
def test_nothing_in_a_file_is_run(form: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "data.npz", tmp_path / "mark"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Trap(mark)))
    else:
        np.savez(path, x=np.asarray([Trap(mark)], object), y=np.zeros(1))
    assert "it cannot be read as .npz" in refusal(load, str(path))
    assert not mark.exists()


def damaged(kind: str, path: Path) -> bytes:
    np.savez_compressed(path, x=np.arange(4000) % 7, y=np.zeros(4000))
    whole = path.read_bytes()
    if kind == "array":
        np.save(path.with_suffix(".npy"), np.zeros(3))
        return path.with_suffix(".npy").read_bytes()
    middle = whole.index(b"x.npy") + 60
    return {
        "empty": b"",
        "junk": b"nonsense" * 9,
        "cut short": whole[: len(whole) // 2],
        "garbled": whole[:middle] + bytes(8) + whole[middle + 8 :],
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "junk", "cut short", "garbled", "array"])
def test_a_broken_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(damaged(kind, path))
    message = refusal(load, str(path))
    assert message.startswith(f"{path}: it cannot be read as .npz: ")
    if kind == "empty":
        assert message.endswith("this is an empty file\n  copy or download it again")
    else:
        assert message.endswith(f"\n  {HINT}")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    assert refusal(load, str(path)) == f"{path}: there is no such data file"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "data.npz").mkdir()
    assert "it cannot be read as .npz: [Errno 21] Is a directory" in refusal(
        load, str(tmp_path / "data.npz")
    )


def test_an_unknown_name_names_the_nearest_and_the_other_ways() -> None:
    assert refusal(load, "minst") == (
        "unknown data set 'minst'; did you mean 'mnist'?\n"
        "  expected one of digits, mnist, fashion_mnist, cifar10, cifar100, an .npz file, a folder "
        "of images, or package.module:function"
    )
    assert refusal(load, "data.csv").startswith("unknown data set 'data.csv'\n")


def test_data_of_installed_packages_are_entry_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data_of_mine.py").write_text(
        "import numpy as np\ndef few():\n    return np.zeros((2, 28, 28, 1)), np.arange(2)\n"
    )
    install_package(tmp_path, "[injecttf2.datasets]\nfew = data_of_mine:few\n")
    monkeypatch.syspath_prepend(tmp_path)
    inputs, labels = load("few")
    assert (inputs.shape, labels.tolist()) == ((2, 28, 28, 1), [0, 1])
    assert "did you mean 'few'?" in refusal(load, "fews")


def test_digits_are_the_bundled_ones() -> None:
    inputs, labels = load("digits")
    expected = digits.test_data()
    assert inputs.tobytes() == expected[0].tobytes()
    assert labels.tobytes() == expected[1].tobytes()


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for Keras, and a proxy that refuses at once in place of a network."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    # KERAS_HOME is read only once, when Keras is imported.
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    assert keras.src.backend.config.keras_home() == str(tmp_path)
    return tmp_path


def test_mnist_that_cannot_be_downloaded_names_the_two_ways_out(
    no_network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(load, "mnist") == (
        "the data set 'mnist' is not in Keras' cache and cannot be downloaded\n"
        "  give the path of a copy of mnist.npz in place of the name, "
        "or use the bundled data set `digits`, which needs no download"
    )
    assert capsys.readouterr().out == ""  # where results go as JSON


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "cifar100"])
def test_other_data_sets_that_cannot_be_downloaded_name_a_way_out(
    name: str, no_network: Path
) -> None:
    assert refusal(load, name) == (
        f"the data set '{name}' is not in Keras' cache and cannot be downloaded\n"
        "  give an .npz file with x_test and y_test instead"
    )


@pytest.fixture
def data_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module of functions that return data, or something else."""
    (tmp_path / "data_of_mine.py").write_text(
        """
import numpy as np

X, Y = np.ones((2, 3)), np.asarray([1, 0])

def good(): return X, Y
def lists(): return X.tolist(), Y.tolist()
def both_parts(): return (X, Y), (X[:1], Y[:1])
def ragged(): return [[1.0], [2.0, 3.0]], Y
def as_list(): return [X, Y]
def printing():
    print("loading")
    return X, Y
def leaves(): raise SystemExit(0)
def three(): return X, Y, Y
def nothing(): pass
def no_labels(): return X, None
def mapping(): return {"x": X}, Y
def raises(): raise KeyError("x_test")
def user_error():
    from injecttf2.errors import DatasetError
    raise DatasetError("the disk is not mounted", hint="mount it")
"""
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("data_of_mine", None)


PAIR = "expected (inputs, labels) or a tf.data.Dataset of them"


@pytest.mark.parametrize("function", ["good", "lists", "as_list", "printing"])
def test_a_function_beside_the_campaign_returns_data(function: str, data_module: Path) -> None:
    inputs, labels = load(f"data_of_mine:{function}", data_module)
    assert (inputs.tolist(), labels.tolist()) == ([[1.0] * 3] * 2, [1, 0])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("three", f"the function returned tuple; {PAIR}"),
        ("nothing", f"the function returned NoneType; {PAIR}"),
        ("raises", "the function raised KeyError: 'x_test'"),
        ("leaves", "the function raised SystemExit: 0"),
        ("missing", "the module 'data_of_mine' has no function 'missing'"),
        ("X", "the module 'data_of_mine' has no function 'X'"),
    ],
)
def test_a_function_that_returns_no_data_is_refused(
    function: str, message: str, data_module: Path
) -> None:
    reference = f"data_of_mine:{function}"
    assert refusal(load, reference, data_module) == f"{reference}: {message}"


def test_what_a_function_prints_stays_off_the_standard_output(
    data_module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load("data_of_mine:printing", data_module)
    assert capsys.readouterr() == ("", "loading\n")


def test_a_function_that_returns_no_arrays_is_refused(data_module: Path) -> None:
    said = refusal(load, "data_of_mine:ragged", data_module)
    assert said.startswith(
        "data_of_mine:ragged: the function returned something else than arrays, (inputs, labels): "
    )
    assert "\n  resize images; fill sequences up to one length, with the value that the " in said


def test_a_training_part_beside_the_test_part_is_refused(data_module: Path) -> None:
    loaded = load("data_of_mine:both_parts", data_module)
    assert refusal(prepare, *loaded, shape=(3,)) == (
        "there are 2 and 2 inputs and 1 and 1 labels; "
        "expected as many labels as inputs, and at least one\n"
        "  a tuple or dict holds one array for each input or output of the model"
    )


def test_a_functions_own_user_error_reaches_the_user(data_module: Path) -> None:
    message = refusal(load, "data_of_mine:user_error", data_module)
    assert message == "the disk is not mounted\n  mount it"


def test_no_labels_are_refused(data_module: Path) -> None:
    loaded = load("data_of_mine:no_labels", data_module)
    assert "there are 2 inputs and 1 labels; expected" in refusal(prepare, *loaded, shape=(3,))


def test_the_digest_never_changes() -> None:
    dataset = Dataset(np.arange(6, dtype=np.float32).reshape(2, 3), np.asarray([1, 0]))
    assert dataset.digest == "651e85bdd472b2ebd98a2433b6d74c8f"
    content = (
        b"float32(2, 3)" + struct.pack("<6f", *range(6)) + b"int64(2,)" + struct.pack("<2q", 1, 0)
    )
    assert dataset.digest == hashlib.blake2b(content, digest_size=16).hexdigest()


def test_the_digest_follows_content_dtype_and_shape() -> None:
    inputs, labels = np.zeros((4, 6), np.float32), np.asarray([0, 1, 2, 3])
    changed = inputs.copy()
    changed[3, 5] = -0.0
    digests = [
        Dataset(inputs, labels).digest,
        Dataset(changed, labels).digest,  # one bit
        Dataset(inputs, labels[::-1]).digest,
        Dataset(inputs.view(np.int32), labels).digest,
        Dataset(inputs.astype(np.float64)[:, :3], labels).digest,  # the same bytes
        Dataset(inputs.reshape(4, 2, 3), labels).digest,
        Dataset(inputs.reshape(4, 3, 2), labels).digest,
        Dataset(inputs[:3], labels[:3]).digest,
        Dataset(inputs.astype(bits.numpy_dtype("bfloat16")), labels).digest,
        Dataset(inputs.astype(np.float16), labels).digest,
    ]
    assert len(set(digests)) == len(digests)
    assert all(re.fullmatch("[0-9a-f]{32}", digest) for digest in digests)


def test_the_digest_does_not_depend_on_how_the_arrays_lie_in_memory() -> None:
    data = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    labels = np.asarray([0, 1, 2, 3])
    expected = prepare(data, labels, shape=(3, 2)).digest
    layouts = [
        np.asfortranarray(data),
        data.astype(">f4"),
        data.astype("<f4"),
        np.repeat(data, 2, axis=0)[::2],
        data[::-1].copy()[::-1],
    ]
    for layout in layouts:
        assert prepare(layout, labels.astype(">i4"), shape=(3, 2)).digest == expected
        assert Dataset(np.asarray(layout, np.float32), labels).digest == expected
