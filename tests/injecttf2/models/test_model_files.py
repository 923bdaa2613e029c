"""Model files by what they hold, and what is said of everything else that is given as one."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from injecttf2 import datasets
from injecttf2.errors import DatasetError
from injecttf2.models import loading
from injecttf2.models.digest import model_digest
from injecttf2.models.model_files import HINT, WEIGHTS_HINT
from tests import networks
from tests.refusals import refusal


@pytest.mark.parametrize(
    ("name", "saved_as", "suffix"),
    [
        ("M.H5", ".h5", ".h5"),
        ("M.KERAS", ".keras", ".keras"),
        ("M.Hdf5", ".h5", ".hdf5"),
        ("model.h5", ".keras", ".keras"),
        ("model.keras", ".h5", ".h5"),
        ("model", ".keras", ".keras"),
        ("model.hdf", ".h5", ".h5"),
    ],
)
def test_the_content_tells_the_format(
    name: str, saved_as: str, suffix: str, tmp_path: Path
) -> None:
    original = networks.cnn()
    original.save(tmp_path / f"saved{saved_as}")
    path = (tmp_path / f"saved{saved_as}").rename(tmp_path / name)
    portable, model = loading.resolve(str(path))
    assert isinstance(portable, loading.FileModel)
    assert (portable.suffix, portable.name) == (suffix, str(path))
    assert model_digest(portable.build()) == model_digest(model) == model_digest(original)


def small() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return stream.getvalue()


def arrays() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=np.zeros(2))
    return stream.getvalue()


def lite() -> bytes:
    function = tf.function(lambda x: x + 1.0, input_signature=[tf.TensorSpec((1,))])
    concrete = function.get_concrete_function()
    content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    return content


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 132735\n"

OTHERS: list[tuple[str, Callable[[], bytes], str, str]] = [
    ("model.tflite", lite, "a TensorFlow Lite model", HINT),
    ("model.keras", lite, "a TensorFlow Lite model", HINT),
    ("model.h5", lambda: b"", "an empty file", "copy or download it again"),
    (
        "model.h5",
        lambda: POINTER,
        "a pointer of Git LFS, not the file itself",
        "run `git lfs pull`, which puts the file in its place",
    ),
    (
        "model.keras",
        lambda: b"\n<!DOCTYPE html><html>404",
        "a web page",
        "download the file itself: the page is about it, or an error",
    ),
    (
        "model.pkl",
        lambda: pickle.dumps({"a": 1}),
        "a pickle of Python, which is not opened: it could run code",
        HINT,
    ),
    ("model.pt", lambda: zipped("archive/data.pkl"), "a PyTorch file", HINT),
    ("model.pth", lambda: pickle.dumps(1), "a PyTorch file", HINT),
    ("model.keras", arrays, "an .npz file, arrays of NumPy", HINT),
    ("model.zip", lambda: zipped("a/model.keras"), "a zip archive of other files", "unpack it"),
    ("model.h5.gz", lambda: gzip.compress(b"x"), "compressed by gzip", "unpack it"),
    ("saved_model.pb", lambda: b"\x08\x01\x12", "a graph of TensorFlow (.pb)", HINT),
    ("model.onnx", lambda: b"\x08\x07\x12", "an ONNX model", HINT),
    (
        "model.json",
        lambda: json.dumps({"module": "keras", "class_name": "Sequential"}).encode(),
        "the configuration of a model, without its weights",
        HINT,
    ),
    ("notes.txt", lambda: b"some notes", "no model file", HINT),
]


@pytest.mark.parametrize(("name", "make", "what", "hint"), OTHERS)
def test_what_is_no_model_file_is_told(
    name: str, make: Callable[[], bytes], what: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(make())
    assert refusal(tmp_path / name) == f"this is {what}\n  {hint}"


def test_weights_without_a_model_are_told(tmp_path: Path) -> None:
    small().save_weights(tmp_path / "mine.weights.h5")
    assert refusal(tmp_path / "mine.weights.h5") == (
        f"this is an HDF5 file without a model: weights alone, or other data\n  {WEIGHTS_HINT}"
    )


def unpacked(folder: Path) -> None:
    small().save(folder.with_suffix(".keras"))
    with zipfile.ZipFile(folder.with_suffix(".keras")) as archive:
        archive.extractall(folder)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (unpacked, "a .keras file that was unpacked"),
        (lambda folder: folder.mkdir(), "a folder, which holds no model"),
    ],
)
@pytest.mark.parametrize("name", ["model", "model.h5"])
def test_folders_are_told(
    name: str, make: Callable[[Path], None], what: str, tmp_path: Path
) -> None:
    make(tmp_path / name)
    assert refusal(tmp_path / name) == f"this is {what}\n  {HINT}"


def data_refusal(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        datasets.load(str(path), [datasets.ModelInput("image", (2,))])
    return str(caught.value).removeprefix(f"{path}: ")


def test_data_files_that_are_something_else_are_told(tmp_path: Path) -> None:
    path = tmp_path / "DATA.NPZ"
    path.write_bytes(POINTER)
    assert data_refusal(path) == (
        "it cannot be read as .npz: this is a pointer of Git LFS, not the file itself\n"
        "  run `git lfs pull`, which puts the file in its place"
    )
    path.write_bytes(arrays())
    assert data_refusal(path).startswith("it holds the arrays x; expected inputs and labels")
