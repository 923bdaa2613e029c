"""Setting up TensorFlow, each time in a process of its own: it can be done only once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from injecttf2 import device
from injecttf2.errors import UserError

ROOT = Path(__file__).parents[2]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("KERAS_", "TF_"))
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "CUDA_VISIBLE_DEVICES": "", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_process_is_set_up_quietly_with_one_thread_an_operation(
    tmp_path: Path,
) -> None:
    code = """
from injecttf2 import device
print(device.configure(threads=3, gpu=False))
import keras
import tensorflow as tf
print(tf.config.threading.get_intra_op_parallelism_threads())
print(tf.config.threading.get_inter_op_parallelism_threads())
print(tf.config.get_visible_devices("GPU"))
print(keras.backend.backend())
tf.ones(3) + 1
"""
    # A file in Keras' folder that names another backend does not count.
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    done = python(code, KERAS_HOME=str(tmp_path))
    assert done.stdout.splitlines() == ["CPU", "1", "3", "[]", "tensorflow"]
    assert (done.returncode, done.stderr) == (0, "")


def test_the_environment_stays_as_it_was_and_a_level_of_logs_that_it_names_counts() -> None:
    code = """
import os
from injecttf2 import device
device.configure(gpu=False)
print(os.environ.get("TF_CPP_MIN_LOG_LEVEL"))
"""
    assert python(code).stdout == "None\n"
    assert python(code, TF_CPP_MIN_LOG_LEVEL="1").stdout == "1\n"


def test_where_a_script_has_loaded_tensorflow_nothing_more_is_printed() -> None:
    code = """
import os
import tensorflow as tf
os.dup2(os.open(os.environ["WRITTEN"], os.O_WRONLY), 2)
from injecttf2 import device
device.configure(gpu=False)
tf.ones(3) + 1
"""
    with tempfile.NamedTemporaryFile() as written:
        done = python(code, CUDA_VISIBLE_DEVICES="0", WRITTEN=written.name)
        assert (done.returncode, written.read()) == (0, b"")


def test_rows_do_not_depend_on_how_many_cores_a_process_has() -> None:
    code = """
import dataclasses, hashlib, os
from injecttf2 import datasets, device
device.configure(threads=int(os.environ["CORES"]), gpu=False)
import keras
import numpy as np
from injecttf2.evaluation import batching
batching.BATCH_BYTES = 6272 * 4 * 24
from injecttf2.engine import Engine
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.sampling.rates import Count, Probability
from tests.builders import cell_of
from injecttf2.trial import CellTrials, Identity
keras.utils.set_random_seed(1)
model = keras.Sequential([keras.Input((6272,)), keras.layers.Dense(128), keras.layers.Dense(10)])
inputs = np.random.default_rng(1).random((60, 6272), np.float32)
data = datasets.Dataset(inputs, np.zeros(60, np.int64))
seen = hashlib.blake2b()
for levels in ((), ("drop", "difference")):
    engine = Engine(model, data, levels=levels)
    seen.update(engine.golden.outputs.tobytes())
    for target, rate in (("outputs", Probability(1.0)), ("weights", Count(1))):
        cell = cell_of("dense", BitFlip(bit_field="any"), rate, target)
        trials = list(CellTrials(cell, 0, 5).trials(Identity("model", "data", seed=1)))
        found = engine.evaluate(trials, record=True)
        for part in (found.tallies, found.injections):
            for field in dataclasses.fields(part):
                seen.update(repr(np.asarray(getattr(part, field.name)).tolist()).encode())
        for trial in trials:
            seen.update(engine.outputs(trial)[1].tobytes())
print(seen.hexdigest())
"""
    one, two = (python(code, CORES=cores).stdout for cores in ("1", "2"))
    assert one == two != ""


def test_another_backend_than_tensorflow_is_refused() -> None:
    code = """
from injecttf2 import device
from injecttf2.errors import ModelError
try:
    device.configure()
except ModelError as error:
    print(error)
"""
    done = python(code, KERAS_BACKEND="torch")
    assert done.stdout == (
        "Keras runs on the backend 'torch'; expected 'tensorflow'\n"
        "  unset KERAS_BACKEND, or set it to tensorflow\n"
    )


@pytest.mark.parametrize(
    ("setting", "said"), [('"floatx": "float8"', "`floatx`"), ('"epsilon": 1', "`epsilon`")]
)
def test_settings_that_keras_refuses_are_named_with_their_file(
    setting: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "keras.json").write_text(f"{{{setting}}}")
    code = "import sys; sys.argv[1:] = ['layers', 'builtin:digits_cnn']\n"
    code += "import injecttf2.__main__ as it; it.main()"
    done = python(code, KERAS_HOME=str(tmp_path))
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    assert f"keras.json: Keras refuses its settings: Invalid {said} configuration." in told
    assert "mend the file, or remove it" in told
    assert "Traceback" not in told


def test_without_a_folder_for_temporary_files_one_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc"])
    with pytest.raises(UserError, match=r"no folder for temporary files: No usable.*\n  set TMPD"):
        device.load()


def test_importing_the_package_does_not_load_tensorflow() -> None:
    code = "import sys, injecttf2; print({'tensorflow', 'keras', 'ray'} & set(sys.modules))"
    assert python(code).stdout == "set()\n"


class Recorder:
    """Stands for ``tf.config`` on a machine with a GPU and writes down what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.config = self.experimental = self

    def set_visible_devices(self, devices: list[Any], kind: str) -> None:
        self.calls.append(("visible", devices, kind))

    def set_memory_growth(self, gpu: Any, enable: bool) -> None:
        self.calls.append(("growth", gpu, enable))

    def enable_op_determinism(self) -> None:
        self.calls.append(("determinism",))

    def get_device_details(self, gpu: Any) -> dict[str, str]:
        self.calls.append(("details", gpu))
        return {"device_name": "NVIDIA H200"}


def test_one_gpu_is_used_with_growing_memory_and_deterministic_operations() -> None:
    tensorflow, gpu = Recorder(), SimpleNamespace(name="/physical_device:GPU:0")
    assert device._configure_gpu(tensorflow, gpu) == "GPU: NVIDIA H200"
    assert tensorflow.calls == [
        ("visible", [gpu], "GPU"),
        ("growth", gpu, True),
        ("determinism",),
        ("details", gpu),
    ]


def test_what_libraries_write_at_the_start_is_kept_out_of_sight(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with device._quiet_stderr():
        os.write(2, b"a line from C++\n")
    os.write(2, b"a line from later\n")
    assert capfd.readouterr().err == "a line from later\n"


def test_what_libraries_write_is_shown_when_it_ends_badly(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        os.write(2, b"the reason\n")
        raise ImportError("no library")

    with pytest.raises(ImportError, match="no library"), device._quiet_stderr():
        fail()
    assert capfd.readouterr().err == "the reason\n"
