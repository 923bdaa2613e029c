"""Campaign files on top of others, and values that the command line gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from injecttf2.errors import CampaignError
from orchestrator.campaign.campaign import Campaign, load_campaign
from results import open_run
from tests.orchestrator.conftest import Command

BASE = """
name: base
model: nets/model.keras
dataset: data.npz
seed: 3
repetitions: 2
judge: top1
grid:
  layers: [conv, pool]
  bits: [1, 2, 3]
  probabilities: [0.5]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "variants").mkdir()
    return tmp_path


def variant(folder: Path, text: str, name: str = "variant") -> Path:
    file = folder / "variants" / f"{name}.yaml"
    file.write_text(text)
    return file


def refusal(file: Path | str, *overrides: str) -> str:
    with pytest.raises(CampaignError) as caught:
        load_campaign(file, overrides=overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("repetitions=50", {"repetitions": 50}),
        ("repetitions=1e2", {"repetitions": 100}),
        ("grid.bits=[30]", {"bits": [30]}),
        ("grid.bits=[0-2, sign]", {"bits": [0, 1, 2, "sign"]}),
        ("grid[0].bits=7", {"bits": [7]}),
        ("grid.bits[1]=9", {"bits": [1, 9, 3]}),
        ("grid={layers: fc, bits: 5, counts: 1}", {"layers": ["fc"], "probabilities": None}),
        ("dataset.samples=10", {"samples": 10}),
        ("judge.output=probs", {"judge": {"type": "top1", "parameters": {}, "output": "probs"}}),
        ("precision.half_width=0.1", {"precision": {"half_width": 0.1}}),
        ("seed=", {"seed": 0}),
        ("seed=null", {"seed": 0}),
        ("name=other", {"name": "other"}),
    ],
)
def test_a_value_on_the_command_line_counts(
    folder: Path, override: str, value: dict[str, Any]
) -> None:
    overrides = [override, "repetitions="] if override.startswith("precision") else [override]
    said = load_campaign("base.yaml", overrides=overrides).resolved()
    said.update(said["dataset"], **said["grid"][0])
    for key, expected in value.items():
        found = said.get(key)
        if isinstance(expected, dict):
            assert {name: found[name] for name in expected} == expected
        else:
            assert found == expected


def test_later_values_count(folder: Path) -> None:
    assert load_campaign("base.yaml", overrides=["seed=5", "seed=6"]).seed == 6


def test_a_path_on_the_command_line_is_relative_to_the_current_folder(folder: Path) -> None:
    file = variant(folder, BASE)
    campaign = load_campaign(file, overrides=["dataset.source=other.npz"])
    assert campaign.dataset is not None
    assert campaign.model is not None
    assert campaign.dataset.source == str(folder / "other.npz")
    assert campaign.model.source == str(folder / "variants" / "nets" / "model.keras")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("grid.bitz=[30]", "-o grid.bitz: unknown key 'bitz'; did you mean 'bits'? (valid keys: "),
        ("gird.bits=[30]", "-o gird.bits: unknown key 'gird'; did you mean 'grid'? (valid keys: "),
        ("grid.bits=[1, 99]", "-o grid.bits: bits: received 99, expected a bit from 0 to 63"),
        ("repetitions=0", "-o repetitions: repetitions: received 0, expected 1 or more"),
        ("grid.bits=[30", "-o grid.bits: a list that is opened with '[' is not closed with ']'"),
        ("grid.bits={a: 1, a: 2}", "-o grid.bits: the key 'a' is given twice, on line 1 and"),
        ("grid.bits=!!python/name:os.system", "-o grid.bits: the tag !!python/name:os.system is"),
        ("repetitions", "-o: received 'repetitions', expected PATH=VALUE, such as repetitions=50"),
        ("=3", "-o: received '=3', expected PATH=VALUE"),
        ("grid..bits=3", "-o: received 'grid..bits=3', expected PATH=VALUE"),
        ("seed.x=3", "-o seed.x: seed is 3, which has no key 'x'"),
        ("grid.bits[3]=3", "-o grid.bits[3]: grid.bits is a list of 3 entries, from [0]: received"),
        ("grid.bits.x=3", "-o grid.bits.x: grid.bits is a list of 3 entries, from [0]: received"),
        ("extends=a.yaml", "-o extends: extends: received 'a.yaml', expected nothing: "),
    ],
)
def test_what_is_wrong_on_the_command_line_is_told_there(
    folder: Path, override: str, message: str
) -> None:
    assert refusal("base.yaml", override).startswith(message)


def test_of_several_grids_one_is_named(folder: Path) -> None:
    grid = BASE.partition("grid:")[2].replace("\n  ", ", ").lstrip(", ").rstrip()
    (folder / "base.yaml").write_text(BASE.partition("grid:")[0] + f"grid: [{{{grid}}}]\n")
    assert load_campaign("base.yaml", overrides=["grid[0].bits=4"]).grid[0].bits == (4,)
    assert refusal("base.yaml", "grid.bits=4") == (
        "-o grid.bits: grid is a list of one entry, [0]: received the key 'bits'"
    )


def test_a_file_takes_over_what_it_does_not_say(folder: Path) -> None:
    file = variant(
        folder,
        "extends: ../base.yaml\nseed: 4\ndataset: {samples: 5}\ngrid: {bits: [30], counts: 2, "
        "probabilities: null}\n",
    )
    campaign = load_campaign(file)
    assert (campaign.name, campaign.seed, campaign.repetitions) == ("variant", 4, 2)
    (grid,) = campaign.grid
    assert (grid.layers, grid.bits, grid.counts) == (("conv", "pool"), (30,), (2,))
    assert campaign.dataset is not None
    assert (campaign.dataset.source, campaign.dataset.samples) == (str(folder / "data.npz"), 5)


def test_paths_are_relative_to_the_file_that_they_stand_in(folder: Path) -> None:
    file = variant(
        folder,
        "extends: ../base.yaml\ndataset: own.npz\ngrid: [{sites: own.csv}, {sites: a.csv}]\n",
    )
    campaign = load_campaign(file)
    assert campaign.model is not None
    assert campaign.dataset is not None
    assert campaign.model.source == str(folder / "nets" / "model.keras")
    assert campaign.dataset.source == str(folder / "variants" / "own.npz")
    files = [spec.sites.file for spec in campaign.grid if spec.sites is not None]
    assert files == [str(folder / "variants" / name) for name in ("own.csv", "a.csv")]


def test_another_source_brings_nothing_of_the_first(folder: Path) -> None:
    file = folder / "base.yaml"
    file.write_text(BASE.replace("dataset: data.npz", "dataset: {source: data.npz, samples: 5}"))
    campaign = load_campaign(variant(folder, "extends: ../base.yaml\ndataset: digits\n"))
    assert campaign.dataset is not None
    assert campaign.dataset.samples is None


def test_files_extend_files_that_extend_others(folder: Path) -> None:
    variant(folder, "extends: ../base.yaml\nseed: 4\nrepetitions: 7\n", "middle")
    campaign = load_campaign(variant(folder, "extends: middle.yaml\nseed: 5\n"))
    assert (campaign.seed, campaign.repetitions, campaign.grid[0].bits) == (5, 7, (1, 2, 3))
    names = ("variants/variant.yaml", "variants/middle.yaml", "variants/../base.yaml")
    assert campaign.files == tuple(folder / name for name in names)
    assert campaign.given == {"extends": [str(folder / name) for name in names[1:]]}


def test_mistakes_are_told_in_the_file_that_they_stand_in(folder: Path) -> None:
    (folder / "base.yaml").write_text(BASE.replace("[1, 2, 3]", "[1, 99]"))
    file = variant(folder, "extends: ../base.yaml\nsede: 4\n")
    first, second = refusal(file).splitlines()[:2]
    assert first.startswith(f"{folder}/variants/../base.yaml:10:13: bits: received 99, expected a ")
    assert second.startswith(f"{file}:2:1: unknown key 'sede'; did you mean 'seed'?")


def test_an_entry_that_was_replaced_is_told_where_it_stands_now(folder: Path) -> None:
    file = variant(folder, "extends: ../base.yaml\ngrid:\n  bits: [99]\n")
    assert refusal(file).startswith(f"{file}:3:10: bits: received 99")
    assert refusal(file, "grid.bits=98").startswith("-o grid.bits: bits: received 98")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: nosuch.yaml\n", "variant.yaml:1:10: variants/nosuch.yaml: there is no such "),
        ("seed: 1\nextends: 3\n", "variant.yaml:2:10: extends: received 3, expected the name of "),
        ("extends: [a.yaml]\n", "variant.yaml:1:10: extends: received ['a.yaml'], expected the "),
        ("extends: ''\n", "variant.yaml:1:10: extends: received '', expected the name of a"),
        ("extends: .\n", "variant.yaml:1:10: variants: this is a folder"),
        (
            "extends: variant.yaml\n",
            "variant.yaml:1:10: the files extend one another: variants/variant.yaml -> "
            "variants/variant.yaml\n  remove `extends` from one of them",
        ),
    ],
)
def test_what_cannot_be_extended_is_refused(folder: Path, text: str, message: str) -> None:
    variant(folder, text)
    assert refusal("variants/variant.yaml").startswith(f"variants/{message}")


def test_a_ring_of_files_is_told_as_a_whole(folder: Path) -> None:
    variant(folder, "extends: b.yaml\n", "a")
    variant(folder, "extends: ../variants/c.yaml\n", "b")
    variant(folder, "extends: a.yaml\n", "c")
    assert refusal("variants/a.yaml") == (
        "variants/../variants/c.yaml:1:10: the files extend one another: variants/a.yaml -> "
        "variants/b.yaml -> variants/../variants/c.yaml -> variants/../variants/a.yaml\n"
        "  remove `extends` from one of them"
    )


def test_a_campaign_of_a_script_extends_no_file() -> None:
    with pytest.raises(CampaignError, match=r"^extends: received 'a.yaml', expected nothing: load"):
        Campaign(extends="a.yaml", grid={"bits": 3, "counts": 1})


def test_the_originals_file_takes_values_of_the_command_line(folder: Path) -> None:
    file = variant(
        folder,
        "inject_layer: {layer_name: a, fault_type: BitFlip, bit_flip_type: RandomBit, "
        "probability: 1}\n",
    )
    overrides = ["inject_layer.probability=0.25"]
    campaign = load_campaign(file, model="m.keras", dataset="d.npz", overrides=overrides)
    assert campaign.grid[0].probabilities == (0.25,)


def test_a_run_tells_what_it_was_put_together_from(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    file = tmp_path / "few.yaml"
    file.write_text("extends: small.yaml\ngrid: {layers: [pool]}\n")
    options = ("--executor", "inline", "--output", tmp_path / "run")
    ended = injecttf2("run", file, "-o", "grid.bits=[30]", "--override", "repetitions=2", *options)
    assert ended.code == 0
    run = open_run(tmp_path / "run")
    assert len(run.trials()) == 3 * 2
    assert run.campaign["grid"][0]["bits"] == [30]
    assert run.provenance["campaign"] == {
        "extends": [str(campaign)],
        "overrides": ["grid.bits=[30]", "repetitions=2"],
    }
    planned = injecttf2("plan", file, "-o", "grid.bits=[30, 31]", "--json").json
    assert planned["trials"] == 3 * 2 * 3


def test_of_a_missing_file_only_a_near_name_is_suggested(folder: Path) -> None:
    """What there is: base.yaml and variants/variant.yaml."""
    for name, hint in (
        ("../bsae.yaml", f"did you mean '{folder / 'variants' / '..' / 'base.yaml'}'? "),
        ("../gone.yaml", ""),
    ):
        file = variant(folder, f"extends: {name}\n")
        with pytest.raises(CampaignError) as caught:
            load_campaign(file)
        assert str(caught.value).endswith(
            f"there is no such file\n  {hint}`injecttf2 init` writes a commented campaign to start "
            "from"
        )
