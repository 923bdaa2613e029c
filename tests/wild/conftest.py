"""Files of models that others published, and the command line to use them by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestrator.conftest import injecttf2

__all__ = ["injecttf2"]


@pytest.fixture
def published(shared_data: Path) -> Callable[[str], Path]:
    """Returns the path of a model's file."""
    return lambda file: shared_data / "models" / "wild" / file
