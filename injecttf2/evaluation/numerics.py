"""The class of numerics of a process: how its kernels round, told by what they compute.

Kernels are chosen by the device, the processor's instructions, environment variables and versions,
and round differently. What a few fixed ones give out tells them apart without a list of all that
may matter; what a model's golden run gives out tells what these miss. Rows are equal bit for bit
between processes of one class.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.evaluation.golden_run import GoldenRun

SETTINGS = ("TF_ENABLE_ONEDNN_OPTS", *(LIMITS := ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")))
"""Environment variables by which kernels are chosen, of CPUs."""

INSTRUCTIONS = {
    "SSE41": "sse4_1",
    "AVX": "avx",
    "AVX2": "avx2",
    "AVX2_VNNI": "avx_vnni",
    "AVX512_CORE": "avx512dq",
    "AVX512_CORE_VNNI": "avx512_vnni",
    "AVX512_CORE_BF16": "avx512_bf16",
    "AVX512_CORE_FP16": "avx512_fp16",
    "AVX512_CORE_AMX": "amx_int8",
}
"""Sets of instructions as oneDNN names them, ascending, with a flag of processors that have it."""


def numerics(device: str, kernels: str, golden: GoldenRun) -> dict[str, Any]:
    """Return the class of numerics of this process for a model, as JSON values.

    ``settings`` explains it to people; two classes are equal if all else is.

    Args:
        device: What ``device.configure`` returned.
        kernels: What :func:`kernels_digest` returned.
        golden: The golden run of the model.
    """
    return {
        "device": device,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "kernels": kernels,
        "golden": golden.digest,
        "settings": _settings(),
    }


def kernels_digest() -> str:
    """Return the 64-bit blake2b digest of what fixed kernels give out here, hexadecimal.

    They compute in float32: oneDNN ends the process where it has no kernel for 16 bits. It does not
    depend on threads, as long as an operation has one. The first call takes a tenth of a second.
    """
    inputs = [*map(tf.constant, _inputs())]
    # Traced by itself: of calls that trace TensorFlow warns, from the fifth run of a process on.
    compute = tf.function(_kernels, autograph=False).get_concrete_function(*inputs)
    result = hashlib.blake2b(digest_size=8)
    for given in compute(*inputs):
        result.update(given.numpy().tobytes())
    return result.hexdigest()


def _inputs() -> list[npt.NDArray[np.float32]]:
    """Return images, rows, two kernels, a matrix and a stack of matrices."""
    shapes = (4, 14, 14, 32), (16, 1000), (3, 3, 32, 24), (3, 3, 32, 1), (1000, 96), (8, 16, 64)
    return [_numbers(shape) for shape in shapes]


def _kernels(image: Any, rows: Any, kernel: Any, deep: Any, matrix: Any, stack: Any) -> list[Any]:
    """Return what is summed in another order, or approximated in another way, by other kernels."""
    bias = tf.reduce_sum(kernel, [0, 1, 2])
    return [
        tf.nn.conv2d(image, kernel, 1, "SAME"),
        tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(image, kernel, 2, "VALID"), bias)),
        tf.nn.depthwise_conv2d(image, deep, [1, 1, 1, 1], "SAME"),
        tf.matmul(rows, matrix),
        tf.matmul(stack, stack, transpose_b=True),
        tf.nn.softmax(8 * rows),
        tf.nn.avg_pool2d(image, 3, 2, "SAME"),
        tf.reduce_sum(rows, 1),
        tf.reduce_mean(image, [1, 2]),
        tf.math.rsqrt(tf.abs(rows) + 1e-3),
        tf.exp(rows),
        tf.math.log(tf.abs(rows) + 1e-3),
        tf.tanh(4 * rows),
        tf.sigmoid(4 * rows),
        tf.math.erf(rows),
    ]


def _numbers(shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return numbers in [-1, 1) that are the same everywhere: multiples of 2^-23."""
    steps = np.arange(np.prod(shape), dtype=np.uint64) * np.uint64(2654435761)
    fraction = (steps % np.uint64(2**24)).astype(np.float32) / np.float32(2**23)
    return (fraction - np.float32(1)).reshape(shape)


def _settings() -> dict[str, Any]:
    """Return what is known of why kernels are those that they are."""
    told = {name: os.environ[name] for name in SETTINGS if name in os.environ}
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    return {
        "instructions": _instructions(),
        "oneDNN": _onednn(),
        "TF32": tf32 and bool(tf.config.get_visible_devices("GPU")),
        **told,
    }


def _onednn() -> str:
    """Return whether TensorFlow uses oneDNN: a default that depends on build and processor."""
    with suppress(ImportError, AttributeError):
        from tensorflow.python.util import _pywrap_util_port

        return "on" if _pywrap_util_port.IsMklEnabled() else "off"
    return {"0": "off", "1": "on"}.get(os.environ.get(SETTINGS[0], ""), "default")


def _instructions() -> str:
    """Return the widest instructions that the processor has and the environment allows."""
    flags: set[str] = set()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                flags = {*line.partition(":")[2].split()}
                break
    names = list(INSTRUCTIONS)
    has = [name for name in names if INSTRUCTIONS[name] in flags]
    limits = [os.environ[name].upper() for name in LIMITS if name in os.environ]
    for limit in limits[:1]:
        if limit in names:
            has = [name for name in has if names.index(name) <= names.index(limit)]
    return has[-1] if has else platform.machine()
