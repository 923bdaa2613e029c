"""Fixtures: real models and data, small enough to be built in the test run."""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from injecttf2 import device
from tests.s3 import AWS, s3_server

# Examples run beside Ray workers on two cores: their time says nothing.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")

# As a worker with two cores does it, before any test uses TensorFlow; Ray workers have one.
device.configure(threads=2, gpu=False)

# Ray's workers give way to all other processes (nice 15); beside busy tests they would hardly run.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray writes it so

DATA = os.environ.get("INJECTTF2_DATA")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each process begin with its share of the tests that start Ray, which take longest.

    A process is given as many tests as the others at first, in this order, and steals later ones.
    """
    for item in items:
        if item.get_closest_marker("full") and not config.getoption("full"):
            item.add_marker(pytest.mark.skip(reason="with --full: others say the same in short"))
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("ray")]
    # Those that need the cluster go to one process, which starts it once.
    long.sort(key=lambda item: "nodes" in getattr(item, "fixturenames", ()))
    short = [item for item in items if not item.get_closest_marker("ray")]
    items.clear()
    for left in range(processes, 0, -1):
        for some in (long, short):
            share = -(-len(some) // left)
            items += some[:share]
            del some[:share]


def pytest_collection_finish() -> None:
    """Spare the garbage collector what the imports have left.

    Keras collects whenever a session is cleared, so most tests would look at those millions of
    objects.
    """
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say how long the longest tests go on, and what the chaos test begins with."""
    parser.addoption(
        "--full", action="store_true", help="compare levels on all injections, not on a part"
    )
    parser.addoption(
        "--write-tables", action="store_true", help="write what was tested into the documentation"
    )
    parser.addoption("--kills", type=int, default=3, help="what the chaos test kills, at least")
    parser.addoption("--chaos-seed", type=int, default=1, help="what it kills, and when")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with MNIST and the pretrained models; tests that need it skip without it."""
    if DATA is None:
        pytest.skip("INJECTTF2_DATA is not set, so MNIST and the pretrained models are missing")
    return Path(DATA)


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 service that all tests share."""
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as (_, url):
        yield url


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a run directory on S3 that the test has to itself, and the environment for it."""
    for name, value in {**AWS, "AWS_ENDPOINT_URL": s3_url}.items():
        monkeypatch.setenv(name, value)
    return f"s3://runs/{secrets.token_hex(4)}/run"
