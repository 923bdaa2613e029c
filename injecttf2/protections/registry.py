"""Protections by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from injecttf2.config.parameters import check_names, is_required
from injecttf2.config.spelling import nearest
from injecttf2.errors import CampaignError
from injecttf2.protections.protection import Protection
from injecttf2.protections.redundancy import Ecc, Tmr

BUILTIN: dict[str, type[Protection]] = {"tmr": Tmr, "ecc": Ecc}
"""Protections by the name used in YAML."""

NONE = "none"
"""What stands for no protection."""


def check_name(name: str) -> None:
    """See that there is a protection of a name.

    Raises:
        CampaignError: There is none.
    """
    if name != NONE and name not in BUILTIN:
        raise CampaignError(
            f"there is no protection {name!r}{nearest(name, [NONE, *BUILTIN])}",
            hint=f"expected one of {', '.join([NONE, *BUILTIN])}",
        )


def build(name: str, parameters: Mapping[str, Any]) -> Protection | None:
    """Return a protection from its name and parameters; None for ``none``.

    Args:
        name: As in YAML.
        parameters: Its parameters; of layers their addresses, a tuple.

    Raises:
        CampaignError: There is no such protection.
        ValueError: A parameter is unknown, missing or wrong.
    """
    check_name(name)
    if name == NONE:
        check_names(name, [], [], parameters)
        return None
    fields = [one for one in dataclasses.fields(BUILTIN[name]) if one.init]  # type: ignore[arg-type]
    required = [one.name for one in fields if is_required(one)]
    check_names(name, [one.name for one in fields], required, parameters)
    return BUILTIN[name](**parameters)
