"""Running injecttf2's command line and watching what it takes."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """A run of the command line.

    Args:
        seconds: Wall time.
        worker_bytes: Largest peak memory of a worker, pages that it shares counted in full.
        worker_share: The same with pages that are shared divided among those that share them.
        summary: What it printed.
    """

    seconds: float
    worker_bytes: int
    worker_share: int
    summary: dict[str, float]


def run(campaign: Path, output: Path, *options: str) -> Measured:
    """Run a campaign in a process of its own."""
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(campaign)]
    command += ["--output", str(output), "--json", *options]
    peaks: dict[int, int] = {}
    shares: dict[int, int] = {}
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(peaks, shares, stop))
    watcher.start()
    begin = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        seconds = time.perf_counter() - begin
        stop.set()
        watcher.join()
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    summary = json.loads(done.stdout.splitlines()[-1])
    largest, share = (max(one.values(), default=0) for one in (peaks, shares))
    return Measured(seconds, largest, share, summary)


def _watch(peaks: dict[int, int], shares: dict[int, int], stop: threading.Event) -> None:
    """Note the peak memory of every Ray worker until told to stop."""
    while not stop.wait(0.5):
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            number = int(folder.name)
            try:
                if not (folder / "cmdline").read_bytes().startswith(b"ray::RayWorker"):
                    continue
                peaks[number] = _field(folder / "status", "VmHWM")
                shares[number] = max(shares.get(number, 0), _field(folder / "smaps_rollup", "Pss"))
            except (OSError, ValueError):
                continue  # the process has ended


def _field(file: Path, name: str) -> int:
    """Return the bytes that a file of /proc gives under a name, in kB."""
    for line in file.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(name)
