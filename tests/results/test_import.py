import subprocess
import sys
from pathlib import Path

from tests.results.report.report_runs import usual_rows, write_run

HEAVY = ("tensorflow", "keras", "ray", "pandas", "scipy", "pyarrow.dataset")


def test_importing_results_loads_nothing_heavy() -> None:
    code = f"import results, sys; print([name for name in {HEAVY} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert output.stdout.decode() == "[]\n"


def test_everything_in_all_exists() -> None:
    import results

    assert sorted(results.__all__) == sorted(set(results.__all__))
    assert all(hasattr(results, name) for name in results.__all__)


def test_results_open_where_python_has_no_fcntl(tmp_path: Path) -> None:
    """As on Windows: a run of another machine is read, and its report written."""
    write_run(tmp_path / "run", usual_rows())
    code = """
import sys
sys.modules["fcntl"] = None
import results
run = results.open_run(sys.argv[1])
results.write_report(run, sys.argv[2])
print(len(run.trials()), run.status().done, len(run.summary()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "run", tmp_path / "report.html"],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("24 24 12\n", "")
    assert (tmp_path / "report.html").is_file()
