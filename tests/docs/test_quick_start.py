"""The quick start prints what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from injecttf2.datasets import digits
from injecttf2.models.digits_cnn import trained_model
from tests.docs.pages import blocks, example_is_that_of_the_docs, follow


def test_the_quick_start_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained_model().save("my_model.keras")
    images, labels = digits.test_data()
    np.savez("test.npz", x_test=images, y_test=labels)
    names = follow(blocks("docs/guide/quick-start.md"), exact=example_is_that_of_the_docs())
    assert len(names["trials"]) == 350
    assert (tmp_path / "campaign.yaml").exists()
