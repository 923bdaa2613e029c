import json

import numpy as np
import pandas as pd
import pytest

from results.report.tables import Column, arranged, columns_of, json_of, percent, rate

FRAME = pd.DataFrame(
    {
        "layer": pd.Categorical(["conv", "dense"]),
        "bit": pd.array([30, None], "Int16"),
        "injected": [1200, 0],
        "sdc_rate": [0.0753, np.nan],
        "sdc_low": [0.0721, np.nan],
        "sdc_high": [0.0786, np.nan],
        "metric_error": [np.inf, 0.123456789],
        "certain": [True, False],
    }
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00%"), (1.0, "100.00%"), (0.0753, "7.53%"), (0.0000123, "0.0012%"), (np.nan, "-")],
)
def test_small_shares_keep_two_digits(value: float, text: str) -> None:
    assert percent(value) == text


def test_a_rate_is_told_with_its_bounds() -> None:
    assert rate(0.0753, 0.0721, 0.0786) == "7.53% (7.21 to 7.86)"
    assert rate(0.5, np.nan, np.nan) == "50.00%"


def test_bounds_stand_with_their_rate() -> None:
    assert columns_of(FRAME)[3] == Column("sdc_rate", "sdc rate", "rate", "sdc_low", "sdc_high")


def test_json_holds_what_the_table_shows() -> None:
    held = json.loads(json.dumps(json_of(FRAME), allow_nan=False))
    assert held["rows"] == 2
    layer, bit, injected, rates, metric, certain = held["columns"]
    assert (layer["values"], layer["levels"]) == ([0, 1], ["conv", "dense"])
    assert bit["values"] == [30, None]
    assert injected["values"] == [1200, 0]
    assert (rates["values"], rates["low"]) == ([0.0753, None], [0.0721, None])
    assert metric["values"] == ["inf", 0.123457]
    assert certain["levels"] == ["yes", "no"]


def test_levels_have_the_order_of_categories_whatever_that_of_the_rows() -> None:
    layer = json_of(FRAME[::-1])["columns"][0]
    assert (layer["values"], layer["levels"]) == ([1, 0], ["conv", "dense"])


def test_columns_without_a_value_are_left_out() -> None:
    frame = FRAME.assign(ber=np.nan)
    assert "ber" not in [column.name for column in columns_of(frame)]


def test_keys_come_first_and_then_rates() -> None:
    names = list(arranged(FRAME.assign(masked=1), ["layer"]).columns)
    assert names[:5] == ["layer", "sdc_rate", "certain", "injected", "masked"]
