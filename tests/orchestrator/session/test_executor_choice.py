"""Which executor `auto` takes, and that its rows are the same."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from injecttf2 import device
from orchestrator.campaign.campaign import load_campaign
from orchestrator.errors import StoppedError
from orchestrator.executors.ray import RayExecutor
from orchestrator.executors.run_options import RunOptions
from orchestrator.planning.backlog import Backlog, by_group
from orchestrator.planning.estimate import SITE_SECONDS, evaluation_seconds
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.session.executor_choice import asked_of_ray, by_work
from orchestrator.session.launch import launch
from tests.orchestrator.conftest import Command, Run, assert_equal_rows

NOTHING = RunOptions("run")

SOONER = "with 2 workers and up to 20 s to start, Ray is sooner from about 40 s on"


@pytest.mark.parametrize(
    ("options", "environment", "gpus", "expected"),
    [
        (NOTHING, {}, 0, None),
        (NOTHING, {"RAY_ADDRESS": "", "RAY_TMPDIR": "ray"}, 0, None),
        (RunOptions("run", retry_failed=True, any_numerics=True, levels=()), {}, 0, None),
        (RunOptions("run", workers=2), {}, 0, "--workers given"),
        (RunOptions("run", cpus=2, patience=9.0), {}, 0, "--patience, --cpus-per-worker given"),
        (RunOptions("run", gpus=0.0), {}, 0, "--gpus-per-worker given"),
        (
            RunOptions("run", workers=2, address="h:1", variables={"--address": "RAY_ADDRESS"}),
            {"RAY_ADDRESS": "h:1"},
            0,
            "--workers, RAY_ADDRESS given",
        ),
        (RunOptions("run", cpu_workers=1), {}, 1, "--cpu-workers given"),
        (RunOptions("run", metrics_port=80), {}, 0, "--metrics-port given"),
        (RunOptions("run", address="auto"), {"RAY_JOB_ID": "01"}, 0, "--address given"),
        (
            NOTHING,
            {"RAY_JOB_ID": "01000000"},
            0,
            "RAY_JOB_ID is set; `--address auto` joins that cluster",
        ),
        (
            NOTHING,
            {"RAY_ADDRESS": "10.0.0.1:6379"},
            0,
            "RAY_ADDRESS is set; `--address auto` joins that cluster",
        ),
        (NOTHING, {}, 1, "there is a GPU"),
    ],
)
def test_what_asks_for_ray(
    options: RunOptions, environment: dict[str, str], gpus: int, expected: str | None
) -> None:
    assert asked_of_ray(options, environment, gpus) == expected


def plan_of(campaign: Path, repetitions: int = 3, more: str = "") -> Plan:
    text = campaign.read_text().replace("repetitions: 3", f"repetitions: {repetitions}")
    campaign.write_text(text + more)
    return make_plan(load_campaign(campaign))


def left_of(plan: Plan, start: int = 0, stop: int | None = None) -> Backlog:
    """The trials of a plan between two positions."""
    stop = len(plan.grid) if stop is None else stop
    return Backlog(by_group(plan.grid, [(start, stop)]), looks=plan.new_looks())


def test_little_work_is_done_in_this_process(campaign: Path) -> None:
    plan = plan_of(campaign)
    name, reason = by_work(plan, left_of(plan), NOTHING, 2)
    assert (name, reason) == ("inline", f"about 1 s of work; {SOONER}")


def test_much_work_is_rays(campaign: Path) -> None:
    plan = plan_of(campaign, repetitions=10_000_000)
    name, reason = by_work(plan, left_of(plan), NOTHING, 2)
    assert name == "ray"
    assert reason.endswith(f" s of work; {SOONER}")


@pytest.mark.parametrize(
    ("cores", "seconds", "name"),
    [
        *((2, 39.9, "inline"), (2, 40.0, "ray")),
        *((5, 24.9, "inline"), (5, 25.0, "ray")),
        (1, 1e6, "inline"),
    ],
)
def test_ray_is_taken_where_its_workers_are_done_sooner_with_their_start(
    cores: int, seconds: float, name: str, campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "orchestrator.session.executor_choice.evaluation_seconds", lambda *_, **__: seconds
    )
    plan = plan_of(campaign)
    found, reason = by_work(plan, left_of(plan), NOTHING, cores)
    assert found == name
    if cores == 1:
        assert reason == "about 1,000,000 s of work; with one core Ray is no sooner"
    else:
        sooner = f"with {cores} workers and up to 20 s to start, Ray is sooner from about "
        assert (
            reason == f"about {seconds:.0f} s of work; {sooner}{20 * cores / (cores - 1):.0f} s on"
        )


def test_only_what_is_left_counts(campaign: Path) -> None:
    plan = plan_of(campaign, repetitions=10_000_000)
    everything = evaluation_seconds(plan, left_of(plan))
    end = len(plan.grid)
    a_tenth = evaluation_seconds(plan, left_of(plan, end - end // 10))
    assert a_tenth < everything / 5
    assert by_work(plan, left_of(plan, end - 100), NOTHING, 2)[0] == "inline"
    assert evaluation_seconds(plan, left_of(plan, end)) == 0.0


def test_samples_that_do_not_leave_early_take_longer(campaign: Path) -> None:
    plan = plan_of(campaign, repetitions=100_000)
    fast, dense = (
        evaluation_seconds(plan, left_of(plan), levels=levels) for levels in (True, False)
    )
    assert fast < dense


def test_sites_that_are_drawn_by_the_thousand_take_their_time(campaign: Path) -> None:
    seconds, sites = {}, {}
    for rate in (0.1, 1.0):  # nearly every sample is hit, or every one
        grid = f"grid={{layers: all, bits: random, bers: {rate}}}"
        plan = make_plan(load_campaign(campaign, overrides=[grid]))
        seconds[rate] = evaluation_seconds(plan, left_of(plan))
        sites[rate] = sum(trials * plan.sampling.sites(cell) for cell, trials in plan.grid.cells())
    assert sites[1.0] == pytest.approx(10 * sites[0.1], rel=1e-12)
    assert seconds[1.0] - seconds[0.1] >= 0.9 * sites[1.0] * SITE_SECONDS


def test_with_a_precision_all_counts_that_it_may_come_to(campaign: Path) -> None:
    text = campaign.read_text().replace("repetitions: 3\n", "")
    campaign.write_text(text + "precision: {half_width: 0.0001}\n")
    plan = make_plan(load_campaign(campaign))
    looks = plan.new_looks()
    assert looks is not None
    released = [*plan_ranges(plan)]
    backlog = Backlog(by_group(plan.grid, released), looks=looks)
    assert backlog.trials < plan.trials / 10
    assert by_work(plan, backlog, NOTHING, 2)[0] == "ray"


def plan_ranges(plan: Plan) -> list[tuple[int, int]]:
    """The positions that are released before any trial is done."""
    from orchestrator.planning.adaptive_sampling import without

    looks = plan.new_looks()
    assert looks is not None
    return list(without([(0, len(plan.grid))], looks.withheld()))


def test_the_command_says_what_it_chose_and_gives_the_rows_of_an_inline_run(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "cores", lambda: 2)
    for name in ("RAY_ADDRESS", "RAY_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    run(campaign, tmp_path / "inline")
    ended = injecttf2("run", campaign, "--no-report", "--output", tmp_path / "auto")
    assert ended.code == 0
    said = f"executor: inline, about 1 s of work; {SOONER}"
    assert said in ended.err.splitlines()
    assert_equal_rows(tmp_path / "inline", tmp_path / "auto")


def test_an_executor_that_was_asked_for_is_taken_without_a_word(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    ended = injecttf2("run", campaign, "--executor", "inline", "--output", tmp_path / "run")
    assert "executor:" not in ended.err


@pytest.mark.ray
def test_options_of_rays_start_it_and_rows_are_the_same(
    campaign: Path, run: Run, tmp_path: Path
) -> None:
    written = io.StringIO()
    options = RunOptions(str(tmp_path / "ray"), workers=1)
    launch(load_campaign(campaign), options, Console(file=written, width=200))
    lines = written.getvalue().splitlines()
    at = lines.index("executor: ray, --workers given")
    assert lines[at + 1 : at + 3] == [
        "starting Ray",
        "starting workers: TensorFlow, the model and a golden run in each",
    ]
    run(campaign, tmp_path / "inline")
    assert_equal_rows(tmp_path / "inline", tmp_path / "ray")


def test_where_ray_cannot_start_much_work_is_done_in_this_process(
    campaign: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object, **__: object) -> None:
        raise StoppedError("Ray cannot start on this machine: no shared memory")

    monkeypatch.setattr("orchestrator.executors.ray.RayExecutor.__init__", cannot)
    assert RayExecutor.__init__ is cannot
    monkeypatch.setattr("orchestrator.session.executor_choice.START_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(device, "cores", lambda: 2)
    for name in ("RAY_ADDRESS", "RAY_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    written = io.StringIO()
    options = RunOptions(str(tmp_path / "auto"))
    launch(load_campaign(campaign), options, Console(file=written, width=200))
    said = written.getvalue().splitlines()
    assert "executor: inline, Ray cannot start on this machine: no shared memory" in said
    run(campaign, tmp_path / "inline")
    assert_equal_rows(tmp_path / "inline", tmp_path / "auto")
    with pytest.raises(StoppedError):
        run(campaign, tmp_path / "asked", "auto", workers=1)
    with pytest.raises(StoppedError):
        run(campaign, tmp_path / "ray", "ray")
