"""The code blocks of the documentation, and ways to run them as a reader would."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from injecttf2.models.digits_cnn import trained_model
from orchestrator.cli import main as cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# ([\w.-]+\.(?:yaml|py))\n")
TRIAL_ID = re.compile(r"\b\d{15,20}\b")
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


EXAMPLE = "88e6b54ab9de2417"
"""Digest of the example's weights that the pages' numbers are of."""


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


def follow(
    steps: Sequence[Block], *, left_out: Collection[str] = (), exact: bool = True
) -> dict[str, Any]:
    """Do in the current folder what blocks say, and compare what they show with what is printed.

    Blocks that name a file are saved first; Python is executed; our own commands run in this
    process, without Ray and without a report. A block of ``text`` holds lines that the one before
    it prints, 80 columns wide. One that ends with ``...`` need only begin so, and ``...`` alone
    stands for any. A trial id in a command is one that the reader just saw: the first that was
    printed last.

    Args:
        steps: The blocks.
        left_out: Texts in blocks that are not to be executed.
        exact: Whether numbers are compared; else their places and all words are.

    Returns:
        What the blocks of Python left.
    """
    names: dict[str, Any] = {}
    printed: list[str] = []
    compared = str if exact else without_numbers
    for block in steps:
        if block.file is not None:
            Path(block.file).write_text(block.code)
    with mock.patch.dict(os.environ, COLUMNS="80"):
        for block in steps:
            if block.language == "text":
                lines = [*map(compared, printed)]
                for line in map(compared, _shown(block)):
                    assert any(one.startswith(line) for one in lines), (str(block), line, lines)
            elif block.file is None and not any(text in block.code for text in left_out):
                ids = TRIAL_ID.findall("\n".join(printed))
                code = TRIAL_ID.sub(ids[0], block.code) if ids else block.code
                printed = _printed(replace(block, code=code), names)
    return names


def example_is_that_of_the_docs() -> bool:
    """Whether this machine trains the example to the weights that the pages' numbers are of.

    On another kind of processor training rounds otherwise.
    """
    weights = b"".join(one.tobytes() for one in trained_model().get_weights())
    return hashlib.blake2b(weights, digest_size=8).hexdigest() == EXAMPLE


def without_numbers(line: str) -> str:
    """A line whose numbers are all the same, however many digits and blanks they take."""
    return re.sub(r"[\s─]+", " ", re.sub(r"[0-9][0-9,.]*", "0", line))


def _printed(block: Block, names: dict[str, Any]) -> list[str]:
    """Run a block as a reader would and return the lines that it prints."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        if block.language == "python":
            exec(compile(block.code, str(block), "exec"), names)  # noqa: S102
        for words in commands(block) if block.language == "shell" else ():
            command(words)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def _shown(block: Block) -> list[str]:
    """The lines that a page shows of an output, without what it leaves out."""
    lines = (line.removesuffix("...").rstrip() for line in block.code.splitlines())
    return [line for line in lines if line]


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
