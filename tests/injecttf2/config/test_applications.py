"""The names of the models of ``keras.applications``, without loading Keras."""

from __future__ import annotations

import keras

from injecttf2.config.applications import names


def test_the_source_of_keras_tells_the_names_of_its_models() -> None:
    known = {key for key, one in vars(keras.applications).items() if callable(one)}
    assert names() == {name for name in known if name[0].isupper()}
