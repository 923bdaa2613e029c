"""What the example scripts share: one configuration file, two accuracies."""

import sys
from pathlib import Path

from data import load_mnist

from injecttf2 import InjectTF2, UserError

BATCH_SIZE = 32


def inject(config):
    """Print the accuracy with and without the injection that the configuration describes."""
    import tensorflow as tf  # here, because injecttf2 loads it without its messages

    if not Path("mnist_model.h5").is_file():
        sys.exit("error: there is no mnist_model.h5 here; train it first: python mnist.py")
    _, (x_test, y_test) = load_mnist()
    test_ds = tf.data.Dataset.from_tensor_slices((x_test, y_test))
    try:
        itf2 = InjectTF2("mnist_model.h5", Path(__file__).with_name(config), test_ds, BATCH_SIZE)
        golden = itf2.evaluate_golden_run_layer()
        print(f"Accuracy without injection: {golden:.4f}")
        print(f"Accuracy with injection:    {itf2.evaluate_layer_with_injections():.4f}")
    except UserError as error:
        sys.exit(f"error: {error}")
