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
    """A run of the command line: its wall time, its workers' peak memory and its summary."""

    seconds: float
    worker_bytes: int
    summary: dict[str, float]


def run(campaign: Path, output: Path, *options: str) -> Measured:
    """Run a campaign in a process of its own."""
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(campaign)]
    command += ["--output", str(output), "--json", *options]
    peaks: dict[int, int] = {}
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(peaks, stop))
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
    return Measured(seconds, max(peaks.values(), default=0), summary)


def _watch(peaks: dict[int, int], stop: threading.Event) -> None:
    """Note the peak memory of every Ray worker until told to stop."""
    while not stop.wait(0.5):
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if not (folder / "cmdline").read_bytes().startswith(b"ray::Worker"):
                    continue
                for line in (folder / "status").read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        peaks[int(folder.name)] = int(line.split()[1]) * 1024
            except (OSError, ValueError):
                continue  # the process has ended
