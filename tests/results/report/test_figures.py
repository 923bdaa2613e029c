from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from results import NothingToShowError, Run
from results.report import figures
from results.report import plot_data as views
from results.report.figure_style import NONE_SEEN, OUTCOME_COLOURS, SERIES, shortened
from results.report.rankings import rankings
from tests.results.report.report_runs import cell_rows, site_rows, usual_rows, write_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    rows = usual_rows()
    return write_run(tmp_path / "run", rows, sites=site_rows(rows))


def test_accuracy_is_that_of_one_rate(run: Run) -> None:
    figure = figures.accuracy(run, label="p = 0.1")
    assert list(figure.data[0].y) == ["dense", "conv"]
    dense, conv = figure.data[0].x
    assert conv == pytest.approx(0.9 - 22 / 3 / 100)
    assert dense == pytest.approx(0.9 - 23 / 3 / 100)
    assert figure.layout.annotations[0].text == "without faults 90.00%"
    assert figure.layout.title.text == "Accuracy under faults, p = 0.1"


def test_below_five_trials_an_accuracy_has_no_interval(tmp_path: Path) -> None:
    rows = [
        *cell_rows("conv", 0, bit=31, sdc=1, repetitions=4),
        *cell_rows("dense", 1, bit=30, sdc=3, repetitions=5),
    ]
    points = figures.accuracy(write_run(tmp_path / "run", rows)).data[0]
    assert list(points.y) == ["dense", "conv"]
    assert np.isnan(points.error_x.array).tolist() == [False, True]
    place, value, low, high = (f"%{{customdata[{at}]" for at in range(4))
    enough, few = points.hovertemplate
    assert f"{place}}}<br>accuracy {value}:.2%}}<br>without" in few
    assert f"accuracy {value}:.2%}} ({low}:.2%}} to {high}:.2%}})<br>without" in enough


def test_axes_of_rates_do_not_go_beyond_0_and_100_percent(run: Run) -> None:
    figure = figures.accuracy(run)
    lost, layers = figures.curves(run, "lost"), figures.criticality(run)
    for axis in (figure.layout.xaxis, lost.layout.yaxis, layers.layout.xaxis):
        assert (axis.autorangeoptions.clipmin, axis.autorangeoptions.clipmax) == (0, 1)


def test_curves_have_a_point_for_each_rate(tmp_path: Path) -> None:
    rows = [
        row
        for exponent in (6, 5, 4)
        for at, layer in enumerate(("conv", "dense"))
        for row in cell_rows(
            layer, at, bit=31, sdc=2 * (6 - exponent) + at, probability=None, ber=10.0**-exponent
        )
    ]
    run = write_run(tmp_path / "run", rows)
    figure = figures.curves(run, "lost")
    assert [trace.name for trace in figure.data] == ["dense", "conv"]
    assert figure.data[1].x.tolist() == [1e-6, 1e-5, 1e-4]
    assert figure.data[1].y == pytest.approx([0, 0.04, 0.08])
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis.ticktext == ("1e-06", "1e-05", "0.0001")
    accuracy = figures.curves(run, shown=1)
    assert [trace.name for trace in accuracy.data] == ["dense"]
    assert accuracy.data[0].y == pytest.approx([0.89, 0.87, 0.85])


def test_one_rate_has_no_curves_but_a_reason(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", cell_rows("conv", 0, bit=31, sdc=1))
    with pytest.raises(NothingToShowError, match="There are not two rates"):
        figures.curves(run)


def test_the_heat_map_has_a_column_for_each_bit_and_a_colour_for_none(run: Run) -> None:
    figure = figures.bit_heatmap(run)
    (heat,) = figure.data
    assert list(heat.x) == ["31", "30", "0"]
    assert list(heat.y) == ["dense", "conv"]
    assert figure.layout.xaxis.ticktext == ("31", "30", "0")
    assert heat.z[:, :2] == pytest.approx(np.log10([[0.04, 0.44], [0.04, 0.42]]))
    below = -2 - 0.35 * (2 + np.log10(0.44))
    assert heat.zmin == pytest.approx(below)
    assert heat.z[:, 2] == pytest.approx([below, below])
    assert heat.colorscale[0] == (0.0, NONE_SEEN)
    assert heat.colorbar.ticktext == ("none", "1%", "10%")
    rate, low, high, sdc, due, injected, trials = heat.customdata[1, 1]
    assert (rate, sdc, due, injected, trials) == (0.42, 40, 2, 100, 2)
    assert low < rate < high


@pytest.mark.parametrize(("layers", "bits"), [(2, 1), (1, 2)])
def test_one_column_or_one_row_is_no_heat_map(layers: int, bits: int, tmp_path: Path) -> None:
    rows = [
        row
        for at in range(layers)
        for bit in (31, 30)[:bits]
        for row in cell_rows(f"layer_{at}", at, bit=bit, sdc=1)
    ]
    with pytest.raises(NothingToShowError, match="of one, the bars tell the same"):
        figures.bit_heatmap(write_run(tmp_path / "run", rows))


def test_where_a_layer_lacks_a_bit_the_heat_map_is_empty(tmp_path: Path) -> None:
    rows = [*cell_rows("conv", 0, bit=31, sdc=1), *cell_rows("dense", 1, bit=30, sdc=3)]
    (heat,) = figures.bit_heatmap(write_run(tmp_path / "run", rows)).data
    assert np.isnan(heat.z).tolist() == [[True, False], [False, True]]


def test_layers_are_ranked_by_what_they_lose(run: Run) -> None:
    sdc, due, lost = figures.criticality(run, label="p = 0.5").data
    assert list(lost.y) == ["dense", "conv"]
    assert sdc.x == pytest.approx([23 / 150, 22 / 150])
    assert due.x == pytest.approx([1 / 150, 1 / 150])
    assert lost.x == pytest.approx([24 / 150, 23 / 150])
    assert list(lost.marker.symbol) == ["circle-open", "circle-open"]
    assert len(figures.criticality(run, shown=1).data[0].y) == 1


def test_bits_are_in_the_order_of_the_word_and_certain_ranks_filled(run: Run) -> None:
    lost = figures.criticality(run, "bit").data[2]
    assert list(lost.x) == ["31", "30", "0"]
    assert lost.y == pytest.approx([0.04, 0.43, 0])
    assert list(lost.marker.symbol) == ["circle-open", "circle", "circle-open"]


def test_fields_stand_for_the_bits_that_were_drawn_from_them(tmp_path: Path) -> None:
    rows = [
        row
        for field, sdc in (("mantissa", 1), ("exponent", 9))
        for row in cell_rows("conv", 0, bit=None, bit_field=field, sdc=sdc)
    ]
    lost = figures.criticality(write_run(tmp_path / "run", rows), "bit").data[2]
    assert list(lost.x) == ["exponent", "mantissa"]


def test_a_label_that_there_is_not_is_refused(run: Run) -> None:
    expected = r"label is 'p = 1', expected one of: 'p = 0.1', 'p = 0.5'"
    with pytest.raises(ValueError, match=expected):
        figures.criticality(run, label="p = 1")


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
    figures.curves,
    figures.bit_heatmap,
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


def test_without_bits_there_is_no_figure_of_bits_but_a_reason(tmp_path: Path) -> None:
    rows = cell_rows("conv", 0, bit=None, sdc=3, bit_field=None, fault="zero")
    run = write_run(tmp_path / "run", rows)
    for make in (figures.bit_heatmap, lambda one: figures.criticality(one, "bit")):
        with pytest.raises(NothingToShowError, match="No bit has trials of its own"):
            make(run)
    assert list(figures.criticality(run).data[0].y) == ["conv"]


def test_where_nothing_happened_there_is_no_figure_but_a_reason(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", cell_rows("conv", 0, bit=31, sdc=0))
    for make in (figures.bit_heatmap, figures.criticality):
        with pytest.raises(NothingToShowError, match="None of the 100 injected samples is sdc or"):
            make(run)


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
    assert min(row[2] for row in figure.data[0].customdata) >= lows.nlargest(5).min()


def test_the_worst_layers_weights_are_mapped_by_the_variable_that_does_most_harm(
    tmp_path: Path,
) -> None:
    rows = [
        *cell_rows("conv", 0, bit=31, sdc=0, target="weights"),
        *cell_rows("dense", 1, bit=30, sdc=5, target="weights"),
    ]
    sites = site_rows(rows)
    for site in sites:
        if site["layer"] == "dense":
            site["variable"] = "bias" if site["sample"] == 0 else "kernel"
    run = write_run(tmp_path / "run", rows, sites=sites)
    assert views.worst_layer(run) == views.Worst("dense", "kernel", ("element",))


def test_targets_and_faults_have_figures_of_their_own(tmp_path: Path) -> None:
    rows = [
        *cell_rows("conv", 0, bit=30, sdc=3),
        *cell_rows("conv", 0, bit=30, sdc=5, target="weights", variable="kernel"),
        *cell_rows("conv", 0, bit=30, sdc=7, fault="stuck_at", parameters='{"value":1}'),
    ]
    run = write_run(tmp_path / "run", rows)
    rates = {
        one.label: figures.criticality(run, label=one.label).data[2].x[0]
        for one in rankings(run, "layer")
    }
    assert rates == {
        "outputs bit_flip": pytest.approx(0.08),
        "outputs stuck_at value=1": pytest.approx(0.16),
        "weights bit_flip": pytest.approx(0.12),
    }


def test_names_of_layers_are_no_markup(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", usual_rows(['<b>&"']))
    figure = figures.accuracy(run)
    assert figure.layout.yaxis.ticktext == ('&lt;b&gt;&amp;"',)
    assert figure.data[0].customdata[0][0] == '&lt;b&gt;&amp;"'


def test_long_names_are_short_at_the_axis_and_whole_in_hovers(tmp_path: Path) -> None:
    name = "encoder/block_12/attention/query_dense"
    run = write_run(tmp_path / "run", usual_rows([name]))
    figure = figures.accuracy(run)
    assert figure.layout.yaxis.ticktext == ("encoder/bloc…n/query_dense",)
    assert figure.data[0].customdata[0][0] == name
    (line,) = figures.curves(run).data
    assert (line.name, line.customdata[0][0]) == ("encoder/bloc…n/query_dense", name)


CONVNEXT = "convnext_tiny_stage_{}_block_{}_pointwise_convolution_with_layer_scale_and_more"
SHORTENED = {
    "the middle is lost": (
        ["out", "encoder/block_1/attention/query", "encoder/block_1/attention/value"],
        ["out", "encoder/bloc…tention/query", "encoder/bloc…tention/value"],
    ),
    "the end is lost where names differ at the beginning": (
        [CONVNEXT.format(stage, 0) for stage in range(2)],
        ["convnext_tiny_stage_0_blo…", "convnext_tiny_stage_1_blo…"],
    ),
    "what all have is lost where names differ within": (
        [CONVNEXT.format(stage, block) for stage in range(2) for block in range(2)],
        [f"…xt_tiny_stage_{stage}_block_{block}_…" for stage in range(2) for block in range(2)],
    ),
    "names that differ in length alone stay": (["a" * 40, "a" * 41], ["a" * 40, "a" * 41]),
}


@pytest.mark.parametrize("case", SHORTENED)
def test_shortened_names_differ(case: str) -> None:
    names, expected = SHORTENED[case]
    assert shortened(names) == expected


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("colour", [*OUTCOME_COLOURS.values(), *SERIES])
@pytest.mark.parametrize("paper", ["#ffffff", "#11161c"])
def test_marks_have_contrast_with_both_papers(colour: str, paper: str) -> None:
    dark, light = sorted((luminance(colour), luminance(paper)))
    assert (light + 0.05) / (dark + 0.05) >= 3


def test_colours_of_outcomes_are_those_of_series() -> None:
    assert set(OUTCOME_COLOURS.values()) <= set(SERIES)
