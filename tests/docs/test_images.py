"""The pictures of the documentation are there, and the script that takes them works."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.pages import DOCS
from tests.docs.scripts import load

script = load("images")


def test_every_picture_is_one_that_the_script_takes() -> None:
    names = {file.name for file in (DOCS / "images").iterdir()}
    assert names == {f"{name}.png" for name in script.PICTURES}


@pytest.mark.skipif(
    not (shutil.which("chromium") or shutil.which("chromium-browser")),
    reason="no chromium on the PATH; Debian's package of that name brings it",
)
def test_the_first_screen_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "PICTURES", {"report": script.PICTURES["report"]})
    script.main(tmp_path)
    head = (tmp_path / "report.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    size = [int.from_bytes(head[at : at + 4]) for at in (16, 20)]
    assert size == [script.WIDTH * script.SCALE, script.HEIGHT * script.SCALE]
