import subprocess
import sys

HEAVY = ("tensorflow", "keras", "ray", "pandas", "scipy", "pyarrow.dataset")


def test_importing_results_loads_nothing_heavy() -> None:
    code = f"import results, sys; print([name for name in {HEAVY} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert output.stdout.decode() == "[]\n"


def test_everything_in_all_exists() -> None:
    import results

    assert sorted(results.__all__) == sorted(set(results.__all__))
    assert all(hasattr(results, name) for name in results.__all__)
