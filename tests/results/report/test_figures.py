from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from results import NothingToShowError, Run
from results.report import figures
from results.report import plot_data as views
from results.report.figure_style import OUTCOME_COLOURS, SERIES
from tests.results.report.report_runs import cell_rows, site_rows, usual_rows, write_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    rows = usual_rows()
    return write_run(tmp_path / "run", rows, sites=site_rows(rows))


def test_accuracy_has_a_series_for_each_rate_and_a_row_for_each_layer(run: Run) -> None:
    figure = figures.accuracy(run)
    assert [trace.name for trace in figure.data] == ["p = 0.1", "p = 0.5"]
    assert figure.layout.yaxis.ticktext == ("conv", "dense")
    conv, dense = figure.data[0].x
    assert conv == pytest.approx(0.9 - 22 / 3 / 100)
    assert dense == pytest.approx(0.9 - 23 / 3 / 100)
    assert "golden 90.00%" in figure.layout.annotations[0].text


def test_accuracy_shows_some_of_many_rates_and_says_so(tmp_path: Path) -> None:
    rates = [number / 50 for number in range(1, 50)]
    rows = [row for p in rates for row in cell_rows("conv", 0, bit=31, sdc=1, probability=p)]
    many = write_run(tmp_path / "many", rows)
    figure = figures.accuracy(many, shown=4)
    assert [trace.name for trace in figure.data] == ["p = 0.02", "p = 0.34", "p = 0.66", "p = 0.98"]
    assert figure.layout.xaxis.title.text == "accuracy (4 of 49 rates)"
    assert len(figures.accuracy(many).data) == 20
    assert figures.accuracy(many, shown=49).layout.xaxis.title.text == "accuracy"


def test_the_heat_map_has_rates_where_trials_have_and_nothing_elsewhere(run: Run) -> None:
    (heat,) = figures.bit_heatmap(run).data
    assert list(heat.x) == list(range(31, -1, -1))
    assert heat.z[:, [0, 1, 31]] == pytest.approx(np.array([[0.04, 0.4, 0], [0.04, 0.42, 0]]))
    assert np.isnan(heat.z[:, 2:31]).all()
    rate, low, high, count, injected, trials = heat.customdata[0, 1]
    assert (rate, count, injected, trials) == (0.4, 80, 200, 4)
    assert low < rate < high


def test_the_heat_map_of_another_outcome_is_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="The outcome is 'masked', expected one of: sdc, due"):
        figures.bit_heatmap(run, "masked")


def test_bit_fields_are_in_the_order_of_the_word(run: Run) -> None:
    figure = figures.bit_fields(run)
    assert [trace.name for trace in figure.data] == ["sdc", "due"]
    assert figure.layout.yaxis.ticktext == ("sign", "exponent", "mantissa")
    assert figure.data[0].x == pytest.approx([0.04, 0.41, 0])
    assert figure.data[1].x == pytest.approx([0, 0.02, 0])


def test_the_ranking_begins_with_the_highest_rate(run: Run) -> None:
    (points,) = figures.criticality(run, shown=2).data
    assert list(points.text) == ["dense bit 30", "conv bit 30"]
    assert points.x == pytest.approx([0.42, 0.4])


def test_drift_tells_from_which_class_to_which(run: Run) -> None:
    figure = figures.class_drift(run)
    assert figure.layout.xaxis.ticktext == ("1", "7")
    assert figure.data[0].z[1, 0] == 1.0
    assert np.isnan(figure.data[0].z).sum() == 3


@pytest.mark.parametrize(
    ("by", "shape"), [("position", (4, 4)), ("channel", (3,)), ("element", (48,))]
)
def test_the_map_of_a_layer_covers_it(run: Run, by: str, shape: tuple[int, ...]) -> None:
    (trace,) = figures.vulnerability_map(run, "dense", by=by).data
    values = trace.z if by == "position" else trace.y
    assert np.shape(values) == shape


FIGURES: list[Callable[[Run], object]] = [
    figures.accuracy,
    figures.bit_heatmap,
    figures.bit_fields,
    figures.criticality,
    figures.class_drift,
]


@pytest.mark.parametrize("make", FIGURES)
def test_without_trials_there_is_no_figure_but_a_reason(
    make: Callable[[Run], object], tmp_path: Path
) -> None:
    with pytest.raises(NothingToShowError, match=r"No trial is finished|not recorded"):
        make(write_run(tmp_path / "run", []))


def test_without_recorded_injections_there_is_no_map_but_a_reason(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", usual_rows())
    with pytest.raises(NothingToShowError, match="the campaign has no `record: injections`"):
        figures.vulnerability_map(run, "dense")


def test_without_bits_there_is_no_heat_map_but_a_reason(tmp_path: Path) -> None:
    rows = cell_rows("conv", 0, bit=None, sdc=3, bit_field=None, fault="zero")
    run = write_run(tmp_path / "run", rows)
    with pytest.raises(NothingToShowError, match="No cell has a bit of its own"):
        figures.bit_heatmap(run)
    with pytest.raises(NothingToShowError, match="The faults have no bits"):
        figures.bit_fields(run)
    assert list(figures.criticality(run).data[0].text) == ["conv"]


def test_where_nothing_happened_there_is_no_figure_but_a_reason(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", cell_rows("conv", 0, bit=31, sdc=0))
    with pytest.raises(NothingToShowError, match="None of the 100 injected samples is due"):
        figures.bit_heatmap(run, "due")
    with pytest.raises(NothingToShowError, match="None of the 100 injected samples is sdc"):
        figures.criticality(run)


def test_of_many_elements_the_surest_are_shown_without_bars(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("results.report.site_figures.MOST_POINTS", 5)
    monkeypatch.setattr("results.report.site_figures.MOST_BARS", 4)
    (points,) = figures.vulnerability_map(run, "dense").data
    assert points.type == "heatmap"
    figure = figures.vulnerability_map(run, "dense", by="element")
    assert figure.layout.xaxis.title.text == "element (5 of 48)"
    assert len(figure.data[0].x) == 5
    assert figure.data[0].error_y.array is None
    lows = run.vulnerability_map("dense")["sdc_low"]
    assert figure.data[0].customdata[:, 1].min() >= lows.nlargest(5).min()


def test_the_worst_layers_weights_are_mapped_by_the_variable_that_does_most_harm(
    tmp_path: Path,
) -> None:
    rows = [
        *cell_rows("conv", 0, bit=30, sdc=3),
        *cell_rows("dense", 1, bit=30, sdc=5, target="weights"),
    ]
    sites = site_rows(rows)
    for site in sites:
        if site["layer"] == "dense":
            site["variable"] = "bias" if site["sample"] == 0 else "kernel"
    run = write_run(tmp_path / "run", rows, sites=sites)
    assert views.worst_layer(run) == views.Worst("dense", "kernel", ("element",))


def test_targets_and_faults_have_rows_of_their_own(tmp_path: Path) -> None:
    rows = [
        *cell_rows("conv", 0, bit=30, sdc=3),
        *cell_rows("conv", 0, bit=30, sdc=5, target="weights", variable="kernel"),
        *cell_rows("conv", 0, bit=30, sdc=7, fault="stuck_at", parameters='{"value":1}'),
    ]
    figure = figures.bit_heatmap(write_run(tmp_path / "run", rows))
    assert figure.layout.yaxis.ticktext == (
        "conv",
        "conv stuck_at value=1",
        "conv weights kernel",
    )
    assert figure.data[0].z[:, 0] == pytest.approx([0.06, 0.14, 0.1])


def test_names_of_layers_are_no_markup(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", usual_rows(['<b>&"']))
    figure = figures.accuracy(run)
    assert figure.layout.yaxis.ticktext == ('&lt;b&gt;&amp;"',)
    assert figure.data[0].text[0] == '&lt;b&gt;&amp;"'


def test_long_names_lose_their_beginning_at_the_axis(tmp_path: Path) -> None:
    name = "encoder/block_12/attention/query_dense"
    figure = figures.accuracy(write_run(tmp_path / "run", usual_rows([name])))
    assert figure.layout.yaxis.ticktext == ("…_12/attention/query_dense",)
    assert figure.data[0].text[0] == name


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("colour", OUTCOME_COLOURS.values())
@pytest.mark.parametrize("paper", ["#ffffff", "#11161c"])
def test_outcomes_have_contrast_with_both_papers(colour: str, paper: str) -> None:
    dark, light = sorted((luminance(colour), luminance(paper)))
    assert (light + 0.05) / (dark + 0.05) >= 3


def test_colours_of_outcomes_are_those_of_series() -> None:
    assert set(OUTCOME_COLOURS.values()) <= set(SERIES)
