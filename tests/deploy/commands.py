"""Commands as they stand in manifests and guides, and whether the programs would take them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import typer
from ray.scripts.scripts import cli as ray_cli

from orchestrator.cli.main import app

ROOT = Path(__file__).parents[2]

FENCE = re.compile(r"^ *```shell\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:injecttf2|ray) [^`]+)`")
PROGRAMS: dict[str, Any] = {"injecttf2": typer.main.get_command(app), "ray": ray_cli}


def shell_commands(markdown: str) -> list[list[str]]:
    """The commands of the shell blocks of a page, as lists of words, without comments."""
    blocks = "\n".join(FENCE.findall(markdown)).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in blocks.splitlines()]
    return [words for words in lines if words]


def inline_commands(markdown: str) -> list[list[str]]:
    """The commands of our program and of Ray's that stand inside the text of a page."""
    return [shlex.split(command) for command in INLINE.findall(FENCE.sub("", markdown))]


def ours(words: list[str]) -> list[str] | None:
    """The command of our program that a command runs: it itself, or the job that it submits."""
    job = words[words.index("--") + 1 :] if "--" in words else words
    return job if job[0] == "injecttf2" else None


def parse(words: list[str]) -> dict[str, Any]:
    """The parameters of a command as its program reads them; nothing is run.

    Raises:
        Exception: The program's own, where it does not take the command.
    """
    command, rest = _subcommand(words)
    parameters: dict[str, Any] = command.make_context(command.name, rest).params
    return parameters


def unknown_options(words: list[str]) -> set[str]:
    """The options of a command that its program does not have; values may be placeholders."""
    command, rest = _subcommand(words)
    known = {option for parameter in command.params for option in parameter.opts}
    return {word for word in rest if word.startswith("--")} - known


def _subcommand(words: list[str]) -> tuple[Any, list[str]]:
    command: Any = PROGRAMS[words[0]]
    rest = words[1:]
    while hasattr(command, "commands"):
        command = command.commands[rest[0]]
        rest = rest[1:]
    return command, rest
