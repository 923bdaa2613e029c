import pandas as pd
import pytest

from results.report.labels import fault_label, place_labels, rate_labels

ROWS = pd.DataFrame(
    [
        ("conv", "outputs", None, "bit_flip", None, None),
        ("conv", "weights", "kernel", "bit_flip", None, None),
        ("conv", "outputs", None, "stuck_at", '{"value":0,"@table":"ab12"}', None),
        ("conv", "outputs", None, "bit_flip", None, "tmr layers=conv"),
    ],
    columns=["layer", "target", "variable", "fault", "parameters", "protection"],
)


def test_what_is_usual_is_left_out_of_a_place() -> None:
    assert place_labels(ROWS) == [
        *("conv", "conv weights kernel", "conv stuck_at value=0", "conv tmr layers=conv"),
    ]


def test_a_place_is_named_by_the_columns_that_are_given() -> None:
    assert place_labels(ROWS, ["fault", "parameters"]) == ["", "", "stuck_at value=0", ""]
    assert place_labels(ROWS, []) == [""] * 4


def test_digests_among_the_parameters_are_left_out() -> None:
    assert fault_label("custom", '{"@code":"ab12"}') == "custom"
    assert fault_label("scale", '{"factor":2}') == "scale factor=2"
    assert fault_label("zero", None) == "zero"


@pytest.mark.parametrize(
    ("rate", "label"),
    [
        ({"probability": 0.1}, "p = 0.1"),
        ({"count": 1}, "1 site"),
        ({"count": 2000}, "2,000 sites"),
        ({"ber": 1e-6}, "BER 1e-06"),
        ({"sampling": "listed"}, "listed sites"),
    ],
)
def test_rates_are_named_by_what_they_are(rate: dict[str, object], label: str) -> None:
    row = {"probability": None, "count": None, "ber": None, "sampling": "random", **rate}
    frame = pd.DataFrame([row]).astype({"count": "Int64"})
    assert rate_labels(frame) == [label]
