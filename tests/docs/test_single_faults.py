"""The guide's page on single faults does what it says."""

from __future__ import annotations

import pytest

from tests.docs.pages import blocks


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("docs/guide/single-faults.md")
    exec(compile(block.code, str(block), "exec"), {})  # noqa: S102
    printed = capsys.readouterr().out
    assert printed.split()[0] in ("masked", "benign", "sdc", "due")
    assert printed.count("'") == 2 * 50  # an outcome of each sample, of a fault in a weight
