"""Finding the data that a reference names.

A reference is the name of a builtin data set, an ``.npz`` file, a folder of images, or
``package.module:function``, a function that returns ``(inputs, labels)`` or a ``tf.data.Dataset``,
or what an installed package calls one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from injecttf2.config.paths import on_disk
from injecttf2.config.spelling import nearest
from injecttf2.datasets import functions, image_folder, npz
from injecttf2.datasets.arrays import Raw
from injecttf2.datasets.builtin import BUILTIN
from injecttf2.datasets.image_folder import Images
from injecttf2.datasets.model_input import ModelInput
from injecttf2.datasets.preparation import check_finite, check_shapes
from injecttf2.errors import DatasetError
from injecttf2.user_code.references import installed, installed_names, is_function


def load(
    reference: str,
    inputs: Sequence[ModelInput],
    *,
    folder: Path | None = None,
    samples: int | None = None,
    images: Images | None = None,
) -> Raw:
    """Return the raw inputs and labels that ``reference`` names.

    Args:
        reference: Builtin name, ``.npz`` file, image folder or ``package.module:function``.
        inputs: What the model takes, in its order.
        folder: Where a module is looked up before the Python path.
        samples: How many are needed. Of an image folder so many are read, evenly spread, because
            its files are sorted by class; of a ``tf.data.Dataset`` the first. Others come whole.
        images: How images of a folder are read; None for Keras' defaults.

    Raises:
        DatasetError: It cannot be found, read or downloaded.
    """
    if reference in BUILTIN:
        return Raw(*BUILTIN[reference]())
    if is_function(reference):
        return functions.read(reference, folder, inputs, samples=samples)
    path = on_disk(Path(reference))
    if path.suffix.lower() == ".npz":
        return npz.read(path, inputs)
    if path.is_dir():
        return image_folder.read(path, inputs, images or Images(), samples=samples)
    if "/" not in reference and (function := installed("datasets", reference)):
        return functions.read(function, folder, inputs, samples=samples)
    raise _none_such(reference, path)


SMALL = 2**25
"""Bytes of arrays that are read and looked through in a fraction of a second."""


def check(
    reference: str, samples: int | None, inputs: Sequence[ModelInput] | None, *, raw: bool
) -> None:
    """See that there are data as a model takes them, as far as arrays tell that are read soon.

    Of large ones these are the heads. No code is run, and no TensorFlow loaded.

    Args:
        reference: As for :func:`load`.
        samples: How many are needed.
        inputs: What the model takes; None where that is not known.
        raw: Whether the model takes them as they are, and no preprocessing makes others of them.

    Raises:
        DatasetError: There are not, as :func:`load` or ``prepare`` would say.
    """
    path = on_disk(Path(reference))
    if reference in BUILTIN or is_function(reference) or path.is_dir():
        return
    if path.suffix.lower() != ".npz":
        if "/" in reference or not installed("datasets", reference):
            raise _none_such(reference, path)
        return
    heads = npz.read_heads(path, inputs)
    if inputs is not None or not isinstance(heads.inputs, dict):  # one may be no input at all
        check_shapes(heads, samples, inputs if raw else None)
    if inputs is not None and raw and npz.size(heads) <= SMALL:
        check_finite(npz.read(path, inputs), samples, inputs)


def _none_such(reference: str, path: Path) -> DatasetError:
    """Return the error of a reference that is no data set."""
    expected = "an .npz file, a folder of images, or package.module:function"
    if "/" in reference:
        what = "this is no data set" if path.exists() else "there is no such file or folder"
        return DatasetError(what, place=reference, hint=f"expected {expected}")
    names = [*BUILTIN, *installed_names("datasets")]
    return DatasetError(
        f"unknown data set {reference!r}{nearest(reference, names)}",
        hint=f"expected one of {', '.join(names)}, {expected}",
    )
