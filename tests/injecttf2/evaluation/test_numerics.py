"""The class of numerics: what tells two processes apart whose kernels round differently."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.evaluation.numerics import kernels_digest, numerics
from tests import networks
from tests.injecttf2.test_device import python

CODE = """
import json, os
from injecttf2 import device
device.configure(threads=int(os.environ.get("THREADS", "1")), gpu=False)
from injecttf2.evaluation import numerics
print(json.dumps([numerics.kernels_digest(), numerics._settings()]))
"""

needs_avx2 = pytest.mark.skipif(
    " avx2 " not in Path("/proc/cpuinfo").read_text(),
    reason="the processor has no AVX2, so there are no other kernels to be limited to",
)


@cache
def told(**environment: str) -> tuple[str, dict[str, Any]]:
    """The digest of kernels, and what explains it, in a process with some environment."""
    done = python(CODE, **environment)
    assert done.returncode == 0, done.stderr
    digest, settings = json.loads(done.stdout)
    return digest, settings


def test_processes_with_the_same_settings_are_of_one_class_with_any_number_of_threads() -> None:
    assert told(THREADS="2", OMP_NUM_THREADS="1", MALLOC_ARENA_MAX="2") == told()


@needs_avx2
def test_fewer_instructions_are_another_class_and_named() -> None:
    digest, settings = told(DNNL_MAX_CPU_ISA="SSE41")  # ONEDNN_MAX_CPU_ISA in the orchestrator's
    assert digest != told()[0]
    assert (settings["instructions"], settings["DNNL_MAX_CPU_ISA"]) == ("SSE41", "SSE41")


@needs_avx2
def test_without_onednn_it_is_another_class() -> None:
    (off, how_off), (on, how_on) = (told(TF_ENABLE_ONEDNN_OPTS=value) for value in "01")
    assert (how_off["oneDNN"], how_on["oneDNN"]) == ("off", "on")
    assert told()[1]["oneDNN"] in ("off", "on")
    assert off != on


def test_a_class_tells_device_versions_kernels_and_the_outputs_of_the_golden_run() -> None:
    import keras
    import tensorflow as tf

    model = networks.cnn()
    inputs, labels = networks.data((8, 8, 1), 5)
    golden = Engine(model, Dataset(inputs, labels)).golden
    found = numerics("CPU", kernels_digest(), golden)
    assert [found[name] for name in ("device", "tensorflow", "keras", "numpy")] == [
        "CPU",
        tf.__version__,
        keras.__version__,
        np.__version__,
    ]
    golden.outputs[3, 1] = np.nextafter(golden.outputs[3, 1], np.float32(1))
    changed = numerics("CPU", kernels_digest(), golden)
    assert {name for name in found if found[name] != changed[name]} == {"golden"}
