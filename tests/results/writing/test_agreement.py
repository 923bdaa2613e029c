"""Which workers may add rows to a run: those that decide and round as the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from results import RunHeader, RunMismatchError, RunWriter, open_run
from results.writing.agreement import ANY, DEVICES, MIXED, NONE, differing_numerics

GOLDEN = {"accuracy": 0.9, "decisions": "ff"}
CPU = {"device": "CPU", "kernels": "aa", "settings": {"instructions": "AVX2"}}
OLD_CPU = {"device": "CPU", "kernels": "bb", "settings": {"instructions": "SSE41"}}
GPU = {"device": "GPU: H200", "kernels": "cc", "settings": {"instructions": "AVX2"}}
OTHER_GPU = {**GPU, "device": "GPU: A100"}


def mixing(header: RunHeader, mixed: str) -> RunHeader:
    return replace(header, provenance={**header.provenance, MIXED: mixed})


def taken(run: Path, header: RunHeader, *classes: dict[str, Any]) -> list[bool]:
    """Whether each worker was taken, by writers that come one after another."""
    found = []
    for one in classes:
        with RunWriter.open(run, header) as writer:
            try:
                writer.set_golden(GOLDEN, one)
            except RunMismatchError:
                found.append(False)
            else:
                found.append(True)
    return found


@pytest.mark.parametrize(
    ("mixed", "expected"),
    [
        (NONE, [True, False, False, False, True]),
        (DEVICES, [True, False, True, False, True]),
        (ANY, [True, True, True, True, True]),
    ],
)
def test_classes_beside_each_other_are_those_that_were_allowed(
    mixed: str, expected: list[bool], tmp_path: Path, header: RunHeader
) -> None:
    classes = [CPU, OLD_CPU, GPU, OTHER_GPU, CPU]
    assert taken(tmp_path / "run", mixing(header, mixed), *classes) == expected
    known = [one for one, was in zip(classes[:4], expected, strict=False) if was]
    run = open_run(tmp_path / "run")
    assert list(run.numerics) == known
    assert run.provenance[MIXED] == mixed


def test_a_refusal_tells_what_differs_why_and_how_it_is_allowed(
    tmp_path: Path, header: RunHeader
) -> None:
    with RunWriter.open(tmp_path / "run", header) as writer:
        writer.set_golden(GOLDEN, CPU)
        with pytest.raises(RunMismatchError) as caught:
            writer.set_golden(GOLDEN, OLD_CPU)
    assert caught.value.differences == {"kernels": ("aa", "bb"), "instructions": ("AVX2", "SSE41")}
    assert "instructions: AVX2 -> SSE41" in str(caught.value)
    assert "--any-numerics takes it all the same" in str(caught.value)


def test_what_only_explains_a_class_is_not_compared() -> None:
    assert differing_numerics(CPU, {**CPU, "settings": {"instructions": "AVX512_CORE"}}) == {}


@pytest.mark.parametrize(
    ("mixed", "expected"), [(NONE, [False]), (DEVICES, [False]), (ANY, [True])]
)
def test_rows_of_a_class_that_nobody_recorded_are_not_taken_for_the_same(
    mixed: str, expected: list[bool], tmp_path: Path, header: RunHeader
) -> None:
    with RunWriter.open(tmp_path / "run", header) as writer:
        writer.set_golden(GOLDEN)
    assert taken(tmp_path / "run", mixing(header, mixed), CPU) == expected
