"""InjectTF2's own interface, and its example."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from injecttf2 import CampaignError, DatasetError, InjectTF2, ModelError
from injecttf2.trial import Cell, CellTrials, Identity
from tests import networks
from tests.reference import Reference

EXAMPLE = Path(__file__).parents[3] / "campaigns" / "mnist_example"


def write_config(folder: Path, **changes: object) -> Path:
    section = {
        "layer_name": "logits",
        "fault_type": "BitFlip",
        "bit_flip_type": "SpecificBit",
        "bit_number": 30,
        "probability": 1.0,
        **changes,
    }
    lines = [f"  {key}: {value}" for key, value in section.items() if value is not None]
    file = folder / "config.yml"
    file.write_text("\n".join(["inject_layer:", *lines, ""]))
    return file


def injector(folder: Path, batch_size: int = 32, seed: int = 0, **changes: object) -> InjectTF2:
    data = tf.data.Dataset.from_tensor_slices(networks.data((8, 8, 1), 5))
    config = write_config(folder, **changes)
    return InjectTF2(networks.cnn(), config, data, batch_size, "ERROR", seed=seed)


def test_accuracy_with_injections_equals_the_reference(tmp_path: Path) -> None:
    itf2 = injector(tmp_path)
    inputs, labels = networks.data((8, 8, 1), 5)
    identity: Identity = itf2._identity
    cell: Cell = itf2._cell
    reference = Reference(networks.cnn(), inputs, labels)
    for trial in CellTrials(cell, 0, 3).trials(identity):
        expected = reference.evaluate(trial)
        assert itf2.evaluate_layer_with_injections() == expected.accuracy
        assert itf2.evaluate_golden_run_layer() == expected.golden_accuracy


def test_where_logs_go_is_the_scripts_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    injector(tmp_path).evaluate_layer_with_injections()
    assert logging.root.handlers == []
    own = logging.getLogger("injecttf2")
    assert [type(one) for one in own.handlers] == [logging.NullHandler]


def test_the_batch_size_does_not_change_the_result(tmp_path: Path) -> None:
    small, large = injector(tmp_path, batch_size=7), injector(tmp_path, batch_size=70)
    assert small.evaluate_layer_with_injections() == large.evaluate_layer_with_injections()


def test_a_new_object_draws_the_same_and_another_seed_other_sites(tmp_path: Path) -> None:
    runs = [
        [one.evaluate_layer_with_injections() for _ in range(4)]
        for one in (injector(tmp_path), injector(tmp_path), injector(tmp_path, seed=1))
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert len(set(runs[0])) > 1


def test_probability_zero_equals_golden(tmp_path: Path) -> None:
    itf2 = injector(tmp_path, probability=0.0)
    assert itf2.evaluate_layer_with_injections() == itf2.evaluate_golden_run_layer()


def test_the_golden_run_of_a_compiled_model_is_keras_own_evaluation(tmp_path: Path) -> None:
    model = networks.cnn()
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    data = networks.data((8, 8, 1), 5)
    itf2 = InjectTF2(model, write_config(tmp_path), tf.data.Dataset.from_tensor_slices(data), 32)
    _, accuracy = itf2.evaluate_golden_run_model()
    assert accuracy == pytest.approx(itf2.evaluate_golden_run_layer(), abs=1e-7)


def test_top_k_comes_in_batches_and_keeps_the_last(tmp_path: Path) -> None:
    itf2 = injector(tmp_path, batch_size=32)
    golden = itf2.get_top_k_from_layer(k=2)
    assert [tuple(batch.values.shape) for batch in golden] == [(32, 2), (32, 2), (6, 2)]
    inputs, _ = networks.data((8, 8, 1), 5)
    expected = networks.cnn().predict(inputs, verbose=0)
    classes = np.concatenate([batch.indices.numpy() for batch in golden])
    assert classes[:, 0].tolist() == expected.argmax(axis=1).tolist()


def test_top_k_with_injection_holds_the_faulty_outputs(tmp_path: Path) -> None:
    itf2 = injector(tmp_path, layer_name="softmax", bit_number=31)
    golden = np.concatenate([b.values.numpy() for b in itf2.get_top_k_from_layer(k=5)])
    faulty = np.concatenate([b.values.numpy() for b in itf2.get_top_k_from_layer(True, 5)])
    assert (np.sort(np.abs(faulty)) == np.sort(golden)).all()
    assert ((faulty < 0).sum(axis=1) == 1).all()


def test_one_hot_labels_are_classes(tmp_path: Path) -> None:
    inputs, labels = networks.data((8, 8, 1), 5)
    one_hot = tf.data.Dataset.from_tensor_slices((inputs, np.eye(5)[labels]))
    itf2 = InjectTF2(networks.cnn(), write_config(tmp_path), one_hot, 32)
    plain = injector(tmp_path)
    assert itf2.evaluate_layer_with_injections() == plain.evaluate_layer_with_injections()


def test_a_model_file_is_taken_by_its_path(tmp_path: Path) -> None:
    networks.cnn().save(tmp_path / "model.keras")
    data = tf.data.Dataset.from_tensor_slices(networks.data((8, 8, 1), 5))
    itf2 = InjectTF2(tmp_path / "model.keras", write_config(tmp_path), data, 32)
    assert itf2.evaluate_golden_run_layer() == injector(tmp_path).evaluate_golden_run_layer()


def test_wrong_configurations_are_named(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="SpecificBit needs") as error:
        injector(tmp_path, bit_number=None)
    assert error.value.place is not None
    with pytest.raises(CampaignError, match=r"received 1.5, expected a probability"):
        injector(tmp_path, probability=1.5)
    with pytest.raises(ModelError, match="no layer 'logit'; did you mean 'logits'"):
        injector(tmp_path, layer_name="logit")


def test_a_bit_outside_the_layer_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        injector(tmp_path, bit_number=40)
    assert caught.value.place == str(tmp_path / "config.yml")
    assert caught.value.message.startswith("the layer 'logits': ")
    assert caught.value.hint == "correct bit_number in the file"


def refusal(folder: Path, data: tf.data.Dataset) -> str:
    with pytest.raises(DatasetError) as caught:
        InjectTF2(networks.cnn(), write_config(folder), data, 32)
    return str(caught.value)


@pytest.mark.parametrize("channels", [True, False])
def test_a_batched_data_set_is_refused(tmp_path: Path, channels: bool) -> None:
    inputs, labels = networks.data((8, 8, 1), 5)
    inputs = inputs if channels else inputs[..., 0]
    batched = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(32)
    shape = "(None, 8, 8, 1)" if channels else "(None, 8, 8)"
    assert refusal(tmp_path, batched) == (
        f"received batches of inputs {shape}; expected one sample at a time, (8, 8, 1)\n"
        "  give the data set unbatched: leave out .batch(), or add .unbatch()"
    )
    itf2 = InjectTF2(networks.cnn(), write_config(tmp_path), batched.unbatch(), 32)
    assert itf2.evaluate_golden_run_layer() == injector(tmp_path).evaluate_golden_run_layer()


def test_a_data_set_without_samples_or_labels_is_refused(tmp_path: Path) -> None:
    data = tf.data.Dataset.from_tensor_slices(networks.data((8, 8, 1), 5))
    assert refusal(tmp_path, data.take(0)) == (
        "the data set is empty; expected at least one sample"
    )
    hint = "\n  tf.data.Dataset.from_tensor_slices((inputs, labels)) makes one"
    expected = "expected a tf.data.Dataset of (input, label)"
    unlabelled = data.map(lambda image, _: image)
    assert refusal(tmp_path, unlabelled) == f"received one without labels; {expected}{hint}"
    assert refusal(tmp_path, [1, 2]) == f"received list; {expected}{hint}"


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused(tmp_path: Path, batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size: received {batch_size}, expected 1 or more"):
        injector(tmp_path, batch_size=batch_size)


@pytest.mark.parametrize("k", [0, 6])
def test_top_k_of_more_classes_than_there_are_is_refused(tmp_path: Path, k: int) -> None:
    itf2 = injector(tmp_path)
    with pytest.raises(ValueError, match=f"k: received {k}, expected 1 to 5, the number of class"):
        itf2.get_top_k_from_layer(k=k)


def test_the_example_runs_on_the_digits(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "example")

    def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, name, *arguments]
        environment = {**os.environ, "HOME": str(tmp_path), "KERAS_HOME": str(tmp_path)}
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    untrained = script("inject_example_random_bit.py", "digits")
    assert untrained.returncode == 1
    assert untrained.stderr == (
        "error: there is no mnist_model.h5 here; train it first: python mnist.py\n"
    )
    trained = script("mnist.py", "digits")
    assert (trained.returncode, trained.stderr) == (0, "")
    model = keras.models.load_model(folder / "mnist_model.h5", compile=False)
    assert model.count_params() == 804_554
    for name in ("random", "specific"):
        done = script(f"inject_example_{name}_bit.py", "digits")
        assert (done.returncode, done.stderr) == (0, "")
        golden, injected = (float(line.rpartition(" ")[2]) for line in done.stdout.splitlines())
        assert golden > 0.9
        assert 0.5 < injected < golden


def test_the_example_names_the_two_ways_out_without_mnist(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "example")
    proxy = "http://127.0.0.1:9"  # the discard port: no download, whatever network there is
    environment = {**os.environ, "KERAS_HOME": str(tmp_path), "https_proxy": proxy}
    done = subprocess.run(
        [sys.executable, "mnist.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "mnist.npz" in line
    assert "digits" in line
