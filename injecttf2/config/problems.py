"""Sentences about data that a schema refuses: where, what was received and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from pydantic import BaseModel

from injecttf2.config.odd_characters import told
from injecttf2.config.parameters import shown
from injecttf2.errors import CampaignError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    Schemas = Mapping[str, type[BaseModel]]

KeyPath = tuple[str | int, ...]
"""The way to a value: keys of mappings and indices of lists, from the top."""

AS_IN_A_FILE = "keys and values are those of a campaign file: see `injecttf2 schema`"


class Problem(NamedTuple):
    """Something that is wrong with a key or a value.

    Args:
        path: Where.
        message: What is wrong with it.
        name: Of the value; empty where the message names a key.
        is_unknown: Whether it is a key that there is not.
    """

    path: KeyPath
    message: str
    name: str = ""
    is_unknown: bool = False

    @property
    def sentence(self) -> str:
        """The message, with the name of the value in front."""
        return f"{self.name}: {self.message}" if self.name else self.message


def problems_of(error: ValidationError, schema: type[BaseModel]) -> list[Problem]:
    """Return all that ``schema`` refuses, each thing once."""
    details, schemas = error.errors(include_url=False), _schemas(schema)
    unknown = {
        detail["loc"]: _guess(detail["loc"], schemas)
        for detail in details
        if detail["type"] == "extra_forbidden"
    }
    misspelt = {(*path[:-1], guess) for path, guess in unknown.items()}
    return [
        _problem(detail, schemas)
        for detail in details
        if detail["type"] != "missing" or detail["loc"] not in misspelt
    ]


def refused(error: ValidationError, schema: type[BaseModel], data: Any) -> CampaignError:
    """Return one error that names all that ``schema`` refuses of ``data``, which no file holds."""
    first, *others = [
        (_dotted(problem.path, data) or schema.__name__, problem.message)
        for problem in problems_of(error, schema)
    ]
    text = "\n".join([first[1], *(f"{path}: {message}" for path, message in others)])
    return CampaignError(text, place=first[0], hint=AS_IN_A_FILE)


def _dotted(path: KeyPath, data: Any) -> str:
    """Return a path as ``grid[1].bits``, without the index where one value stands for a list."""
    text = ""
    for part in path:
        if isinstance(part, str):
            text += f".{part}" if text else part
            data = data.get(part) if isinstance(data, Mapping) else getattr(data, part, None)
        elif isinstance(data, list | tuple):
            text += f"[{part}]"
            data = data[part] if part < len(data) else None
    return text


_EXPECTED = {
    "string_type": "text (a number or true needs quotes to be text)",
    "invalid_key": "a key that is text",
    "string_too_short": "text that is not empty",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "value_error": "{error}",
}
"""What was expected, by pydantic's type of error; a ValueError's own text is just that."""


def _problem(detail: ErrorDetails, schemas: Schemas) -> Problem:
    path, kind = detail["loc"], detail["type"]
    if kind == "missing":
        field = _schema(path, schemas).model_fields[str(path[-1])]
        return Problem(path, f"the key {path[-1]!r} is missing: {field.description}")
    if kind == "extra_forbidden":
        guess = _guess(path, schemas)
        question = f"; did you mean {guess!r}?" if guess else ""
        known = ", ".join(_schema(path, schemas).model_fields)
        message = f"unknown key {path[-1]!r}{told(path[-1])}{question} (valid keys: {known})"
        return Problem(path, message, is_unknown=True)
    expected = _EXPECTED.get(kind, detail["msg"]).format(**detail.get("ctx", {}))
    given = detail["input"]
    names = [part for part in path if isinstance(part, str)]
    message = f"received {shown(given)}, expected {expected}{told(given)}"
    return Problem(path, message, name=names[-1] if names else "")


def _schemas(schema: type[BaseModel], key: str = "") -> dict[str, type[BaseModel]]:
    """Return the schema of each mapping inside another, by the key that holds it; its own by ''."""
    found = {key: schema}
    for name, field in schema.model_fields.items():
        for inner in _models(field.annotation):
            found |= _schemas(inner, name)
    return found


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _schema(path: KeyPath, schemas: Schemas) -> type[BaseModel]:
    """Return the schema of the mapping that holds the last key of ``path``."""
    keys = ["", *(part for part in path if isinstance(part, str))]
    return schemas[keys[-2]]


def _guess(path: KeyPath, schemas: Schemas) -> str:
    """Return the valid key that is nearest to the one at ``path``, or an empty string."""
    known = list(_schema(path, schemas).model_fields)
    return "".join(difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.65))
