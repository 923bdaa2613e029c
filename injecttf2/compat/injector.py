"""InjectTF2's own interface, on this project's engine.

Of scripts that were written for InjectTF2 only the import line changes, from
``from inject_tf2 import InjectTF2`` to ``from injecttf2 import InjectTF2``: class, methods and
configuration file are the same. Unlike the original, the last partial batch is kept, and two calls
on the same object draw different sites but a new object draws the same again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from injecttf2.compat.config import read_config
from injecttf2.datasets import ModelInput, Preparation, Raw, prepare, tf_data
from injecttf2.engine import Engine
from injecttf2.errors import DatasetError, ModelError
from injecttf2.evaluation import dependence
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.models.digest import model_digest
from injecttf2.models.inputs import model_inputs
from injecttf2.models.loading import load_file
from injecttf2.sampling.rates import Probability
from injecttf2.trial import Cell, Identity, Scope, Trial, trial_ids

logger = logging.getLogger("injecttf2")


class InjectTF2:
    """Inject faults into one layer of a model, as one configuration file says.

    Args:
        model: A Keras model, or the path of a ``.keras`` or ``.h5`` file.
        path_to_config: The YAML file, with one section ``inject_layer``.
        tf_dataset: Unbatched ``tf.data.Dataset`` of (input, label); labels are classes or one-hot.
        batch_size: Samples, 1 or more, in a batch of ``evaluate_golden_run_model`` and
            ``get_top_k_from_layer``; it does not change any result.
        logging_level: Level of the logger ``injecttf2``; where logs go is what the script sets up,
            with ``logging.basicConfig()`` for example.
        seed: Seed of the draws.

    Raises:
        CampaignError: The configuration file is wrong.
        ModelError: The model cannot be walked, the layer is not in it, or the bit not in the layer.
        DatasetError: The data do not fit the model, or are batched, without labels or none at all.
        ValueError: ``batch_size`` is below 1.
    """

    def __init__(
        self,
        model: keras.Model | str | Path,
        path_to_config: str | Path,
        tf_dataset: tf.data.Dataset,
        batch_size: int,
        logging_level: str | int = "ERROR",
        *,
        seed: int = 0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: received {batch_size}, expected 1 or more")
        logger.setLevel(logging_level)
        config = read_config(Path(path_to_config))
        self._model = model if isinstance(model, keras.Model) else load_file(Path(model))
        self._batch_size = batch_size
        graph = ModelGraph.of(self._model)
        graph.point(config.layer_name)
        graph.check_one_input()
        inputs = model_inputs(self._model)
        data = prepare(_read(tf_dataset, inputs), Preparation(scale=1.0), inputs)
        self._engine = Engine(self._model, data)
        dependence.check(self._engine.graph, data)
        if self._engine.golden.at_chance:
            logger.warning(
                "the accuracy without faults, %.2f%%, is hardly better than chance, %.2f%%",
                100 * self._engine.golden.accuracy,
                100 * (self._engine.golden.chance or 0),
            )
        self._cell = Cell(
            Scope((config.layer_name,)), config.fault, Probability(config.probability)
        )
        layer = self._engine.prepare(self._cell.scope)
        try:
            config.fault.candidates(layer.infos[0].dtype)
        except ValueError as error:
            raise ModelError(
                f"the layer {config.layer_name!r}: {error}",
                place=str(path_to_config),
                hint="correct bit_number in the file",
            ) from error
        self._identity = Identity(model_digest(self._model, self._engine.graph), data.digest, seed)
        self._calls = 0

    def evaluate_golden_run_model(self) -> Any:
        """Evaluate the whole model with Keras' ``evaluate``, or its accuracy if not compiled."""
        if not (isinstance(self._model, keras.Model) and self._model.compiled):
            return self._engine.golden.accuracy
        data = self._engine.dataset
        return self._model.evaluate(
            data.inputs, data.labels, batch_size=self._batch_size, verbose=0
        )

    def evaluate_golden_run_layer(self) -> float:
        """Return the accuracy without faults, from the selected layer onwards."""
        return self._engine.golden.accuracy

    def evaluate_layer_with_injections(self) -> float:
        """Inject into the selected layer and return the accuracy over all samples.

        Every call is another repetition of the same experiment, with sites of its own.
        """
        tallies = self._engine.evaluate([self._next_trial()]).tallies
        accuracy = int(tallies.correct[0]) / len(self._engine.dataset)
        logger.info(
            "%d of %d samples injected, accuracy %.4f",
            tallies.injected[0],
            len(self._engine.dataset),
            accuracy,
        )
        return accuracy

    def get_top_k_from_layer(self, inject: bool = False, k: int = 1) -> list[Any]:
        """Return the k largest outputs and their classes for every batch of the data set.

        Args:
            inject: Whether to inject into the selected layer.
            k: How many, from 1 to the number of classes.

        Returns:
            For each batch what ``tf.math.top_k`` returns: values and indices [batch, k].

        Raises:
            ValueError: ``k`` is out of range.
        """
        outputs = self._engine.golden.outputs.copy()
        if not 1 <= k <= outputs.shape[-1]:
            raise ValueError(
                f"k: received {k}, expected 1 to {outputs.shape[-1]}, the number of classes"
            )
        if inject:
            samples, faulty = self._engine.outputs(self._next_trial())
            outputs[samples] = faulty
        return [
            tf.math.top_k(outputs[start : start + self._batch_size], k=k)
            for start in range(0, len(outputs), self._batch_size)
        ]

    def _next_trial(self) -> Trial:
        (trial_id,) = trial_ids(self._identity, self._cell, [self._calls]).tolist()
        trial = Trial(self._cell, self._calls, trial_id)
        self._calls += 1
        return trial


def _read(dataset: Any, inputs: Sequence[ModelInput]) -> Raw:
    """Return all inputs and labels of a data set.

    Raises:
        DatasetError: It is batched, empty or has no labels.
    """
    spec = getattr(dataset, "element_spec", None)
    if not isinstance(spec, tuple) or len(spec) != 2:
        what = type(dataset).__name__ if spec is None else "one without labels"
        raise DatasetError(
            f"received {what}; expected a tf.data.Dataset of (input, label)",
            hint="tf.data.Dataset.from_tensor_slices((inputs, labels)) makes one",
        )
    if tf_data.is_batched(spec[0], inputs):
        raise DatasetError(
            f"received batches of inputs {spec[0].shape}; expected one sample at a time, "
            f"{inputs[0].shape}",
            hint="give the data set unbatched: leave out .batch(), or add .unbatch()",
        )
    return tf_data.read(dataset, inputs)
