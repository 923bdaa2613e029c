"""The campaign file: its schema, and loading it.

What leaves it is checked, complete and frozen: single values have become lists, ranges numbers,
and paths absolute. A validator raises ``ValueError`` with what it expected; ``problems`` adds what
was received, and where.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from injecttf2.compat.config import InjectLayer, is_original, parse_config
from injecttf2.config.fields import (
    Repetitions,
    Schema,
    Seed,
    Text,
    TrueOrFalse,
    as_list,
)
from injecttf2.config.paths import composed, on_disk
from injecttf2.config.plain_values import plain_values
from injecttf2.config.yaml_file import YamlSource
from injecttf2.errors import CampaignError
from injecttf2.levels import DENSE, LEVELS, Level
from orchestrator.campaign import in_memory, paths, shown
from orchestrator.campaign.component_spec import ComponentList, JudgeSpec, judge_mapping, typed_list
from orchestrator.campaign.grid import RATES, GridSpec, every_site
from orchestrator.campaign.layering import read_layers
from orchestrator.campaign.precision import Precision
from orchestrator.campaign.sources import DatasetSpec, ModelSpec, SourceSpec, from_text

ORIGINAL_KEYS = {
    "layers": ("layer_name",),
    "bits": ("bit_number", "bit_flip_type"),
    "probabilities": ("probability",),
}
"""Keys of the original InjectTF2 that say what a key of a grid says, the first that is given."""


def _allows(exhaustive: object) -> bool:
    """Return whether `exhaustive` is given and makes sense; its own check says what does not."""
    try:
        return every_site(exhaustive) is not None
    except ValueError:
        return False


def _exhaustive(grid: object, exhaustive: object) -> object:
    """Return a grid, as it is written, that hits every site if it has no rate and no list."""
    if not isinstance(grid, dict) or {*RATES, "sites"} & {*grid}:
        return grid
    return {**grid, "exhaustive": exhaustive}


def _folder_name(value: str) -> str:
    value = composed(value)
    if not re.fullmatch(r"\w[\w.-]*", value) or len(value.encode()) > 200:
        raise ValueError(
            "a folder's name of letters, digits, '_', '-' and '.', the last two inside"
        )
    return value


Name = Annotated[str, AfterValidator(_folder_name)]


def _pools(info: ValidationInfo) -> bool:
    precision = info.data.get("precision")
    return precision is not None and precision.pools


def _levels(value: object) -> object:
    return () if value in (DENSE, [], ()) else as_list(value)


class Campaign(Schema):
    """A campaign: a model, a data set and the grid of faults to inject; equal if they agree."""

    extends: Text | None = Field(
        None,
        description="Another campaign file, whose keys hold here too but for name and what this "
        "file says; mappings are merged key by key, and null takes a key away.",
    )
    name: Name = Field("campaign", description="Name of the run directory; default the file's.")
    model: Annotated[
        ModelSpec | None, BeforeValidator(from_text, json_schema_input_type=str | ModelSpec | None)
    ] = Field(None, description="The model: its source, or a mapping; --model replaces it.")
    dataset: Annotated[
        DatasetSpec | None,
        BeforeValidator(from_text, json_schema_input_type=str | DatasetSpec | None),
    ] = Field(None, description="The data set: its source, or a mapping; --dataset replaces it.")
    seed: Seed = Field(0, description="Seed of all draws, from 0 to 2^63 - 1; default 0.")
    repetitions: Repetitions = Field(
        1, description="Trials of every cell, from 1 to 2^31 - 1; default 1."
    )
    precision: Precision | None = Field(
        None,
        description="In place of repetitions: every cell, layer or the network goes on until its "
        "rate is known this well.",
    )
    exhaustive: Annotated[bool | int | None, BeforeValidator(every_site)] = Field(
        None,
        description="What grids without a rate of their own do: true hits every site once; see the "
        "same key of a grid.",
    )
    paired: TrueOrFalse = Field(
        False,
        description="Whether cells that differ in the fault, its bit or the probability share "
        "their sites, so that differences between them are seen sooner; default false.",
    )
    grid: Annotated[
        tuple[GridSpec, ...],
        BeforeValidator(as_list, json_schema_input_type=GridSpec | list[GridSpec]),
    ] = Field(description="What to inject: a grid, or a list of grids (their union); required.")
    judge: Annotated[
        JudgeSpec,
        BeforeValidator(judge_mapping, json_schema_input_type=str | dict[str, Any]),
    ] = Field(
        JudgeSpec(type="top1"),
        description="What counts as a decision: top1 (default), topk, threshold, per_position, "
        "regression, or package.module:Class; a name, or a mapping of type, parameters, output, "
        "which one is judged, and outputs, probabilities or logits.",
    )
    metrics: Annotated[ComponentList, typed_list("metric", may_be_empty=True)] = Field(
        (),
        description="Columns metric_NAME, means over all samples: top5_accuracy, confidence, "
        "mean_absolute_error, mean_squared_error, or package.module:Class; one or a list.",
    )
    criteria: Annotated[ComponentList, typed_list("criterion", may_be_empty=True)] = Field(
        (),
        description="Columns sdc_NAME, counts of injected samples: confidence_10 (the top-1 "
        "probability moved by more than 10 %), top5 (the class left the top 5), or "
        "package.module:Class; one or a list.",
    )
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

    @field_validator("extends")
    @classmethod
    def _only_in_a_file(cls, value: object) -> object:
        """Refuse what only the reader of a file can follow."""
        if value is not None:
            raise ValueError("nothing: load_campaign reads files that extend others")
        return value

    @field_validator("precision", "exhaustive")
    @classmethod
    def _is_the_only_plan(cls, value: object, info: ValidationInfo) -> object:
        """Refuse two answers to how many trials there are."""
        others = [key for key in ("repetitions", "precision") if key in info.data]
        given = [
            key for key in others if key != info.field_name and info.data[key] not in (1, None)
        ]
        if value is not None and given:
            raise ValueError(f"nothing: {given[0]} says how many trials there are")
        return value

    @field_validator("paired")
    @classmethod
    def _has_as_many_trials(cls, value: bool, info: ValidationInfo) -> bool:
        if value and _pools(info):
            raise ValueError("no pairs: the cells of a layer or the network get different trials")
        return value

    @field_validator("grid")
    @classmethod
    def _has_a_rate_of_the_whole(
        cls, value: tuple[GridSpec, ...], info: ValidationInfo
    ) -> tuple[GridSpec, ...]:
        if _pools(info) and any(spec.bers is not None for spec in value):
            raise ValueError(
                "probabilities or counts in a precision of a layer or the network: a bit error "
                "rate gives large layers more faults a trial, beside their weight"
            )
        return value

    @field_validator("grid")
    @classmethod
    def _has_what_is_exhaustive(
        cls, value: tuple[GridSpec, ...], info: ValidationInfo
    ) -> tuple[GridSpec, ...]:
        if info.data.get("exhaustive") and not any(spec.exhaustive for spec in value):
            raise ValueError(
                "a grid without a rate, which hits every site once; or no `exhaustive`"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _exhaustive_grids(cls, data: Any) -> Any:
        """Have grids without a rate hit every site where the campaign says so."""
        if not isinstance(data, dict) or not _allows(data.get("exhaustive")):
            return data
        grid = data.get("grid")
        every = grid if isinstance(grid, list | tuple) else [grid]
        return {**data, "grid": [_exhaustive(one, data["exhaustive"]) for one in every]}

    _source: YamlSource | None = PrivateAttr(None)
    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _options: tuple[str, ...] = PrivateAttr(())
    _overrides: tuple[str, ...] = PrivateAttr(())
    _held: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __init__(self, **data: Any) -> None:
        """Check a campaign; arguments are the keys of a campaign file.

        The model may also be one in memory, of Keras or TensorFlow, or a function without arguments
        that returns one; data may be ``(inputs, labels)``, a dict of arrays, a ``tf.data.Dataset``,
        or a function that returns one of these. So may ``source`` in a mapping:
        ``dataset={"source": (x, y), "samples": 100}``.

        Raises:
            CampaignError: An argument is unknown or wrong; what is wrong is told with its path.

        Examples:
            >>> from injecttf2 import Campaign
            >>> campaign = Campaign(
            ...     model="builtin:digits_cnn",
            ...     dataset="digits",
            ...     grid={"bits": [30, 31], "probabilities": 1.0},
            ... )
            >>> campaign.grid[0].bits
            (30, 31)
            >>> campaign.model_copy(update={"repetitions": 5}).repetitions
            5
        """
        told, held = in_memory.apart(data)
        super().__init__(**told)
        self._held = held

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate(cls, obj: Any, **how: Any) -> Self:
        """Return what a mapping says."""
        told, held = in_memory.apart(obj)
        campaign = super().model_validate(told, **how)
        campaign._held = held
        return campaign

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, which are checked; what is in memory is not copied.

        Args:
            update: Keys of a campaign, and their new values.
            deep: Whether to copy values too.

        Raises:
            CampaignError: A value is wrong.
        """
        told, held = in_memory.apart(update)
        copy = super().model_copy(update=told, deep=deep)
        copy._held = {**self._held, **held}
        return copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Campaign) or self.resolved() != other.resolved():
            return False
        return all(self.held(key) is other.held(key) for key in ("model", "dataset"))

    def __repr__(self) -> str:
        return shown.line(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return shown.table(self)

    def held(self, key: Literal["model", "dataset"]) -> Any | None:
        """Return the model or the data that are in memory; None where a source names them.

        Raises:
            CampaignError: They were in the memory of another process.
        """
        spec = self.model if key == "model" else self.dataset
        if spec is None or not paths.is_in_memory(spec.source):
            return None
        if key not in self._held:
            raise in_memory.missing(key, spec.source)
        return self._held[key]

    @property
    def folder(self) -> Path:
        """The folder of the campaign file, where ``package.module:function`` is looked up."""
        return self._folder

    @property
    def files(self) -> tuple[Path, ...]:
        """The campaign file and those that it extends; none of a campaign made without one."""
        return self._source.files if self._source else ()

    def place(self, *path: str | int) -> str | None:
        """Return ``file:line:column`` of the value at ``path``, or the option that replaced it.

        None where no file was read.
        """
        if f"--{path[0]}" in self._options:
            return f"--{path[0]}"
        return self._source.place(_as_written(self._source, path)) if self._source else None

    @property
    def given(self) -> dict[str, Any]:
        """What the file extends and what the command line changed of it, as far as it did."""
        extends, overrides = map(str, self.files[1:]), self._overrides
        told = {"extends": [*extends], "overrides": [*overrides]}
        return {key: value for key, value in told.items() if value}

    def located(self) -> Self:
        """Return the same with file paths made absolute that are relative to their folder.

        That is the folder of the file that they stand in, or the current one.
        """

        def folder_of(*path: str | int) -> Callable[[str], Path]:
            return lambda key: (
                self._source.places(_as_written(self._source, (*path, key))).origin.folder
                if self._source
                else self._folder
            )

        grids = (
            spec.located(folder_of("grid", index, "sites")) for index, spec in enumerate(self.grid)
        )
        found: dict[str, Any] = {"grid": tuple(grids)}
        for key, spec in (("model", self.model), ("dataset", self.dataset)):
            if spec is not None:
                found[key] = spec.located(folder_of(key))
        return self.model_copy(update=found)

    def resolved(self) -> dict[str, Any]:
        """Return JSON values that load back to an equal campaign; what is not set is left out."""
        return self.model_dump(mode="json", exclude_none=True)


def load_campaign(
    path: str | Path,
    *,
    model: str | Path | None = None,
    dataset: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> Campaign:
    """Read a campaign file.

    Args:
        path: The YAML file: a campaign, or a configuration of the original InjectTF2.
        model: Replaces the file's model; a path is relative to the current folder.
        dataset: Replaces the file's data set; a path is relative to the current folder.
        overrides: Values in place of the file's, ``PATH=VALUE`` each, such as ``grid.bits=[30]``.

    Returns:
        The campaign, checked.

    Raises:
        CampaignError: The file cannot be read or is wrong, or no model or data set is given.

    Examples:
        >>> from injecttf2 import load_campaign
        >>> load_campaign("first.yaml", overrides=["repetitions=2"]).repetitions
        2
    """
    campaign = _parsed(source := read_layers(on_disk(Path(path)), overrides))
    specs = {
        "model": _given(ModelSpec, "--model", model) or campaign.model,
        "dataset": _given(DatasetSpec, "--dataset", dataset) or campaign.dataset,
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
    campaign._overrides = tuple(overrides)
    campaign._options = _options(model, dataset)
    return campaign.located()


def reload_campaign(
    resolved: Mapping[str, Any],
    folder: Path,
    *,
    model: str | Path | None = None,
    dataset: str | Path | None = None,
) -> Campaign:
    """Return the campaign that a run directory recorded.

    Args:
        resolved: What :meth:`Campaign.resolved` returned.
        folder: The folder that its file lay in.
        model: Replaces the model; a path is relative to the current folder.
        dataset: Replaces the data set; a path is relative to the current folder.
    """
    campaign = Campaign.model_validate(dict(resolved))
    data = _given(DatasetSpec, "--dataset", dataset)
    if data and campaign.dataset and paths.is_in_memory(campaign.dataset.source):
        # what was saved is prepared as it was in memory
        data = campaign.dataset.model_copy(update={"source": data.source})
    specs = {
        "model": _given(ModelSpec, "--model", model) or campaign.model,
        "dataset": data or campaign.dataset,
    }
    campaign = campaign.model_copy(update=specs)
    campaign._folder = folder
    campaign._options = _options(model, dataset)
    return campaign


def locate(source: str) -> str:
    """Return a source given on the command line: a path relative to the current folder resolved.

    Raises:
        CampaignError: It is on another machine.
    """
    return paths.located(paths.checked(source, None), Path.cwd())


def _parsed(source: YamlSource) -> Campaign:
    name = re.sub(r"[^\w.-]+", "-", composed(source.file.stem))[:50].strip(".-") or "campaign"
    if is_original(source):
        return _from_original(parse_config(source), name)
    try:
        return Campaign.parse({"name": name, **source.data})
    except ValidationError as error:
        from results.shown import without_secrets  # pyarrow comes with it

        wrong = source.error(error, Campaign)
        raise CampaignError(
            without_secrets(wrong.message), place=wrong.place, hint=wrong.hint
        ) from None


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


def _options(model: object, dataset: object) -> tuple[str, ...]:
    """Return the options of the command line that replace something."""
    given = {"--model": model, "--dataset": dataset}
    return tuple(option for option, source in given.items() if source is not None)


def _given(kind: type[SourceSpec], option: str, given: str | Path | None) -> SourceSpec | None:
    """Return what the command line names, its path absolute."""
    source = plain_values(given)
    if source == "":
        raise CampaignError("received an empty text, expected a source", place=option)
    if source is None:
        return None
    return kind(source=paths.checked(source, option)).located(lambda _: Path.cwd())
