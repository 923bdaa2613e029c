"""Settings of Keras that hold for a whole process: no number depends on them unseen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import keras
import pytest

from injecttf2.models import digits_cnn, loading
from injecttf2.models.digest import model_digest
from injecttf2.models.keras_settings import DEFAULTS, KerasSettings, kept

HALF = KerasSettings("float16", 1e-3, "channels_first")
MIXED = KerasSettings(
    dtype_policy='{"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}, '
    '"module": "keras", "registered_name": null}'
)

MODULE = """
import keras

keras.config.set_dtype_policy("mixed_bfloat16")


def model():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])


def double():
    keras.config.set_floatx("float64")
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
"""


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    with kept():
        yield


def test_settings_of_a_new_process_are_the_defaults() -> None:
    assert KerasSettings.current() == DEFAULTS


@pytest.mark.parametrize("settings", [DEFAULTS, HALF, MIXED, KerasSettings("float64")])
def test_what_is_applied_is_current(settings: KerasSettings) -> None:
    settings.apply()
    assert KerasSettings.current() == settings


def test_kept_settings_come_back_after_an_error() -> None:
    MIXED.apply()

    def fail() -> None:
        with kept():
            HALF.apply()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert KerasSettings.current() == MIXED


@pytest.mark.parametrize("settings", [HALF, MIXED])
def test_a_builtin_model_is_trained_and_kept_with_the_defaults_whatever_holds(
    settings: KerasSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(digits_cnn, "EPOCHS", 1)
    settings.apply()
    made = digits_cnn.trained_model()
    assert KerasSettings.current() == settings
    assert {str(weight.dtype) for weight in made.weights} == {"float32"}
    assert made.output_shape == (None, 10)
    assert made.get_layer("conv2d").data_format == "channels_last"
    DEFAULTS.apply()
    monkeypatch.setattr(digits_cnn, "_train", lambda: pytest.fail("it was kept"))
    assert model_digest(digits_cnn.trained_model()) == model_digest(made)


@pytest.mark.parametrize("settings", [HALF, MIXED])
def test_models_of_ours_and_of_kerass_do_not_depend_on_the_settings(
    settings: KerasSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits_cnn, "trained_model", digits_cnn.example_cnn)
    found = []
    for holding in (DEFAULTS, settings):
        holding.apply()
        portable, model = loading.resolve(
            "keras.applications:MobileNet", weights="random", input_shape=(32, 32, 3), classes=3
        )
        assert portable.settings == KerasSettings.current() == DEFAULTS
        found.append(model_digest(model))
        settings.apply()
        assert model_digest(portable.build()) == found[-1]
    assert found[0] == found[1]


def test_a_file_is_built_elsewhere_with_the_settings_that_it_was_found_with(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(tmp_path / "m.keras")
    HALF.apply()
    portable, model = loading.resolve(str(tmp_path / "m.keras"))
    told = model_digest(model)
    sent = cloudpickle.dumps(portable)
    DEFAULTS.apply()
    assert model_digest(cloudpickle.loads(sent).build()) == told
    assert KerasSettings.current() == HALF


@pytest.mark.parametrize(("name", "dtype"), [("model", "bfloat16"), ("double", "float64")])
def test_settings_that_a_module_makes_travel_with_its_model(
    name: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = MODULE if name == "model" else MODULE.replace("keras.config.set_dtype", "# ")
    (tmp_path / f"{name}_module.py").write_text(module)
    portable, model = loading.resolve(f"{name}_module:{name}", tmp_path)
    assert model.get_layer("d").compute_dtype == dtype
    told = model_digest(model)
    sent = cloudpickle.dumps(portable)
    monkeypatch.delitem(sys.modules, f"{name}_module", raising=False)
    DEFAULTS.apply()
    built = cloudpickle.loads(sent).build()
    assert built.get_layer("d").compute_dtype == dtype
    assert model_digest(built) == told


def test_a_model_under_other_settings_has_another_digest() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    told = set()
    for settings in (DEFAULTS, HALF, MIXED, KerasSettings(epsilon=1e-5)):
        settings.apply()
        told.add(model_digest(model))
    assert len(told) == 4
