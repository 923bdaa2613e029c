"""Where the model and the data of a campaign come from, as its file says it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from injecttf2.config.applications import APPLICATIONS
from injecttf2.config.fields import Finite, Positive, Schema, Text, TrueOrFalse, Whole, as_list
from injecttf2.config.parameters import plain
from injecttf2.datasets import Images, Interpolation
from injecttf2.user_code.references import is_function
from orchestrator.campaign import paths


def _channels(value: object) -> object:
    return None if value is None else as_list(value, "one number, or one a channel")


def _fraction(value: object) -> object:
    """Return the number that a text such as 1/255 stands for; what is none as it is."""
    above, slash, below = value.partition("/") if isinstance(value, str) else ("", "", "")
    try:
        return float(above) / float(below) if slash else value
    except (ValueError, ZeroDivisionError):
        return value


def _class_names(value: object) -> object:
    return None if value is None else as_list(value, "the names of two subfolders at least")


def _sizes(*names: str) -> BeforeValidator:
    """Return a validator of a list with one size for each of the ``names``."""

    def check(value: object) -> object:
        sizes = value if isinstance(value, list | tuple) else []
        whole = all(type(size) is int and size > 0 for size in sizes)
        if value is None or (len(sizes) == len(names) and whole):
            return value
        count = {2: "two", 3: "three"}[len(names)]
        raise ValueError(f"a list of {count} whole numbers above 0: {', '.join(names)}")

    return BeforeValidator(check)


def _function(value: str | None) -> str | None:
    if value is not None and not is_function(value):
        raise ValueError(f"package.module:function, or {APPLICATIONS}NAME")
    return value


def _local(value: str | None) -> str | None:
    if value is not None and "://" in value:
        raise ValueError("a file on this machine: only local files are supported")
    if value is not None and "\0" in value:
        raise ValueError("a path without the character U+0000")
    return value


LOCAL = AfterValidator(_local)


class SourceSpec(Schema):
    """Something that a source names."""

    source: Annotated[Text, LOCAL]

    def located(self, folder_of: Callable[[str], Path]) -> Self:
        """Return the same with relative file paths made absolute.

        Args:
            folder_of: Returns the folder that the path at a key is relative to.
        """
        source = paths.located(self.source, folder_of("source"))
        return self.model_copy(update={"source": source})


class ModelSpec(SourceSpec):
    """Where the model comes from."""

    source: Annotated[Text, LOCAL] = Field(
        description="A .keras or .h5 file, a SavedModel folder, builtin:NAME, "
        "keras.applications:NAME, or package.module:function, a function that returns a model; "
        "required."
    )
    weights: Annotated[Text | None, LOCAL] = Field(
        None, description="Only for keras.applications: imagenet (default), random or a file."
    )
    input_shape: Annotated[tuple[int, int, int] | None, _sizes("height", "width", "channels")] = (
        Field(
            None,
            description="Only for keras.applications: height, width, channels; default its own.",
        )
    )
    classes: Whole | None = Field(
        None, description="Only for keras.applications: classes, 1 or more; default its own."
    )

    signature: Text | None = Field(
        None,
        description="Only for a SavedModel folder: which of its signatures; default "
        "serving_default, or the only one.",
    )

    @field_validator("weights", "input_shape", "classes")
    @classmethod
    def _only_for_applications(cls, value: object, info: ValidationInfo) -> object:
        source = info.data.get("source", APPLICATIONS)
        if value is not None and not source.startswith(APPLICATIONS):
            raise ValueError(f"nothing: only a source {APPLICATIONS}NAME takes this key")
        return value

    @field_validator("signature")
    @classmethod
    def _only_for_saved_models(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and not paths.may_be_folder(info.data.get("source", "")):
            raise ValueError("nothing: only a SavedModel folder takes this key")
        return value

    def located(self, folder_of: Callable[[str], Path]) -> Self:
        """Return the same with relative file paths made absolute."""
        weights = self.weights
        if weights not in (None, "imagenet", "random"):
            weights = paths.absolute(weights, folder_of("weights"))
        return super().located(folder_of).model_copy(update={"weights": weights})


class DatasetSpec(SourceSpec):
    """Where the data comes from, and how it becomes the model's input."""

    source: Annotated[Text, LOCAL] = Field(
        description="Name of a builtin data set, an .npz file, a folder of images, or "
        "package.module:function, a function that returns inputs and labels; required."
    )
    samples: Whole | None = Field(
        None,
        description="Samples to use, from the first, or evenly from a folder; default all.",
    )
    scale: Annotated[
        Positive | None,
        BeforeValidator(_fraction, json_schema_input_type=Positive | str | None),
    ] = Field(
        None,
        description="Factor on the raw values, also as 1/255; default 1/255 for pixels that the "
        "model does not scale by itself and that have no preprocess, else 1.",
    )
    mean: Annotated[
        tuple[Finite, ...] | None,
        BeforeValidator(_channels, json_schema_input_type=Finite | list[Finite] | None),
    ] = Field(None, description="Subtracted after scaling: one number, or one a channel.")
    std: Annotated[
        tuple[Positive, ...] | None,
        BeforeValidator(_channels, json_schema_input_type=Positive | list[Positive] | None),
    ] = Field(None, description="Divided by after that, above 0: one number, or one a channel.")
    preprocess: Annotated[Text | None, AfterValidator(_function)] = Field(
        None,
        description="What happens to the raw values before: package.module:function, or "
        "keras.applications:NAME for that model's preprocess_input.",
    )
    size: Annotated[tuple[int, int] | None, _sizes("height", "width")] = Field(
        None, description="Only for a folder of images: height, width; default the model's."
    )
    interpolation: Interpolation | None = Field(
        None, description="Only for a folder of images: how they are resized; default bilinear."
    )
    crop_to_aspect_ratio: TrueOrFalse | None = Field(
        None,
        description="Only for a folder of images: true cuts off what false, the default, distorts.",
    )
    class_names: Annotated[
        tuple[Text, ...] | None,
        BeforeValidator(_class_names, json_schema_input_type=Text | list[Text] | None),
    ] = Field(
        None,
        description="Only for a folder of images: its subfolders in the order of the model's "
        "classes; default all in alphanumeric order.",
    )

    @field_validator("size", "interpolation", "crop_to_aspect_ratio", "class_names")
    @classmethod
    def _only_for_folders(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and not paths.may_be_folder(info.data.get("source", "")):
            raise ValueError("nothing: only a folder of images takes this key")
        return value

    @property
    def images(self) -> Images:
        """How images of a folder are read."""
        default = Images()
        return Images(
            size=self.size,
            interpolation=self.interpolation or default.interpolation,
            crop_to_aspect_ratio=bool(self.crop_to_aspect_ratio),
            class_names=self.class_names,
        )


IN_SCRIPTS = {
    "model": "a model of Keras or TensorFlow, or a function without arguments that returns one",
    "dataset": "(inputs, labels), a dict of arrays x and y, a tf.data.Dataset, or a function "
    "without arguments that returns one of these",
}
"""What else may be given from Python, by the key of the campaign."""


SOURCE = "text, or a mapping with the key 'source'"
"""What may be given in a file."""


def from_text(value: object, info: ValidationInfo) -> object:
    """Return a mapping, where a text stands for one with a source alone."""
    if isinstance(value, str):
        return {"source": value}
    if value is None or isinstance(value, dict | SourceSpec):
        return value
    try:
        plain(value)
    except ValueError:  # no file could say so
        raise ValueError(expected_in_scripts(str(info.field_name))) from None
    raise ValueError(SOURCE)


def expected_in_scripts(key: str) -> str:
    """Return what the model or the data of a campaign may be in Python."""
    return f"{SOURCE}; or {IN_SCRIPTS[key]}"
