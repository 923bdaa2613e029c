"""The settings of Keras that hold for a whole process, and decide what a model becomes.

They come from a user's ``keras.json``, or from calls of ``keras.config``. Layers that do not say
otherwise take their dtype and data format from them when they are built, so a model is built, and
run, with the same ones in every process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras
from keras.src.backend.common import global_state


@dataclass(frozen=True)
class KerasSettings:
    """Settings of Keras, as they are by default.

    Args:
        floatx: dtype of what does not say its own.
        epsilon: What keeps divisors from zero.
        image_data_format: ``channels_last`` or ``channels_first``.
        dtype_policy: Keras' configuration of the policy, as JSON; None for that of ``floatx``.
    """

    floatx: str = "float32"
    epsilon: float = 1e-7
    image_data_format: str = "channels_last"
    dtype_policy: str | None = None

    @classmethod
    def current(cls) -> KerasSettings:
        """Return those of this process."""
        floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
        plain = type(policy) is keras.dtype_policies.DTypePolicy and policy.name == floatx
        return cls(
            floatx=floatx,
            epsilon=float(keras.config.epsilon()),
            image_data_format=keras.config.image_data_format(),
            dtype_policy=None
            if plain
            else json.dumps(keras.dtype_policies.serialize(policy), sort_keys=True),
        )

    def apply(self) -> None:
        """Make them those of this process."""
        keras.config.set_floatx(self.floatx)
        keras.config.set_epsilon(self.epsilon)
        keras.config.set_image_data_format(self.image_data_format)
        policy = None  # not that of floatx: it is to follow where a user's function sets that
        if self.dtype_policy is not None:
            policy = keras.dtype_policies.deserialize(json.loads(self.dtype_policy))
        global_state.set_global_attribute("dtype_policy", policy)


DEFAULTS = KerasSettings()
"""What Keras has without a ``keras.json``; what models of Keras' own and of ours are built with."""


@contextmanager
def kept() -> Iterator[None]:
    """Give this process its own settings back, whatever a model needs in between."""
    before = KerasSettings.current()
    try:
        yield
    finally:
        before.apply()


@contextmanager
def defaults_undone() -> Iterator[None]:
    """Give this process its own settings back where a model had the defaults in their place.

    What a module of the user's sets meanwhile stays, as with any import: it is imported only once.
    """
    before = KerasSettings.current()
    try:
        yield
    finally:
        if KerasSettings.current() == DEFAULTS:
            before.apply()


@contextmanager
def defaults() -> Iterator[None]:
    """Let the defaults hold, and then what held before."""
    with kept():
        DEFAULTS.apply()
        yield
