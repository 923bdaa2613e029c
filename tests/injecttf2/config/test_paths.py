"""File names with letters and marks, in either of Unicode's forms."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from injecttf2 import datasets
from injecttf2.config.paths import on_disk, run_on_disk
from injecttf2.datasets import Images, ModelInput

NAME = "Prüfung-Ä"
FORMS = ["NFC", "NFD"]


def form(name: str, text: str) -> str:
    return unicodedata.normalize(name, text)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", FORMS)
@pytest.mark.parametrize("there", FORMS)
def test_a_name_is_found_in_either_form(given: str, there: str, tmp_path: Path) -> None:
    folder = tmp_path / form(there, NAME)
    folder.mkdir()
    (folder / form(there, "größe.npz")).touch()
    asked = tmp_path / form(given, NAME) / form(given, "größe.npz")
    assert on_disk(asked).exists()
    assert on_disk(asked).name == form(there, "größe.npz")
    new = tmp_path / form(given, NAME) / "new"
    assert on_disk(new) == folder / "new"
    assert run_on_disk(str(tmp_path / form(given, NAME))) == str(folder)


def test_a_name_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in FORMS:
        (tmp_path / form(name, NAME)).touch()
    for name in FORMS:
        assert on_disk(tmp_path / form(name, NAME)).name == form(name, NAME)


def test_a_relative_name_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(form("NFD", NAME)).mkdir()
    assert on_disk(Path("..") / tmp_path.name / form("NFC", NAME)).exists()
    assert run_on_disk(form("NFC", NAME)) == form("NFD", NAME)
    assert run_on_disk("s3://bucket/ü") == "s3://bucket/ü"
    assert run_on_disk("") == ""


def test_data_are_found(tmp_path: Path) -> None:
    path = tmp_path / form("NFD", "größe.npz")
    np.savez(path, x=np.ones((2, 3)), y=np.zeros(2))
    raw = datasets.load(str(tmp_path / form("NFC", "größe.npz")), [ModelInput("x", (3,))])
    assert np.shape(raw.inputs) == (2, 3)


def test_subfolders_of_classes_are_found(tmp_path: Path) -> None:
    import tensorflow as tf

    for name in ("äpfel", "öl"):
        (tmp_path / form("NFD", name)).mkdir()
        image = tf.io.encode_png(np.full((2, 2, 1), 9, np.uint8)).numpy()
        (tmp_path / form("NFD", name) / "1.png").write_bytes(image)
    names = (form("NFC", "öl"), form("NFC", "äpfel"))
    images = Images(class_names=names)
    raw = datasets.load(str(tmp_path), [ModelInput("image", (2, 2, 1))], images=images)
    assert np.asarray(raw.labels).tolist() == [0, 1]
