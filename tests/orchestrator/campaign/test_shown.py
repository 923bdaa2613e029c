from orchestrator import Campaign

GRID = {"bits": ["0-22", 30, 31], "probabilities": 1.0}


def test_a_campaign_is_told_by_what_differs_from_the_defaults() -> None:
    campaign = Campaign(
        model="builtin:digits_cnn",
        dataset={"source": "digits", "samples": 50},
        grid=[GRID, {"layers": ["a", "b*"], "fault": "zero", "counts": 2}],
        repetitions=3,
    )
    assert (
        repr(campaign)
        == str(campaign)
        == (
            "Campaign(model='builtin:digits_cnn', dataset={'source': 'digits', 'samples': 50}, "
            "repetitions=3, grid=[{'bits': ['0-22', 30, 31], 'probabilities': 1.0}, "
            "{'layers': ['a', 'b*'], 'fault': 'zero', 'counts': 2}])"
        )
    )
    assert eval(repr(campaign)) == campaign  # noqa: S307 - our own text


def test_a_notebook_shows_a_row_for_each_key() -> None:
    campaign = Campaign(model="<b>.keras", dataset=([[1]], [0]), grid=GRID)
    assert campaign._repr_html_() == (
        "<table><tr><th>model</th><td>&lt;b&gt;.keras</td></tr>"
        "<tr><th>dataset</th><td>in memory: inputs, labels</td></tr>"
        "<tr><th>grid</th><td>{&#x27;bits&#x27;: [&#x27;0-22&#x27;, 30, 31], "
        "&#x27;probabilities&#x27;: 1.0}</td></tr></table>"
    )
