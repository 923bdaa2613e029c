"""The campaign file: its schema, and loading it.

What leaves it is checked, complete and frozen: single values have become lists, ranges numbers,
and paths absolute. A validator raises ``ValueError`` with what it expected; ``yaml_source`` adds
what was received, and where.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from injecttf2.errors import CampaignError
from injecttf2.fields import (
    HIGHEST_BIT,
    Finite,
    Positive,
    Probability,
    Repetitions,
    Schema,
    Seed,
    Text,
    Whole,
)
from injecttf2.levels import DENSE, LEVELS, Level
from injecttf2.original_config import InjectLayer, is_original, parse_config
from injecttf2.yaml_source import YamlSource, read_yaml
from orchestrator import sources

BIT_NAMES = ("random", "sign", "exponent", "mantissa")
"""Sets of bits that one cell draws from, as YAML calls them."""

ORIGINAL_KEYS = {
    "layers": ("layer_name",),
    "bits": ("bit_number", "bit_flip_type"),
    "probabilities": ("probability",),
}
"""Keys of the original InjectTF2 that say what a key of a grid says, the first that is given."""


def _as_list(value: object, expected: str = "at least one entry: the grid is empty") -> object:
    """Return a list, where one value stands for a list of one."""
    if not isinstance(value, list | tuple):
        return [value]
    if not value:
        raise ValueError(expected)
    return value


def _channels(value: object) -> object:
    return None if value is None else _as_list(value, "one number, or one a channel")


def _shape(value: object) -> object:
    sizes = value if isinstance(value, list | tuple) else []
    if value is None or (len(sizes) == 3 and all(type(size) is int and size > 0 for size in sizes)):
        return value
    raise ValueError("a list of three whole numbers above 0: height, width, channels")


def _bit_item(value: object) -> tuple[int | str, ...]:
    """Return the bits that one entry of ``bits`` stands for."""
    if isinstance(value, str) and value in BIT_NAMES:
        return (value,)
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    ends = re.fullmatch(r"(0|[1-9][0-9]?)(?:\s*-\s*(0|[1-9][0-9]?))?", text)
    bits = range(int(ends[1]), int(ends[2] or ends[1]) + 1) if ends else range(0)
    if not bits or bits[-1] > HIGHEST_BIT:
        raise ValueError(
            f"a bit from 0 to {HIGHEST_BIT}, a range such as 23-30 with the lower bit first, or "
            f"one of {', '.join(BIT_NAMES)}"
        )
    return tuple(bits)


_BIT_ITEMS = TypeAdapter(list[Annotated[Any, BeforeValidator(_bit_item)]])


def _bits(value: object) -> tuple[int | str, ...]:
    items = _BIT_ITEMS.validate_python(_as_list(value))
    return tuple(dict.fromkeys(chain.from_iterable(items)))


def _folder_name(value: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", value) or len(value.encode()) > 200:
        raise ValueError(
            "a folder's name of letters, digits, '_', '-' and '.', the last two inside"
        )
    return value


Name = Annotated[str, AfterValidator(_folder_name)]


def _local(value: str | None) -> str | None:
    if value is not None and "://" in value:
        raise ValueError("a file on this machine: only local files are supported")
    return value


LOCAL = AfterValidator(_local)


def _levels(value: object) -> object:
    return () if value in (DENSE, [], ()) else _as_list(value)


class LayerType(Schema):
    """The layers of one Keras class."""

    type: Text = Field(description="Name of a Keras layer class, for example Conv2D; required.")


LayerSelector = str | LayerType
"""``all``, a layer's address, a pattern as in :mod:`fnmatch`, or the layers of a type."""


def _selector(value: object) -> LayerSelector:
    if isinstance(value, dict | LayerType):
        return LayerType.model_validate(value)
    if not isinstance(value, str) or not value:
        raise ValueError("all, a layer's name, a pattern such as conv*, or {type: Conv2D}")
    return value


class GridSpec(Schema):
    """A grid of cells: every layer with every bit and every probability."""

    layers: Annotated[
        tuple[Annotated[LayerSelector, BeforeValidator(_selector)], ...],
        BeforeValidator(_as_list, json_schema_input_type=LayerSelector | list[LayerSelector]),
    ] = Field(
        ("all",), description="all (default), names, patterns such as conv*, or {type: Conv2D}."
    )
    target: Literal["outputs"] = Field("outputs", description="What is hit: outputs, the default.")
    fault: Literal["bit_flip"] = Field(
        "bit_flip", description="What happens: bit_flip, the default."
    )
    bits: Annotated[
        tuple[int | str, ...],
        BeforeValidator(_bits, json_schema_input_type=int | str | list[int | str]),
    ] = Field(
        description=f"Bits to flip, 0 the least significant: 0 to {HIGHEST_BIT}, ranges such as "
        f"23-30, or {', '.join(BIT_NAMES)}, drawn for every site; one or a list, required."
    )
    probabilities: Annotated[
        tuple[Probability, ...],
        BeforeValidator(_as_list, json_schema_input_type=Probability | list[Probability]),
        AfterValidator(lambda values: tuple(dict.fromkeys(values))),
    ] = Field(
        description="Chance that a sample is hit, 0 to 1; one or a list, one cell each; required."
    )


class _SourceSpec(Schema):
    source: Annotated[Text, LOCAL]

    def located(self, folder: Path) -> Self:
        """Return the same with file paths that are relative to ``folder`` made absolute."""
        return self.model_copy(update={"source": sources.located(self.source, folder)})


def _from_text(value: object) -> object:
    if isinstance(value, str):
        return {"source": value}
    if value is None or isinstance(value, dict | _SourceSpec):
        return value
    raise ValueError("text, or a mapping with the key 'source'")


class ModelSpec(_SourceSpec):
    """Where the model comes from."""

    source: Annotated[Text, LOCAL] = Field(
        description="A .keras or .h5 file, builtin:NAME, keras.applications:NAME, or "
        "package.module:function, a function that returns a Keras model; required."
    )
    weights: Annotated[Text | None, LOCAL] = Field(
        None, description="Only for keras.applications: imagenet (default), random or a file."
    )
    input_shape: Annotated[tuple[int, int, int] | None, BeforeValidator(_shape)] = Field(
        None, description="Only for keras.applications: height, width, channels; default its own."
    )
    classes: Whole | None = Field(
        None, description="Only for keras.applications: classes, 1 or more; default its own."
    )

    @field_validator("weights", "input_shape", "classes")
    @classmethod
    def _only_for_applications(cls, value: object, info: ValidationInfo) -> object:
        source = info.data.get("source", sources.APPLICATIONS)
        if value is not None and not source.startswith(sources.APPLICATIONS):
            raise ValueError(f"no such key: only a source {sources.APPLICATIONS}NAME takes it")
        return value

    def located(self, folder: Path) -> Self:
        """Return the same with file paths that are relative to ``folder`` made absolute."""
        weights = self.weights
        if weights not in (None, "imagenet", "random"):
            weights = sources.absolute(weights, folder)
        return super().located(folder).model_copy(update={"weights": weights})


class DatasetSpec(_SourceSpec):
    """Where the data comes from, and how it becomes the model's input."""

    source: Annotated[Text, LOCAL] = Field(
        description="Name of a builtin data set, an .npz file, or "
        "package.module:function, a function that returns inputs and labels; required."
    )
    samples: Whole | None = Field(None, description="Samples to use, from the first; default all.")
    scale: Positive | None = Field(
        None, description="Factor on the raw values; default 1/255 for uint8 data, else 1."
    )
    mean: Annotated[
        tuple[Finite, ...] | None,
        BeforeValidator(_channels, json_schema_input_type=Finite | list[Finite] | None),
    ] = Field(None, description="Subtracted after scaling: one number, or one a channel.")
    std: Annotated[
        tuple[Positive, ...] | None,
        BeforeValidator(_channels, json_schema_input_type=Positive | list[Positive] | None),
    ] = Field(None, description="Divided by after that, above 0: one number, or one a channel.")


class Campaign(Schema):
    """A campaign: a model, a data set and the grid of faults to inject; equal if they agree."""

    name: Name = Field("campaign", description="Name of the run directory; default the file's.")
    model: Annotated[
        ModelSpec | None, BeforeValidator(_from_text, json_schema_input_type=str | ModelSpec | None)
    ] = Field(None, description="The model: its source, or a mapping; --model replaces it.")
    dataset: Annotated[
        DatasetSpec | None,
        BeforeValidator(_from_text, json_schema_input_type=str | DatasetSpec | None),
    ] = Field(None, description="The data set: its source, or a mapping; --dataset replaces it.")
    seed: Seed = Field(0, description="Seed of all draws, from 0 to 2^63 - 1; default 0.")
    repetitions: Repetitions = Field(
        1, description="Trials of every cell, from 1 to 2^31 - 1; default 1."
    )
    grid: Annotated[
        tuple[GridSpec, ...],
        BeforeValidator(_as_list, json_schema_input_type=GridSpec | list[GridSpec]),
    ] = Field(description="What to inject: a grid, or a list of grids (their union); required.")
    levels: Annotated[
        tuple[Level, ...],
        BeforeValidator(_levels, json_schema_input_type=str | list[str]),
    ] = Field(
        LEVELS,
        description="How samples are evaluated faster, without any change of outcomes: drop, "
        "difference, or dense for neither; default both.",
    )
    record: Literal["none", "injections"] = Field(
        "none", description="Rows beside the trials: none, or injections, one a site; default none."
    )
    _source: YamlSource | None = PrivateAttr(None)
    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Campaign) and self.resolved() == other.resolved()

    @property
    def folder(self) -> Path:
        """The folder of the campaign file, where ``package.module:function`` is looked up."""
        return self._folder

    def place(self, *path: str | int) -> str | None:
        """Return ``file:line:column`` of the value at ``path``; None where no file was read."""
        return self._source.place(_as_written(self._source, path)) if self._source else None

    def resolved(self) -> dict[str, Any]:
        """Return JSON values that load back to an equal campaign; what is not set is left out."""
        return self.model_dump(mode="json", exclude_none=True)


SCHEMAS: dict[str, type[BaseModel]] = {
    "model": ModelSpec,
    "dataset": DatasetSpec,
    "grid": GridSpec,
    "layers": LayerType,
}
"""The schema of each mapping of a campaign, by the key that holds it."""


def load_campaign(path: Path, *, model: str | None = None, dataset: str | None = None) -> Campaign:
    """Read a campaign file.

    Args:
        path: The YAML file: a campaign, or a configuration of the original InjectTF2.
        model: Replaces the file's model; a path is relative to the current folder.
        dataset: Replaces the file's data set; a path is relative to the current folder.

    Raises:
        CampaignError: The file cannot be read or is wrong, or no model or data set is given.
    """
    campaign = _parsed(source := read_yaml(path))
    specs = {
        "model": _given(ModelSpec, "--model", model)
        or (campaign.model and campaign.model.located(source.folder)),
        "dataset": _given(DatasetSpec, "--dataset", dataset)
        or (campaign.dataset and campaign.dataset.located(source.folder)),
    }
    if missing := [key for key, spec in specs.items() if spec is None]:
        raise CampaignError(
            f"received no {' and no '.join(missing)}, expected a model and a dataset",
            place=str(path),
            hint="; ".join(f"add `{key}:` to the file, or pass --{key}" for key in missing),
        )
    campaign = campaign.model_copy(update=specs)
    campaign._source = source
    campaign._folder = source.folder
    return campaign


def reload_campaign(
    resolved: Mapping[str, Any],
    folder: Path,
    *,
    model: str | None = None,
    dataset: str | None = None,
) -> Campaign:
    """Return the campaign that a run directory recorded.

    Args:
        resolved: What :meth:`Campaign.resolved` returned.
        folder: The folder that its file lay in.
        model: Replaces the model; a path is relative to the current folder.
        dataset: Replaces the data set; a path is relative to the current folder.
    """
    campaign = Campaign.model_validate(dict(resolved))
    specs = {
        "model": _given(ModelSpec, "--model", model) or campaign.model,
        "dataset": _given(DatasetSpec, "--dataset", dataset) or campaign.dataset,
    }
    campaign = campaign.model_copy(update=specs)
    campaign._folder = folder
    return campaign


def locate(source: str) -> str:
    """Return a source given on the command line: a path relative to the current folder resolved.

    Raises:
        CampaignError: It is on another machine.
    """
    return sources.located(sources.checked(source, None), Path.cwd())


def _parsed(source: YamlSource) -> Campaign:
    name = re.sub(r"[^\w.-]+", "-", source.file.stem)[:50].strip(".-") or "campaign"
    if is_original(source):
        return _from_original(parse_config(source), name)
    try:
        return Campaign.model_validate({"name": name, **source.data})
    except ValidationError as error:
        raise source.error(error, {**SCHEMAS, "": Campaign}) from None


def _from_original(section: InjectLayer, name: str) -> Campaign:
    """Return the campaign that does what the original did, once."""
    # A pattern that matches this name alone, even if the layer is called "all".
    layer = "[a]ll" if section.layer_name == "all" else glob.escape(section.layer_name)
    bits = ("random",) if section.fault.bit is None else (section.fault.bit,)
    grid = GridSpec(layers=(layer,), bits=bits, probabilities=(section.probability,))
    return Campaign(name=name, grid=(grid,))


def _as_written(source: YamlSource, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return where a file says what stands at ``path`` of a campaign."""
    if not is_original(source) or path[:1] != ("grid",):
        return path
    keys = ORIGINAL_KEYS.get(str(path[2]), ()) if len(path) > 2 else ()
    given = [key for key in keys if source.data["inject_layer"].get(key) is not None]
    return ("inject_layer", *given[:1])


def _given(kind: type[_SourceSpec], option: str, source: str | None) -> _SourceSpec | None:
    """Return what the command line names, its path absolute."""
    if source == "":
        raise CampaignError("received an empty text, expected a source", place=option)
    if source is None:
        return None
    return kind(source=sources.checked(source, option)).located(Path.cwd())
