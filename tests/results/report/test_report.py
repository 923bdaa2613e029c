"""The report as a file: what it holds, for every kind of run; the browser is another module."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from plotly.offline import get_plotlyjs_version

from results import ResultsError, Run, write_report
from results.reading.snapshot import Snapshot
from results.report import report
from results.report.report import in_script, publish_report, render_report
from results.storage.opening import open_storage
from tests.results.report.report_runs import cell_rows, site_rows, usual_rows, write_run

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "results.md"
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
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        if tag == "script":
            self.scripts.append("")

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


def test_a_full_run_has_every_section_and_a_figure_in_each(tmp_path: Path) -> None:
    rows = usual_rows()
    page = page_of(write_run(tmp_path / "run", rows, sites=site_rows(rows)))
    assert list(page.sections)[1:] == [
        *("summary", "accuracy", "bits", "fields", "criticality", "drift", "map"),
        *("failures", "cells", "provenance", "reading"),
    ]
    plots = [attributes["id"] for tag, attributes in page.tags if attributes.get("class") == "plot"]
    assert plots == [
        *("accuracy-1", "bits-1", "bits-2", "fields-1", "criticality-1", "drift-1"),
        *("map-1", "map-2"),
    ]
    assert "24 of 24 none given up on" in page.sections["summary"]
    assert "golden accuracy 90.00% on 100 samples" in page.sections["summary"]
    assert "git.commit c0ffee git.dirty yes" in page.sections["provenance"]
    assert "Inside the worst layer, dense" in page.sections["map"]


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
    cells = next(json.loads(script) for script in page.scripts if script.startswith('{"rows"'))
    assert NASTY in cells["columns"][0]["levels"]


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
    assert "The injections were not recorded" in page.sections["drift"]
    assert "The injections were not recorded" in page.sections["map"]


def test_a_run_without_trials_says_so_in_every_section(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", [], planned=24))
    assert "24 of 24 trials are still to be done" in page.sections["summary"]
    for name in ("accuracy", "bits", "fields", "criticality", "cells"):
        assert "No trial is finished yet." in page.sections[name]
    assert "plot" not in [attributes.get("class") for _, attributes in page.tags]


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
    cells = next(json.loads(script) for script in page.scripts if script.startswith('{"rows"'))
    named = {column["name"]: column for column in cells["columns"]}
    assert named["variable"]["levels"] == ["kernel"]
    assert named["parameters"]["levels"] == ['{"factor":2}']
    assert named["metric_error"]["values"] == ["inf"] * 3
    assert sorted(named["sdc_top5_rate"]["values"]) == [0.02] * 3
    assert "dense scale factor=2" in page.sections["summary"]
    assert "sdc rate in weights" in page.sections["summary"]


def test_injections_without_classes_have_a_map_but_no_drift(tmp_path: Path) -> None:
    rows = usual_rows()
    sites = [{**row, "golden_class": None, "faulty_class": None} for row in site_rows(rows)]
    page = page_of(write_run(tmp_path / "run", rows, sites=sites))
    assert "No recorded injection is sdc and has classes." in page.sections["drift"]
    assert "sdc rate by position" in page.sections["map"]


def test_of_many_cells_the_worst_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("results.report.content.SHOWN_CELLS", 2)
    page = page_of(write_run(tmp_path / "run", usual_rows()))
    assert "The 2 cells with the highest sdc rates, of 12" in page.sections["cells"]
    cells = next(json.loads(script) for script in page.scripts if script.startswith('{"rows"'))
    assert cells["rows"] == 2
    assert cells["columns"][0]["levels"] == ["dense"]


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


def test_the_guides_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = usual_rows()
    write_run(tmp_path / "runs" / "digits", rows, sites=site_rows(rows))
    monkeypatch.chdir(tmp_path)
    section = GUIDE.read_text().partition("## The report")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    exec(code, {})  # noqa: S102 - our own page
    assert (tmp_path / "digits.html").is_file()


def test_more_injections_than_a_report_reads_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("results.reading.snapshot.MOST_INJECTIONS", 1199)
    rows = usual_rows()
    page = page_of(write_run(tmp_path / "run", rows, sites=site_rows(rows)))
    for name in ("drift", "map"):
        assert "1,200 injections were recorded, more than the 1,199" in page.sections[name]


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
