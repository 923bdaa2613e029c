"""The Python reference has all that the packages export, and its examples print what they say."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from orchestrator import load_campaign, run
from tests.docs.pages import DOCS, blocks, example_is_that_of_the_docs, without_numbers

NAMES = re.findall(r"^::: (\S+)$", (DOCS / "reference" / "python.md").read_text(), re.MULTILINE)

EXPORTING = ("injecttf2", "orchestrator", "results", "results.report.figures", "results.statistics")


def value_of(name: str) -> Any:
    """What the page calls so: a module, or what a module has."""
    parent, _, last = name.rpartition(".")
    return getattr(import_module(parent), last)


OBJECTS = {name: value_of(name) for name in NAMES}

MAIN = {
    *("injecttf2.Campaign", "injecttf2.load_campaign", "injecttf2.run", "injecttf2.open_run"),
    *("injecttf2.brief", "injecttf2.compare", "injecttf2.Injector", "injecttf2.fault"),
    *("results.Run", "results.write_report", "results.report.figures.criticality"),
    *("results.statistics.wilson", "results.statistics.cluster_wilson"),
    "results.statistics.sample_size.sample_size",
}
"""What has an example, at least."""


class Outputs(doctest.OutputChecker):
    """Compares what is printed; where the example was trained otherwise, all but the numbers."""

    def __init__(self, *, exact: bool) -> None:
        self._exact = exact

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if not self._exact:
            want, got = without_numbers(want), without_numbers(got)
        return super().check_output(want, got, optionflags)


@pytest.mark.parametrize("package", EXPORTING)
def test_every_name_that_a_package_exports_is_there(package: str) -> None:
    there = {(name.rpartition(".")[2], id(value)) for name, value in OBJECTS.items()}
    module = import_module(package)
    exported = {*module.__all__} - {"__version__"}
    assert {name for name in exported if (name, id(getattr(module, name))) not in there} == set()


def test_examples_print_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quick_start = next(block for block in blocks("docs/guide/quick-start.md") if block.file)
    Path("first.yaml").write_text(quick_start.code)
    run(load_campaign("first.yaml"), "runs/first", executor="inline", quiet=True)
    checker = Outputs(exact=example_is_that_of_the_docs())
    runner = doctest.DocTestRunner(checker, optionflags=doctest.ELLIPSIS)
    with_examples = {name for name, value in OBJECTS.items() if examples(name, value, runner)}
    assert with_examples >= MAIN
    assert runner.failures == 0, "see what was printed"


def examples(name: str, value: Any, runner: doctest.DocTestRunner) -> int:
    """Run the examples of an object, those of its methods after its own; return how many."""
    names: dict[str, Any] = {}
    tried = 0
    for found in doctest.DocTestFinder().find(value, name, globs={}):
        found.globs = names
        tried += runner.run(found, clear_globs=False).attempted
    return tried
