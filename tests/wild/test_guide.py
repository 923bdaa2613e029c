"""The guide's page on a published model prints what its commands print."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from results import open_run
from tests.docs.pages import blocks, follow
from tests.wild.models import PUBLISHED

PAGE = "docs/guide/published-model.md"

DOWNLOADS = "load_data()"
"""What is in the block that fetches the images."""


def test_the_page_prints_what_its_commands_print(
    published: Callable[[str], Path],
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(published(PUBLISHED["ResNet-8"].file), "pretrainedResnet.h5")
    shutil.copy(shared_data / "data" / "cifar10_test1000.npz", "cifar10_1000.npz")
    follow(blocks(PAGE), left_out=[DOWNLOADS])
    trials = open_run("runs/resnet8").trials()
    assert len(trials) == 290
    assert {*trials["samples"]} == {1000}
    assert {*trials["golden_accuracy"]} == {0.881}
