"""The image's packages fit the versions in constraints.txt, so that its pip line resolves."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.commands import ROOT

PINS = {
    canonicalize_name(name): version
    for name, version in (
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines()
    )
}
WITH_PYTHON = {"setuptools", "wheel"}
"""What Python's image brings; TensorFlow asks for any version."""


def image_requirements() -> list[Requirement]:
    """What the Dockerfile installs for CPU nodes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["cluster"], "boto3>=1.40"]
    return [Requirement(text) for text in named]


def closure(requirements: list[Requirement]) -> Iterator[Requirement]:
    """Yield the requirements and those of what they require, as the installed packages tell."""
    seen: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        yield requirement
        for text in requires(requirement.name) or []:
            found = Requirement(text)
            extras = ["", *requirement.extras]
            if not found.marker or any(found.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(found)


def test_every_package_of_the_image_has_a_tested_version() -> None:
    names = {canonicalize_name(requirement.name) for requirement in closure(image_requirements())}
    assert len(names) > 80
    assert sorted(names - set(PINS) - WITH_PYTHON) == []


def test_no_package_of_the_image_refuses_the_tested_version_of_another() -> None:
    pinned = [
        (requirement, PINS[name])
        for requirement in closure(image_requirements())
        if (name := canonicalize_name(requirement.name)) in PINS
    ]
    assert [
        f"{requirement} does not take {version}"
        for requirement, version in pinned
        if not requirement.specifier.contains(version, prereleases=True)
    ] == []
