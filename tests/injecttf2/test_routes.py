"""What was found is kept, shared between processes, and never trusted blindly."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from injecttf2 import routes
from injecttf2.routes import Route, Routes, Way

ROUTE = Route(3, 1, 1024, 128, head_jit=True, tail_jit=False)
WAYS = (Way(ROUTE, 2.0**-20), Way(Route(3, 0, 8, 8, head_jit=False, tail_jit=False), 0.5))


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "routes.json"
    Routes(file).keep("conv", WAYS)
    Routes(file).keep("dense", ())
    again = Routes(file)
    assert again.find("conv") == WAYS
    assert again.find("dense") == ()
    assert again.find("pool") is None


def test_what_another_process_kept_meanwhile_stays(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    one, other = Routes(file), Routes(file)
    one.keep("conv", WAYS)
    other.keep("pool", ())
    assert (Routes(file).find("conv"), Routes(file).find("pool")) == (WAYS, ())
    assert [path.name for path in tmp_path.iterdir()] == ["routes.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"conv": 1}', '{"conv": [{"bound": 1}]}', '{"conv": [{"route": {}}]}']
)
def test_a_file_that_cannot_be_read_is_as_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "routes.json"
    file.write_text(text)
    assert Routes(file).find("conv") is None
    Routes(file).keep("conv", WAYS)
    assert Routes(file).find("conv") == WAYS


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Routes(tmp_path / "file" / "routes.json")
    kept.keep("conv", WAYS)
    assert kept.find("conv") == WAYS


def test_other_conditions_find_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    conditions = {"model": "m", "levels": ("drop",)}
    Routes.cached(conditions).keep("conv", WAYS)
    assert Routes.cached(conditions).find("conv") == WAYS
    assert Routes.cached({**conditions, "model": "n"}).find("conv") is None
    monkeypatch.setattr(routes, "_processor", lambda: "another")
    assert Routes.cached(conditions).find("conv") is None


def test_other_code_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    Routes.cached({}).keep("conv", WAYS)
    monkeypatch.setattr(routes, "_code_digest", lambda: "another")
    assert Routes.cached({}).find("conv") is None
