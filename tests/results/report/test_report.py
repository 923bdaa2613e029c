"""The report as a file: what it holds, for every kind of run; the browser is another module."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from plotly.offline import get_plotlyjs_version

from results import ResultsError, Run, write_report
from results.reading.snapshot import Snapshot
from results.report import report
from results.report.report import in_script, publish_report, render_report
from results.run_folder.heartbeat import Heartbeat
from results.storage.opening import open_storage
from tests.results.report.report_runs import cell_rows, site_rows, usual_rows, write_run

NASTY = 'conv</script><b>&"'


class Page(HTMLParser):
    """The page's text by section, and its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sections: dict[str, str] = {}
        self.scripts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._section = ""
        self._inside = ""
        self.figures: dict[str, list[str]] = {}
        self.feed(html)

    @property
    def choices(self) -> dict[str, Any]:
        """What the figures can be asked to show."""
        held: dict[str, Any] = self._held("choices")
        return held

    @property
    def tables(self) -> dict[str, Any]:
        """The tables of numbers."""
        held: dict[str, Any] = self._held("table-data")
        return held

    def _held(self, name: str) -> Any:
        ids = [attributes.get("id") for tag, attributes in self.tags if tag == "script"]
        return json.loads(self.scripts[ids.index(name)])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        if tag == "figure":
            self.figures[dict(attrs)["id"] or ""] = []
        if tag == "script":
            self.scripts.append("")
            if "data-choices" in dict(attrs):
                self.figures[[*self.figures][-1]].append(dict(attrs)["data-choices"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            words = f"{self.sections.get(self._section, '')} {data}"
            self.sections[self._section] = " ".join(words.split())


def page_of(run: Run) -> Page:
    return Page(render_report(run))


def test_a_full_run_begins_with_the_answer_and_has_a_figure_in_each_section(
    tmp_path: Path,
) -> None:
    rows = usual_rows()
    page = page_of(write_run(tmp_path / "run", rows, sites=site_rows(rows)))
    assert list(page.sections)[1:] == [
        *("summary", "first", "accuracy", "drift", "inside", "tables", "provenance", "reading"),
    ]
    assert page.figures == {
        "layers": ["0", "1"],
        "bits": ["0", "1"],
        "map": ["0", "1"],
        "curves": ["0 1"],
        "lost": ["0 1"],
        "by-layer": ["0", "1"],
        "drift-map": [""],
        "inside-position": [""],
        "inside-channel": [""],
    }
    answer = "p = 0.5 (the highest of 2 rates): dense is the most critical layer: 16.00% (12.29 to"
    assert answer in page.sections["summary"]
    assert "accuracy without faults 90.00% on 100 samples" in page.sections["summary"]
    assert "1,200 in 2 layers, at p = 0.1, p = 0.5" in page.sections["summary"]
    assert "trials 24 of 24" in page.sections["summary"]
    assert "git.commit c0ffee git.dirty yes" in page.sections["provenance"]
    assert "Inside dense, p = 0.5" in page.sections["inside"]


def test_the_first_choice_is_the_highest_rate_of_the_faults_that_lose_most(tmp_path: Path) -> None:
    rows = [
        row
        for fault, sdc in (("bit_flip", 9), ("zero", 3))
        for p in (0.1, 0.5)
        for row in cell_rows("conv", 0, bit=31, sdc=sdc, fault=fault, probability=p)
    ]
    page = page_of(write_run(tmp_path / "run", rows))
    assert page.choices["labels"] == [
        *("bit_flip, p = 0.1", "bit_flip, p = 0.5", "zero, p = 0.1", "zero, p = 0.5"),
    ]
    assert page.choices["start"] == 1
    assert page.figures["curves"] == ["0 1", "2 3"]


def test_of_many_rates_some_have_figures_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("results.report.content.DRAWN", 3)
    rates = [0.1, 0.2, 0.3, 0.4, 0.5]
    rows = [row for p in rates for row in cell_rows("conv", 0, bit=31, sdc=1, probability=p)]
    page = page_of(write_run(tmp_path / "run", rows))
    assert page.choices["labels"] == ["p = 0.1", "p = 0.3", "p = 0.5"]
    assert "3 of 5 kinds of faults and rates have figures" in page.sections["summary"]
    rate = next(one for one in page.tables["layers"]["columns"] if one["name"] == "rate")
    assert rate["levels"] == [f"p = {p}" for p in reversed(rates)]


def test_many_layers_are_folded_by_blocks(tmp_path: Path) -> None:
    names = [f"block_{block}_{part}" for part in ("expand", "project") for block in range(9)]
    rows = [row for at, name in enumerate(names) for row in cell_rows(name, at, bit=31, sdc=at)]
    page = page_of(write_run(tmp_path / "run", rows))
    told = dict(zip(page.choices["names"], page.choices["blocks"], strict=True))
    assert told == {name: name.rpartition("_")[0] for name in names}
    assert page.choices["rows"] == 15


def test_numbers_are_of_layers_bits_and_cells_and_never_over_rates(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", usual_rows()))
    assert {name: table["rows"] for name, table in page.tables.items()} == {
        "layers": 4,
        "bits": 6,
        "cells": 12,
    }
    for name in ("layers", "bits"):
        assert [one["label"] for one in page.tables[name]["columns"][:3]] == [
            *(name[:-1], "rate", "sdc+due rate"),
        ]


def test_the_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", usual_rows()))
    for tag, attributes in page.tags:
        assert tag not in ("link", "img", "iframe", "object")
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    policy = dict(page.tags[4][1])
    assert (policy["content"] or "").startswith("default-src 'none';")


def test_user_texts_are_escaped_wherever_they_stand(tmp_path: Path) -> None:
    rows = usual_rows([NASTY, "dense"])
    run = write_run(
        tmp_path / "run", rows, sites=site_rows(rows), errors=["<img src=x>"], name="<i>name</i>"
    )
    page = page_of(run)
    assert not [tag for tag, _ in page.tags if tag in ("b", "i", "img")]
    assert NASTY in page.sections["summary"]
    assert "<img src=x>" in page.sections["failures"]
    assert NASTY in page.tables["cells"]["columns"][0]["levels"]


def test_json_cannot_end_the_script_that_it_stands_in() -> None:
    text = in_script({"layer": "</script><!--&"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"layer": "</script><!--&"}


def test_what_failed_and_what_is_missing_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", usual_rows(), planned=40, errors=["out of memory"])
    page = page_of(run)
    assert "15 of 40 trials are still to be done" in page.sections["summary"]
    assert "24 of 40 1 given up on" in page.sections["summary"]
    assert "layer conv, bit 30 out of memory" in page.sections["failures"]
    assert "Not shown: The injections were not recorded" in page.sections["reading"]
    assert not {"drift", "inside"} & set(page.sections)


def test_a_run_without_trials_says_so_and_has_no_empty_section(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", [], planned=24))
    assert "24 of 24 trials are still to be done. No trial is" in page.sections["summary"]
    assert "No trial is finished yet." in page.sections["summary"]
    assert list(page.sections)[1:] == ["summary", "provenance", "reading"]
    assert page.figures == {}


@pytest.mark.parametrize(("age", "told"), [(14, ", 14 s before this was written."), (999, ".")])
def test_a_run_that_was_killed_tells_its_last_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: int, told: str
) -> None:
    run = write_run(tmp_path / "run", usual_rows(), planned=40)
    heartbeat = Heartbeat(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), age, "here", 1, "running")
    status = replace(run.status(), heartbeat=heartbeat)
    monkeypatch.setattr(Run, "status", lambda _: status)
    said = f"Its last sign of life is of 2026-01-02 03:04:05 UTC{told} "
    assert said in page_of(run).sections["summary"]


def test_rates_of_each_kind_are_told_together(tmp_path: Path) -> None:
    rows = [
        *(row for p in (0.1, 0.2) for row in cell_rows("a", 0, bit=31, sdc=1, probability=p)),
        *(
            row
            for count in (1, 2, 4, 10)
            for row in cell_rows("a", 0, bit=31, sdc=1, probability=None, count=count)
        ),
    ]
    page = page_of(write_run(tmp_path / "run", rows))
    told = "in 1 layer, at p = 0.1, p = 0.2 and 4 rates, 1 site to 10 sites"
    assert told in page.sections["summary"]


@pytest.mark.parametrize(("layers", "told"), [(6, False), (7, True)])
def test_lines_of_some_layers_are_told_only_of_some(
    tmp_path: Path, layers: int, told: bool
) -> None:
    page = page_of(write_run(tmp_path / "run", usual_rows([f"l{at}" for at in range(layers)])))
    assert ("the 6 layers that lose most" in page.sections["accuracy"]) is told


def test_captions_tell_n_where_it_is_the_same_and_where_intervals_are_missing(
    tmp_path: Path,
) -> None:
    rows = [*cell_rows("a", 0, bit=31, sdc=1), *cell_rows("b", 1, bit=30, sdc=1)]
    page = page_of(write_run(tmp_path / "same", rows))
    assert "Grey: none seen in 100." in page.sections["first"]
    assert "Of fewer than 5 trials an accuracy has none." in page.sections["accuracy"]
    page = page_of(write_run(tmp_path / "other", [*rows, *cell_rows("b", 1, bit=29, sdc=1)[:1]]))
    assert "Grey: none seen. " in page.sections["first"] + " "


def test_where_one_bit_was_injected_the_map_is_missing_and_the_reason_told(tmp_path: Path) -> None:
    rows = [row for at in range(3) for row in cell_rows(f"l{at}", at, bit=30, sdc=at)]
    page = page_of(write_run(tmp_path / "run", rows))
    assert list(page.figures) == ["layers", "by-layer"]
    assert "Not shown: A map of layers and bits has several" in page.sections["reading"]


def test_numbers_begin_with_the_highest_rate_and_in_it_with_the_highest_lower_bound(
    tmp_path: Path,
) -> None:
    ber = {"probability": None, "bit": None}
    rows = [
        *cell_rows("surer", 0, ber=1e-5, sdc=9, **ber),
        *cell_rows("fewer", 1, ber=1e-5, sdc=1, repetitions=1, injected=5, masked=4, **ber),
        *cell_rows("surer", 0, ber=1e-2, sdc=1, **ber),
    ]
    page = page_of(write_run(tmp_path / "run", rows))
    for name, rate in (("layers", "sdc+due_rate"), ("cells", "sdc+due_rate")):
        columns = {one["name"]: one for one in page.tables[name]["columns"]}
        layers = [columns["layer"]["levels"][at] for at in columns["layer"]["values"]]
        assert layers == ["surer", "surer", "fewer"]
        assert columns[rate]["values"] == [0.02, 0.18, 0.2]


def test_where_nothing_was_lost_the_bound_is_told(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", cell_rows("conv", 0, bit=31, sdc=0)))
    told = "No sdc or due in 100 injected samples: at most 3.70%."
    assert told in page.sections["summary"]
    assert list(page.figures) == ["by-layer"]
    assert "Not shown: None of the 100 injected samples is sdc or due." in page.sections["reading"]


def test_weights_faults_metrics_and_criteria_are_columns_of_the_cells(tmp_path: Path) -> None:
    columns = {"metric_error": float("inf"), "sdc_top5": 1}
    rows = [
        *cell_rows("conv", 0, bit=30, sdc=3, **columns),
        *cell_rows("conv", 0, bit=30, sdc=5, target="weights", variable="kernel", **columns),
        *cell_rows(
            "dense",
            1,
            bit=None,
            sdc=2,
            fault="scale",
            bit_field=None,
            parameters='{"factor":2}',
            probability=None,
            count=3,
            **columns,
        ),
    ]
    run = write_run(tmp_path / "run", rows, columns=list(columns))
    page = page_of(run)
    named = {column["name"]: column for column in page.tables["cells"]["columns"]}
    assert named["variable"]["levels"] == ["kernel"]
    assert named["parameters"]["levels"] == ['{"factor":2}']
    assert named["metric_error"]["values"] == ["inf"] * 3
    assert sorted(named["sdc_top5_rate"]["values"]) == [0.02] * 3
    labels = ["outputs bit_flip, p = 0.5", "outputs scale factor=2, 3 sites"]
    assert page.choices["labels"] == [*labels, "weights bit_flip, p = 0.5"]


def test_injections_without_classes_have_a_map_but_no_drift(tmp_path: Path) -> None:
    rows = usual_rows()
    sites = [{**row, "golden_class": None, "faulty_class": None} for row in site_rows(rows)]
    page = page_of(write_run(tmp_path / "run", rows, sites=sites))
    told = "Not shown: No recorded injection is sdc and has classes."
    assert told in page.sections["reading"]
    assert "sdc rate by position" in page.sections["inside"]


def test_of_many_cells_the_worst_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("results.report.number_tables.SHOWN_CELLS", 2)
    page = page_of(write_run(tmp_path / "run", usual_rows()))
    assert "Of 12 cells, the 2 that lose most are here" in page.sections["tables"]
    assert page.tables["cells"]["rows"] == 2
    assert page.tables["cells"]["columns"][0]["levels"] == ["dense"]


def test_fifty_layers_of_64_bits_are_a_page_of_three_megabytes(tmp_path: Path) -> None:
    rows = [
        row
        for index in range(50)
        for bit in range(64)
        for row in cell_rows(f"layer_{index}", index, bit=bit, sdc=bit % 5, repetitions=1)
    ]
    file = write_report(write_run(tmp_path / "run", rows), tmp_path / "report.html")
    assert file.stat().st_size < 3_000_000


def test_the_file_is_replaced_all_at_once_and_nothing_is_left_aside(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", usual_rows())
    file = tmp_path / "report.html"
    file.write_text("old")
    assert write_report(run, file) == file
    assert file.read_text().startswith("<!doctype html>")
    assert [one.name for one in tmp_path.glob("*report*")] == ["report.html"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", usual_rows())
    place = tmp_path / "run" / "campaign.json" / "report.html"
    with pytest.raises(ResultsError, match=re.escape(str(place.parent))):
        write_report(run, place)


def test_a_run_on_object_storage_keeps_its_report_there(s3: str) -> None:
    place = publish_report(write_run(s3, usual_rows()))
    assert place == f"{s3}/report.html"
    assert open_storage(s3).read("report.html").startswith(b"<!doctype html>")
    assert len(write_run(s3, usual_rows(["conv", "dense"])).trials()) == 24


def test_the_run_directory_is_still_a_runs_with_a_report_in_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", usual_rows())
    write_report(run, tmp_path / "run" / "report.html")
    again = write_run(tmp_path / "run", usual_rows(["conv", "dense"]))
    assert len(again.trials()) == 24


def test_more_injections_than_a_report_reads_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("results.reading.snapshot.MOST_INJECTIONS", 1199)
    rows = usual_rows()
    page = page_of(write_run(tmp_path / "run", rows, sites=site_rows(rows)))
    told = "Not shown: 1,200 injections were recorded, more than the 1,199"
    assert told in page.sections["reading"]


def test_a_snapshot_answers_what_was_asked_before_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", usual_rows())
    snapshot, expected = Snapshot(run), run.summary("layer")
    given = snapshot.summary("layer")
    ranks = snapshot.criticality("layer", metric="due")
    monkeypatch.setattr(Snapshot, "trials", None)  # who asks for rows fails
    given["sdc"] = 0  # what was given is the caller's own
    pd.testing.assert_frame_equal(snapshot.summary(["layer"]), expected)
    pd.testing.assert_frame_equal(snapshot.criticality(["layer"], metric="due"), ranks)
    with pytest.raises(TypeError):
        snapshot.summary("layer", confidence=0.9)


def test_what_cannot_be_seen_is_written_out_and_addresses_have_no_secrets() -> None:
    page = report._environment().from_string("{{ name }} {{ own_file('report.css')[:0] }}{{ 7 }}")
    name = "<\x1b[2J\u202e> s3://key:hidden@bucket/run"
    assert page.render(name=name) == r"&lt;\x1b[2J\u202e&gt; s3://bucket/run 7"


def test_plotly_js_is_of_the_version_that_draws_the_figures() -> None:
    """Otherwise: make plotly."""
    templates = Path(report.__file__).parent / "templates"
    head = (templates / "plotly-cartesian.min.js").read_text()[:200]
    assert f"plotly.js (cartesian - minified) v{get_plotlyjs_version()}\n" in head
