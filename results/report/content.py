"""What the report says: the answer, its figures, and then what is behind them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from results.report import plot_data
from results.report.against import Against, against
from results.report.answer import answer, by_kind, sentence
from results.report.blocks import blocks
from results.report.number_tables import number_tables
from results.report.plots import Plot, each, or_none, plot
from results.report.rank_figures import bits_in_order, layers_and_bits, layers_by_rank
from results.report.rankings import By, Ranking, rankings, shown_first
from results.report.sections import against_section, sections_of
from results.report.tables import percent
from results.run_folder.heartbeat import RUNNING
from results.run_folder.schema import RATES

if TYPE_CHECKING:
    import pandas as pd

    from results.reading.run import Run
    from results.reading.snapshot import Snapshot
    from results.reading.status import RunStatus

DRAWN = 20
"""Kinds of faults and rates that have figures; of more, so many evenly spaced ones."""

FOLDED = 15
"""Rows of a figure; of more, those that lose most, or one a block, or all."""


def content(run: Snapshot, other: Snapshot | None = None) -> dict[str, Any]:
    """Return what the template of the report is filled with.

    Args:
        run: The run.
        other: The run to compare it with.

    Raises:
        ResultsError: The runs have no cell in common.
    """
    status = run.status()
    compared = None if other is None else against(run, other)
    ranked: dict[By, list[Ranking]] = {
        by: or_none(partial(rankings, run, by)) or [] for by in ("layer", "bit")
    }
    ranked["bit"] = [one for one in ranked["bit"] if len(one.rows) > 1]  # a lone one is no answer
    drawn = _spaced(ranked["layer"])
    start = shown_first(drawn)
    missing: set[str] = set()
    sections = sections_of(run, drawn, drawn[start], missing) if drawn else []
    filled = {
        "name": str(run.campaign.get("name", "campaign")),
        "place": run.path,
        "status": status,
        "state": _state(status),
        "created_at": run.created_at,
        "sentences": _sentences(run, drawn, ranked, compared, finished=status.finished),
        "facts": _facts(run, status, ranked["layer"]),
        "first": _first(run, drawn, ranked["bit"], missing) if drawn else [],
        "choices": _choices(run, drawn, start),
        "every": len(ranked["layer"]),
        "against": against_section(compared, drawn, other) if compared and other else None,
        "sections": sections,
        "tables": number_tables(run, ranked),
        "missing": sorted(missing),
        "methods": sorted({name for one in ranked["layer"] for name in one.rows["method"]}),
        "identity": dict(_flat(run.identity)),
        "golden": dict(_flat(run.golden or {})),
        "provenance": dict(
            _flat({**run.provenance, "numerics": dict(enumerate(run.numerics, start=1))})
        ),
        "earlier": [dict(_flat(earlier)) for earlier in run.earlier_provenance],
        "campaign": json.dumps(run.campaign, indent=2, ensure_ascii=False, default=str),
    }
    return {**filled, "left_out": sorted({*status.unreadable, *run.left_out})}


def _sentences(
    run: Run,
    drawn: list[Ranking],
    ranked: dict[By, list[Ranking]],
    compared: Against | None,
    *,
    finished: bool,
) -> list[tuple[int, str]]:
    """Return the answers for two runs, for layers and for bits: the choice, and the sentence."""
    if not drawn:
        return [(0, answer(run))]
    numbers = {one.key: number for number, one in enumerate(drawn)}
    both = compared.layers if compared else ()
    found = [(numbers[one.key], told) for one, told, _ in both if one.key in numbers]
    for by, rankings_of in ranked.items():
        rates = by_kind(rankings_of)
        found += [
            (numbers[one.key], sentence(run, one, by, rates[one.kind], finished=finished))
            for one in rankings_of
            if one.key in numbers
        ]
    return [one for one in found if one[1]]


def _spaced(found: list[Ranking]) -> list[Ranking]:
    """Return the rankings that have figures."""
    step = max(1, len(found) - 1) / max(1, min(DRAWN, len(found)) - 1)
    return [found[round(number * step)] for number in range(min(DRAWN, len(found)))]


def _choices(run: Run, drawn: list[Ranking], start: int) -> dict[str, Any]:
    """Return what the page can be asked to show: kinds and rates, and blocks of layers.

    Files that it saves are called after the run.
    """
    names = list(dict.fromkeys(name for one in drawn for name in one.rows["place"]))
    block_of = blocks(names) if len(names) > FOLDED else {}
    return {
        "run": run.path.rstrip("/").rpartition("/")[2],
        "labels": [one.label for one in drawn],
        "start": start,
        "rows": FOLDED,
        "names": names,
        "blocks": [block_of[name] for name in names] if block_of else [],
    }


def _first(run: Run, drawn: list[Ranking], bits: list[Ranking], missing: set[str]) -> list[Plot]:
    """Return the figures of the first screen: layers, bits, and each at each."""
    by_key = {one.key: one for one in bits}
    by_bit = plot_data.by_bit(run)
    return [
        *plot(
            "layers",
            "Most critical layers",
            "With 95% intervals; filled where the rank is certain.",
            each(drawn, layers_by_rank),
            missing,
        ),
        *plot(
            "bits",
            "Most critical bits",
            "Over all layers.",
            [
                ((number,), partial(bits_in_order, by_key[one.key]))
                for number, one in enumerate(drawn)
                if one.key in by_key
            ],
            missing,
        ),
        *plot(
            "map",
            "Layers and bits",
            f"Share that is lost, logarithmic. Grey: none seen{_among(by_bit)}.",
            each(drawn, lambda one: layers_and_bits(one, by_bit)),
            missing,
        ),
    ]


def _among(by_bit: pd.DataFrame) -> str:
    """Return in how many samples none was seen, if that is the same everywhere."""
    each = by_bit["injected"].unique()
    return f" in {each[0]:,}" if len(each) == 1 else ""


def _state(status: RunStatus) -> str:
    """Return how complete the run is, and when it last said that it runs; empty if it is."""
    if status.finished:
        return ""
    left = f"{status.left:,} of {status.planned:,} trials"
    told = f"The run is not finished: {left} are still to be done"
    told += ", and everything here is about the others." if status.done else "."
    heartbeat = status.heartbeat
    if heartbeat and heartbeat.state == RUNNING:
        told += f" Its last sign of life is of {heartbeat.at:%Y-%m-%d %H:%M:%S} UTC"
        age = max(0, round(heartbeat.age))
        told += f", {age:,} s before this was written." if heartbeat.alive else "."
    return told


def _facts(run: Run, status: RunStatus, found: list[Ranking]) -> list[tuple[str, str, str]]:
    """Return what is to be known first: name, value, and what it is of."""
    facts = []
    trials = run.trials(["samples", "golden_accuracy", "injected", "layer"])
    if len(trials):
        golden, samples = trials["golden_accuracy"].iloc[0], trials["samples"].iloc[0]
        of = f"on {samples:,} samples"
        if (run.golden or {}).get("at_chance"):
            of += "; hardly better than chance"
        facts.append(("accuracy without faults", percent(golden), of))
        injected, layers = trials["injected"].sum(), trials["layer"].nunique()
        where = "1 layer" if layers == 1 else f"{layers:,} layers"
        at = f", at {_rates(found)}" if found else ""
        facts.append(("injected samples", f"{injected:,}", f"in {where}{at}"))
    given_up = f"{status.failures:,} given up on" if status.failures else ""
    facts.append(("trials", f"{status.done:,} of {status.planned:,}", given_up))
    if known := status.precision:
        rest = [str(one["of"]) for one in known if one["state"] != "reached"]
        told = f"not reached: {'; '.join(rest)}" if rest else "all rates are known as asked"
        facts.append(("precision", f"{len(known) - len(rest):,} of {len(known):,} reached", told))
    return facts


def _rates(found: list[Ranking]) -> str:
    """Return the rates of rankings, those of each kind together."""
    kinds: dict[str, dict[str, None]] = {}
    for one in found:
        known = one.rows[list(RATES)].iloc[0].dropna()
        kinds.setdefault(str(known.index[0]) if len(known) else "", {})[one.rate] = None
    return " and ".join(_listed([*rates]) for rates in kinds.values())


def _listed(rates: list[str]) -> str:
    return ", ".join(rates) if len(rates) <= 3 else f"{len(rates)} rates, {rates[0]} to {rates[-1]}"


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a mapping holds, nested names joined by dots."""
    for name, one in value.items():
        if isinstance(one, Mapping):
            yield from _flat(one, f"{before}{name}.")
        elif one is not None:
            yield f"{before}{name}", ("yes" if one else "no") if isinstance(one, bool) else str(one)
