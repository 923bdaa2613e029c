import os
import subprocess
import sys
from pathlib import Path

from results.storage.process import is_dead, this_instance

TELL = (
    "from results.storage.process import this_instance; print(this_instance(), flush=True); input()"
)


def test_process_that_runs_is_not_dead_and_one_that_was_killed_is(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        instance = other.stdout.readline().strip()
        assert not is_dead(instance)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(instance)  # though the pid is still taken, by its remains
    assert is_dead(instance)


def test_process_of_the_same_number_is_another_one() -> None:
    instance = this_instance()
    assert not is_dead(instance)
    assert is_dead(f"{instance}0")


def test_nothing_is_known_of_other_machines() -> None:
    boot, namespace, pid, start = this_instance().split()
    assert not is_dead(f"0{boot} {namespace} {pid} {start}0")
    assert not is_dead(f"{boot} pid:[1] {pid} {start}0")
    for nonsense in ("", " ", "x", "a b", "a b c", f"{boot} {namespace} x {start}"):
        assert not is_dead(nonsense)
