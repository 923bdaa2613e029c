"""Every recipe of the cookbook does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from results import open_run
from tests.docs.pages import example_is_that_of_the_docs, follow, sections

RECIPES = sections("docs/guide/cookbook.md")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_works(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    steps = RECIPES[recipe]
    follow(steps, exact=example_is_that_of_the_docs())
    runs = sorted(tmp_path.glob("runs/*"))
    assert runs
    for folder in runs:
        run = open_run(folder)
        assert run.status().done == run.status().planned > 0
        assert run.failures().empty


def test_there_are_a_dozen_recipes_and_each_begins_a_campaign() -> None:
    assert len(RECIPES) >= 12
    for steps in RECIPES.values():
        kinds = {block.language for block in steps}
        assert kinds <= {"yaml", "python", "shell", "text"}
        assert any(
            "injecttf2 run" in block.code or "import Campaign" in block.code for block in steps
        )
