"""What the tests of the engine share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def batches_side_by_side() -> None:
    """Have two batches run at a time, as a worker with two cores does; Ray workers have one."""
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(2)
