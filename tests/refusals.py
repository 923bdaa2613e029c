"""What is said of a model that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from injecttf2.errors import ModelError
from injecttf2.models import loading


def refusal(path: Path) -> str:
    """Return why a file is refused, without its path, with which the message begins."""
    with pytest.raises(ModelError) as caught:
        loading.resolve(str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")
