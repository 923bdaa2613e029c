"""Setting up TensorFlow in a process: threads, GPU memory, determinism, silence.

TensorFlow sizes its thread pools from the machine and takes all GPU memory unless it is told
otherwise before its first operation, so whoever starts a process that evaluates trials calls
:func:`configure` first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from injecttf2.errors import ModelError, UserError

logger = logging.getLogger("injecttf2")

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def configure(*, threads: int = 1, gpu: bool = True) -> str:
    """Load TensorFlow quietly and set it up; call it before anything else uses TensorFlow.

    Each operation has one thread: a product that is split among several rounds by their number, so
    that rows would depend on how many cores a worker has. Several cores are used by operations, and
    by batches, side by side.

    Args:
        threads: Operations, and batches, that may run at a time.
        gpu: Whether to use a GPU where there is one.

    Returns:
        The device that trials run on: ``GPU: <name>`` or ``CPU``.

    Raises:
        ModelError: Keras runs on another backend than TensorFlow.
    """
    load()
    import tensorflow as tf

    _set_threads(tf, threads)
    gpus = _gpus(tf)
    if not gpu:
        tf.config.set_visible_devices([], "GPU")
    elif gpus:
        return _configure_gpu(tf, gpus[0])
    return "CPU"


def gpus() -> int:
    """Return how many GPUs TensorFlow could use here, hidden from this process or not."""
    load()
    import tensorflow as tf

    return len(_gpus(tf))


def _gpus(tf: Any) -> list[Any]:
    with _quiet_stderr():  # it tells each time that there is no driver
        found: list[Any] = tf.config.list_physical_devices("GPU")
    return found


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _set_threads(tf: Any, operations: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(operations)
    except RuntimeError:  # too late: this process has used TensorFlow
        if os.environ.get("TF_NUM_INTRAOP_THREADS") != "1":
            logger.warning(
                "TensorFlow was in use before, with several threads an operation: values may round "
                "otherwise than in other processes; set TF_NUM_INTRAOP_THREADS=1 before it is used"
            )


def load() -> None:
    """Import TensorFlow and Keras without the lines that they print at every start.

    Raises:
        ModelError: Keras runs on another backend than TensorFlow, or refuses its settings.
        UserError: There is no folder for temporary files.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend == "tensorflow":
        with _quiet_logs(), _quiet_stderr():
            keras = _keras()  # first: TensorFlow has the same settings, and asserts them
        set_graphs_up()
        backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ModelError(
            f"Keras runs on the backend {backend!r}; expected 'tensorflow'",
            hint="unset KERAS_BACKEND, or set it to tensorflow",
        )


def set_graphs_up() -> None:
    """Have graphs run operation by operation, neither fused nor rewritten.

    The ReLU that oneDNN fuses with a convolution or a product makes 0 of NaN where ReLU itself
    gives NaN, and sums that are rewritten round otherwise: what a model gives out would depend on
    which kernels there are, and on where its graph is cut.
    """
    import tensorflow as tf

    options = {"remapping": False, "arithmetic_optimization": False}
    tf.config.optimizer.set_experimental_options(options)


def _keras() -> Any:
    try:
        import keras
    except ValueError as error:
        if "configuration. Expected" not in str(error):
            raise
        folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        raise ModelError(
            f"Keras refuses its settings: {error}",
            place=str(folder / "keras.json"),
            hint="mend the file, or remove it: Keras writes it anew",
        ) from error
    return keras


def _configure_gpu(tf: Any, gpu: Any) -> str:
    """Use one GPU, taking its memory as needed and rounding the same way every time."""
    tf.config.set_visible_devices([gpu], "GPU")
    tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_op_determinism()
    details = tf.config.experimental.get_device_details(gpu)
    return f"GPU: {details.get('device_name', gpu.name)}"


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Have TensorFlow, which reads its level of logs once, leave out what is no error of a user's.

    The environment stays as it is, and a level that it names is kept.
    """
    if _LOG_LEVEL in os.environ:
        yield
        return
    os.environ[_LOG_LEVEL] = "3"
    try:
        yield
    finally:
        del os.environ[_LOG_LEVEL]


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep what C++ libraries write to the standard error out of sight, unless it ends badly.

    Raises:
        UserError: There is no place for temporary files, which models are loaded from too.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UserError(
            f"there is no folder for temporary files: {error.strerror}",
            hint="set TMPDIR to a folder that can be written to",
        ) from error
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except Exception:
            aside.seek(0)
            os.write(saved, aside.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
