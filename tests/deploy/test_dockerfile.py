"""The image's recipe: linted, and every file and extra that it names exists."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.commands import ROOT

FILE = ROOT / "deploy" / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


def instructions() -> list[list[str]]:
    """The instructions as lists of words; lines that go on are joined, comments left out."""
    lines = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines() if line]


def arguments(name: str) -> list[list[str]]:
    return [words[1:] for words in instructions() if words[0] == name]


def sources() -> list[str]:
    return [source for words in arguments("COPY") for source in words[:-1]]


def lint(recipe: str) -> list[str]:
    """The codes of what the linter finds."""
    done = subprocess.run(
        [HADOLINT, "--format", "json", "-"],
        input=recipe,
        capture_output=True,
        text=True,
        check=False,
    )
    return [finding["code"] for finding in json.loads(done.stdout)]


def test_the_linter_finds_nothing() -> None:
    assert lint(FILE.read_text()) == []


def test_the_linter_finds_a_root_user() -> None:
    assert lint(FILE.read_text().replace("USER 1000", "USER 0")) == ["DL3002"]


def test_everything_that_is_copied_exists() -> None:
    assert sources() == [
        *("pyproject.toml", "constraints.txt", "README.md", "LICENSE"),
        *("injecttf2", "orchestrator", "results"),
    ]
    assert [source for source in sources() if not (ROOT / source).exists()] == []


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    ignored = (FILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert [rule[1:] for rule in rules if rule.startswith("!")] == sources()


def test_every_package_of_the_wheel_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) <= set(sources())
    assert project["project"]["readme"] in sources()
    for file in project["project"]["license-files"]:
        assert file in sources() or file.split("/")[0] in sources()


@pytest.mark.parametrize("extras", ["cluster", "cluster,gpu"])
def test_the_extras_exist(extras: str) -> None:
    usage = FILE.read_text()
    assert f"ARG EXTRAS={extras}\n" in usage or f"--build-arg EXTRAS={extras} " in usage
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])


def test_packages_are_held_to_the_tested_versions() -> None:
    (install,) = [words for words in arguments("RUN") if words[0] == "pip"]
    assert install[:3] == ["pip", "install", "--no-cache-dir"]
    assert install[install.index("-c") + 1] == "/src/constraints.txt"
    assert "/src[${EXTRAS}]" in install


def test_the_python_is_the_tested_one() -> None:
    (base,) = arguments("FROM")
    assert re.fullmatch(r"python:3\.11-slim-\w+", base[0])


def test_the_image_demands_a_token_and_is_not_root() -> None:
    assert arguments("USER") == [["1000"]]
    assert "RAY_AUTH_MODE=token" in arguments("ENV")[0]
