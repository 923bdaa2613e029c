"""The bundled data and the model that is trained on them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from injecttf2.datasets import digits
from injecttf2.errors import ModelError
from injecttf2.models import digits_cnn
from injecttf2.models.digest import model_digest

CACHE = "injecttf2"


def test_the_test_data_are_500_digits_in_the_form_of_mnist() -> None:
    images, labels = digits.test_data()
    assert (images.shape, images.dtype.name) == ((500, 28, 28, 1), "float32")
    assert (labels.shape, labels.dtype.name) == ((500,), "int64")
    assert (images.min(), images.max()) == (0.0, 1.0)
    assert labels[:12].tolist() == [4, 8, 8, 3, 9, 0, 6, 3, 9, 8, 4, 5]
    assert np.bincount(labels).tolist() == [50, 51, 49, 51, 50, 51, 50, 50, 48, 50]


def test_the_same_digits_are_held_out_every_time() -> None:
    first, second = digits.test_data(), digits.test_data()
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1].tobytes() == second[1].tobytes()


def test_no_digit_is_trained_on_and_tested_on() -> None:
    tested = {image.tobytes() for image in digits.test_data()[0]}
    trained = {image.tobytes() for image in digits.training_data()[0]}
    assert (len(tested), len(trained), len(tested & trained)) == (500, 1297, 0)


def test_scaling_keeps_the_corners_of_each_image() -> None:
    images = np.concatenate([digits.training_data()[0], digits.test_data()[0]])[..., 0]
    small = (load_digits().images / 16).astype(np.float32)
    rows, columns = [0, 0, -1, -1], [0, -1, 0, -1]
    scaled = images[:, rows, columns]
    assert sorted(scaled.tolist()) == sorted(small[:, rows, columns].tolist())


def test_scaling_is_bilinear() -> None:
    images = np.concatenate([digits.training_data()[0], digits.test_data()[0]])[..., 0]
    places = np.linspace(0, 7, 28)
    weights = np.asarray([np.interp(places, np.arange(8), row) for row in np.eye(8)])
    expected = weights.T @ (load_digits().images / 16) @ weights
    np.testing.assert_allclose(
        np.sort((images.astype(np.float64) ** 2).sum(axis=(1, 2))),
        np.sort((expected**2).sum(axis=(1, 2))),
        rtol=1e-6,
    )


def test_the_model_is_the_cnn_of_the_original_example() -> None:
    keras.Input((3,))  # another model's input must not change the names
    model = digits_cnn.example_cnn()
    assert [layer.name for layer in model._functional.layers] == [
        "input_layer",
        "conv2d",
        "max_pooling2d",
        "flatten",
        "dense",
        "dropout",
        "dense_1",
        "softmax",
    ]
    assert model.count_params() == 804_554
    assert (model.input_shape, model.output_shape) == ((None, 28, 28, 1), (None, 10))


def test_the_model_is_trained_once_and_kept_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    trained = digits_cnn.trained_model()
    (cached,) = tmp_path.rglob("*.keras")
    digest = hashlib.blake2b(cached.read_bytes(), digest_size=16).hexdigest()
    assert cached.relative_to(tmp_path) == Path(CACHE) / f"digits_cnn-2-{digest}.keras"
    images, labels = digits.test_data()
    right = trained.predict(images, verbose=0).argmax(axis=1) == labels
    assert right.mean() > 0.95

    def train_again() -> None:
        raise AssertionError("the model in the cache was not used")

    monkeypatch.setattr(digits_cnn, "_train", train_again)
    assert model_digest(digits_cnn.trained_model()) == model_digest(trained)


@pytest.mark.parametrize("damage", ["cut short", "a flipped bit", "another model"])
def test_a_model_in_the_cache_that_is_not_what_was_kept_is_trained_again(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[keras.Model] = []

    def train() -> keras.Model:
        made.append(digits_cnn.example_cnn())
        return made[-1]

    monkeypatch.setattr(digits_cnn, "_train", train)
    digits_cnn.trained_model()
    (cached,) = (tmp_path / CACHE).iterdir()
    content = bytearray(cached.read_bytes())
    if damage == "cut short":
        cached.write_bytes(content[:1000])
    elif damage == "a flipped bit":
        content[len(content) // 2] ^= 1  # in the weights: Keras loads it
        cached.write_bytes(content)
    else:
        other = tmp_path / "other.keras"
        keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()]).save(other)
        digest = hashlib.blake2b(other.read_bytes(), digest_size=16).hexdigest()
        cached.unlink()
        other.rename(cached.with_name(f"digits_cnn-2-{digest}.keras"))
    again = digits_cnn.trained_model()
    assert len(made) == 2
    assert model_digest(again) == model_digest(made[1])
    assert model_digest(digits_cnn.trained_model()) == model_digest(again)
    assert len(made) == 2


def test_a_cache_folder_that_cannot_be_written_to_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ModelError) as caught:
        digits_cnn.trained_model()
    assert caught.value.place == str(tmp_path / "cache" / CACHE)
    assert str(caught.value).endswith(
        ": the trained model cannot be kept: Not a directory\n"
        "  set XDG_CACHE_HOME to a folder that can be written to"
    )


def test_a_limit_that_is_set_for_the_process_does_not_cut_the_training_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(digits_cnn, "EPOCHS", 2)
    whole = model_digest(digits_cnn._train())
    keras.config.set_max_epochs(1)
    keras.config.set_max_steps_per_epoch(3)
    try:
        assert model_digest(digits_cnn._train()) == whole
        assert (keras.config.max_epochs(), keras.config.max_steps_per_epoch()) == (1, 3)
    finally:
        keras.config.set_max_epochs(None)
        keras.config.set_max_steps_per_epoch(None)
