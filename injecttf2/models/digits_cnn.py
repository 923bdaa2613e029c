"""A model that needs no download: the CNN of InjectTF2's MNIST example, trained on the digits."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs

from injecttf2.datasets.digits import training_data
from injecttf2.errors import ModelError

EPOCHS = 8


def example_cnn() -> Any:
    """Return the CNN of InjectTF2's MNIST example, untrained: 28x28x1 in, 10 classes out."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="input_layer"),
            layers.Conv2D(32, (3, 3), padding="same", activation="relu", name="conv2d"),
            layers.MaxPooling2D(name="max_pooling2d"),
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="dense"),
            layers.Dropout(0.2, name="dropout"),
            layers.Dense(10, name="dense_1"),
            layers.Softmax(name="softmax"),
        ]
    )


def trained_model() -> Any:
    """Return the CNN trained on the digits, from the user's cache folder or trained now.

    It is the same whatever Keras' settings are.

    Raises:
        ModelError: The cache folder cannot be written to.
    """
    from injecttf2.models.keras_settings import defaults

    folder = _folder()
    with defaults():
        for path in kept_files():
            if (model := _kept(path)) is not None:
                return model
        aside = folder / f".{os.getpid()}-digits_cnn.keras"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            model = _train()
            model.save(aside)
            aside.replace(folder / f"digits_cnn-2-{_digest(aside)}.keras")
        except OSError as error:
            raise ModelError(
                f"the trained model cannot be kept: {error.strerror or error}",
                place=str(folder),
                hint="set XDG_CACHE_HOME to a folder that can be written to",
            ) from error
    return model


def kept_files() -> list[Path]:
    """Return the files of the cache folder whose content is what their names say."""
    found = []
    for path in sorted(_folder().glob("digits_cnn-2-*.keras")):
        with contextlib.suppress(OSError):
            found += [path] if path.stem.endswith(f"-{_digest(path)}") else []
    return found


def _folder() -> Path:
    return Path(platformdirs.user_cache_dir("injecttf2"))


def _kept(path: Path) -> Any:
    """Return the model in a file; None where it is another one."""
    import keras

    with contextlib.suppress(Exception):  # whatever is wrong with the file, it is made again
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        configs = [[one.get_config() for one in m.layers] for m in (model, example_cnn())]
        if configs[0] == configs[1]:
            return model
    return None


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _train() -> Any:
    import keras

    keras.utils.set_random_seed(2026)
    images, labels = training_data()
    model = example_cnn()
    model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy())
    with _in_full():
        model.fit(images, labels, epochs=EPOCHS, batch_size=32, verbose=0)
    return model


@contextlib.contextmanager
def _in_full() -> Iterator[None]:
    """Have Keras train all epochs, whatever limit is set for this process."""
    import keras

    limits = keras.config.max_epochs(), keras.config.max_steps_per_epoch()
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)
    try:
        yield
    finally:
        keras.config.set_max_epochs(limits[0])
        keras.config.set_max_steps_per_epoch(limits[1])
