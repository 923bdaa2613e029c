"""The code blocks of the documentation, and ways to run them as a reader would."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from orchestrator.cli import main as cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# ([\w.-]+\.(?:yaml|py))\n")
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: The file, from the root of the repository.
        line: Line of its fence, from 1.
        language: What the fence says.
        code: The block without its indentation.
    """

    page: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name in the first line, under which a reader is to save the block."""
        found = NAMED.match(self.code)
        return found[1] if found else None


def blocks(page: str, text: str | None = None, first: int = 1) -> list[Block]:
    """The fenced blocks of a page, or of a part of it that begins at the line ``first``."""
    text = (ROOT / page).read_text() if text is None else text
    found = []
    for match in FENCE.finditer(text):
        indent, language, code = match.groups()
        code = re.sub(f"^{indent}", "", code, flags=re.MULTILINE)
        found.append(Block(page, text.count("\n", 0, match.start()) + first, language, code))
    return found


def sections(page: str) -> dict[str, list[Block]]:
    """The blocks of a page by the second-level heading that they stand under."""
    text = (ROOT / page).read_text()
    starts = [*HEADING.finditer(text)]
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return {
        match[1]: blocks(page, text[match.start() : end], text.count("\n", 0, match.start()) + 1)
        for match, end in zip(starts, ends, strict=True)
    }


def follow(steps: list[Block]) -> dict[str, Any]:
    """Do in the current folder what blocks say, one after another; return what Python left.

    Blocks that name a file are saved, whatever their order; Python is executed; our own commands
    run in this process, without Ray and without a report.
    """
    names: dict[str, Any] = {}
    for block in steps:
        if block.file is not None:
            Path(block.file).write_text(block.code)
    for block in steps:
        if block.file is not None:
            continue
        if block.language == "python":
            exec(compile(block.code, str(block), "exec"), names)  # noqa: S102
        elif block.language == "shell":
            for words in commands(block):
                command(words)
    return names


def commands(block: Block) -> list[list[str]]:
    """The commands of a shell block, as words without comments."""
    lines = block.code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def command(words: list[str]) -> None:
    """Run a command of ours; those of other programs are left out."""
    if words[0] != "injecttf2":
        return
    extra = ["--executor", "inline", "--no-report"] if words[1] == "run" else []
    with mock.patch.object(sys, "argv", [*words, *extra]):
        try:
            cli.main()
        except SystemExit as ended:
            if ended.code:
                raise AssertionError(f"{shlex.join(words)} ended with {ended.code}") from None
