"""The whole job from Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from injecttf2.errors import CampaignError
from orchestrator import Campaign, load_campaign, run
from orchestrator.errors import StoppedError
from orchestrator.session.session import Session
from results import RunNotFoundError, open_run
from tests.orchestrator.conftest import assert_equal_rows


def made(folder: Path) -> Campaign:
    return Campaign(
        name="made",
        model=str(folder / "model.keras"),
        dataset=str(folder / "data.npz"),
        seed=11,
        repetitions=2,
        grid={"layers": "logits", "bits": [30, "sign"], "probabilities": [0.2, 1.0]},
    )


def test_a_campaign_made_here_gives_the_rows_of_its_file(
    campaign: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = run(made(tmp_path), tmp_path / "mine", executor="inline", quiet=True)
    assert capfd.readouterr() == ("", "")
    assert len(mine.trials()) == 8
    campaign.write_text(
        "name: made\nmodel: model.keras\ndataset: data.npz\nseed: 11\nrepetitions: 2\n"
        "grid: {layers: logits, bits: [30, sign], probabilities: [0.2, 1]}\n"
    )
    run(load_campaign(campaign), tmp_path / "file", executor="inline", quiet=True, levels=[])
    assert_equal_rows(tmp_path / "mine", tmp_path / "file")


def test_arguments_may_be_what_a_script_has(campaign: Path, tmp_path: Path) -> None:
    found = run(
        made(tmp_path),
        tmp_path / "run",
        executor="inline",
        cpus_per_worker=np.int64(1),  # type: ignore[arg-type]
        levels=np.array(["drop"]),  # type: ignore[arg-type]
        quiet=True,
    )
    assert len(found.trials()) == 8
    again = load_campaign(str(campaign), model=tmp_path / "m.h5", dataset=Path("digits"))
    assert again.model is not None
    assert again.model.source == str(tmp_path / "m.h5")
    assert again.dataset is not None
    assert again.dataset.source == str(Path("digits").resolve())


def test_paths_are_relative_to_the_current_folder(
    campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(made(Path()), executor="inline", quiet=True)
    assert len(found.trials()) == 8
    assert len(open_run(tmp_path / "runs" / "made").trials()) == 8


def test_what_is_wrong_is_raised(campaign: Path, tmp_path: Path) -> None:
    wrong = made(tmp_path).model_copy(update={"dataset": None})
    with pytest.raises(CampaignError, match="a campaign needs a model and a dataset"):
        run(wrong, tmp_path / "run", executor="inline", quiet=True)


def test_a_campaign_may_be_its_file_or_its_keys(campaign: Path, tmp_path: Path) -> None:
    keys = made(tmp_path).resolved()
    found = run(keys, tmp_path / "keys", executor="inline", quiet=True)
    assert len(found.trials()) == 8
    head = campaign.read_text().partition("grid:")[0]
    campaign.write_text(f"{head}grid: {{layers: logits, bits: 30, probabilities: [0.2, 1]}}\n")
    assert len(run(str(campaign), tmp_path / "a", executor="inline", quiet=True).trials()) == 6
    assert len(run(campaign, tmp_path / "a", executor="inline", quiet=True).trials()) == 6
    with pytest.raises(CampaignError) as caught:
        run(3)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "campaign: received 3, expected a Campaign, the path of a campaign file, or a mapping with "
        "its keys"
    )


@pytest.mark.parametrize(
    ("key", "value", "objects"),
    [
        ("model", 5, "a model of Keras or TensorFlow, or a function without arguments that "),
        ("dataset", 7, "(inputs, labels), a dict of arrays x and y, a tf.data.Dataset, or a "),
        ("dataset", [1], "(inputs, labels), a dict of arrays x and y, a tf.data.Dataset, or a "),
    ],
)
def test_what_is_no_model_or_data_is_told_what_may_be(key: str, value: Any, objects: str) -> None:
    with pytest.raises(CampaignError) as caught:
        Campaign(grid={"bits": 3, "probabilities": 1}, **{key: value})
    assert str(caught.value).startswith(
        f"{key}: received {value!r}, expected text, or a mapping with the key 'source'; or "
        f"{objects}"
    )


def test_a_run_is_opened_by_a_path() -> None:
    with pytest.raises(RunNotFoundError) as caught:
        open_run(3)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "open_run: received 3, expected the path or the URI of a run directory"
    )


def test_many_runs_of_a_process_make_tensorflow_complain_of_nothing(
    campaign: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = made(tmp_path).model_copy(update={"repetitions": 1})
    for number in range(6):
        run(one, tmp_path / f"run{number}", executor="inline", quiet=True)
    assert [record.message for record in caplog.records if record.name == "tensorflow"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"executor": "inlin"}, "executor is 'inlin', expected 'auto', 'ray' or 'inline'"),
        ({"levels": ["foo"]}, "levels names 'foo', expected some of drop, difference"),
        ({"workers": 0}, "workers is 0, expected 1 or more, or None"),
        ({"workers": True}, "workers is True, expected 1 or more, or None"),
        ({"workers": "2"}, "workers is '2', expected 1 or more, or None"),
        ({"cpus_per_worker": 1.5}, "cpus_per_worker is 1.5, expected 1 or more"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        run(made(tmp_path), tmp_path / "run", quiet=True, **arguments)


def test_a_run_that_stops_is_an_error(
    campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(self: Session) -> object:
        return type("Summary", (), {"stopped": "no worker", "done": 3, "trials": 8})()

    monkeypatch.setattr(Session, "run", stopped)
    with pytest.raises(StoppedError, match="3 of 8 trials are done: no worker"):
        run(made(tmp_path), tmp_path / "run", executor="inline", quiet=True)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, orchestrator; print({'tensorflow', 'ray', 'pyarrow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(sys.modules["orchestrator"], "nothing")  # noqa: B009
