"""The guide's page on a published model prints what its commands print."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from results import open_run
from tests.docs.pages import Block, blocks, command, commands
from tests.wild.models import PUBLISHED

PAGE = "docs/guide/published-model.md"

DOWNLOADS = "load_data()"
"""What is in the block that fetches the images."""


def printed(block: Block, names: dict[str, Any]) -> list[str]:
    """Run a block as a reader would and return the lines that it prints."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        if block.language == "python":
            exec(compile(block.code, str(block), "exec"), names)  # noqa: S102
        for words in commands(block) if block.language == "shell" else ():
            command(words)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def shown(block: Block) -> list[str]:
    """The lines that a page shows of an output, without what it leaves out."""
    lines = (line.removesuffix("...").rstrip() for line in block.code.splitlines())
    return [line for line in lines if line]


def test_the_page_prints_what_its_commands_print(
    published: Callable[[str], Path],
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    shutil.copy(published(PUBLISHED["ResNet-8"].file), "pretrainedResnet.h5")
    shutil.copy(shared_data / "data" / "cifar10_test1000.npz", "cifar10_1000.npz")
    names: dict[str, Any] = {}
    lines: list[str] = []
    for block in blocks(PAGE):
        if block.file is not None:
            Path(block.file).write_text(block.code)
        elif block.language == "text":
            for line in shown(block):
                assert any(one.startswith(line) for one in lines), (str(block), line)
        elif DOWNLOADS not in block.code:
            lines = printed(block, names)

    trials = open_run("runs/resnet8").trials()
    assert len(trials) == 290
    assert {*trials["samples"]} == {1000}
    assert {*trials["golden_accuracy"]} == {0.881}
