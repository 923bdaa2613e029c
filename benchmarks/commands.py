"""Running injecttf2's command line and watching what it takes.

As a program, ``python -m benchmarks.commands COMMAND``, this runs a command and prints what it has
used: a process that is small itself and has one child only, so that peak memory is that child's.
"""

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """A run of the command line.

    Args:
        seconds: Wall time.
        cpu_seconds: CPU time of the process and of those that it waited for; with Ray those of
            workers are not among them.
        peak_bytes: Peak memory of that process.
        worker_bytes: Largest peak memory of a worker, pages that it shares counted in full.
        worker_share: The same with pages that are shared divided among those that share them.
        summary: What it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    worker_bytes: int
    worker_share: int
    summary: dict[str, float]


def run(campaign: Path, output: Path, *options: str) -> Measured:
    """Run a campaign in a process of its own."""
    command = [sys.executable, "-m", "injecttf2", "run", str(campaign)]
    command += ["--output", str(output), "--json", *options]
    watched = [sys.executable, "-m", "benchmarks.commands", *command]
    peaks: dict[int, int] = {}
    shares: dict[int, int] = {}
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(peaks, shares, stop))
    watcher.start()
    try:
        done = subprocess.run(watched, capture_output=True, text=True, check=False)
    finally:
        stop.set()
        watcher.join()
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    summary, used = map(json.loads, done.stdout.splitlines()[-2:])
    largest, share = (max(one.values(), default=0) for one in (peaks, shares))
    return Measured(**used, worker_bytes=largest, worker_share=share, summary=summary)


def run_inline(text: str, folder: Path, *options: str) -> tuple[Measured, Path]:
    """Run a campaign, given as text, in one process; return what it took and its run directory."""
    own = Path(tempfile.mkdtemp(dir=folder))
    (own / "campaign.yaml").write_text(text)
    measured = run(own / "campaign.yaml", own / "run", "--executor", "inline", *options)
    return measured, own / "run"


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


def main() -> None:
    """Run the command that the arguments are; the last line tells time and memory as JSON."""
    begin = time.perf_counter()
    done = subprocess.run(sys.argv[1:], check=False)
    seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = {
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * 1024,
    }
    print(json.dumps(told))
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
