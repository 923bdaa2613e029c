"""Preprocessing by reference: a function of the user's, or that of a family of Keras' models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from injecttf2.config.applications import APPLICATIONS, application
from injecttf2.datasets.arrays import Arrays, as_arrays, parts
from injecttf2.datasets.preparation import Preprocess
from injecttf2.errors import DatasetError
from injecttf2.user_code.references import call, findable, import_function, is_function


def preprocessing(reference: str, folder: Path | None = None) -> Preprocess:
    """Return the function that ``reference`` names; what goes wrong in it is the user's error.

    Args:
        reference: ``package.module:function``, which takes and returns inputs, all samples at once;
            or ``keras.applications:NAME``, the ``preprocess_input`` of that model.
        folder: Where a module is looked up before the Python path.

    Raises:
        DatasetError: There is no such function.
    """
    if reference.startswith(APPLICATIONS):
        function = _of_application(reference.removeprefix(APPLICATIONS), reference)
    elif is_function(reference):
        with findable(folder):
            function = import_function(reference, folder, DatasetError)
    else:
        raise DatasetError(
            f"preprocess: received {reference!r}; "
            f"expected package.module:function or {APPLICATIONS}NAME"
        )

    def preprocess(inputs: Arrays) -> Arrays:
        def arrays() -> Arrays:
            result = function(inputs)
            if result is None:
                told = "preprocess returned nothing; expected the inputs"
                raise DatasetError(told, place=reference)
            return as_arrays(result)

        with findable(folder):
            found: Arrays = call(arrays, reference, DatasetError, what="preprocess")
        return found

    return preprocess


def _of_application(name: str, reference: str) -> Callable[[Arrays], Any]:
    family = sys.modules[application(name, DatasetError).__module__]

    def preprocess(inputs: Arrays) -> Any:
        if len(several := parts(inputs)) != 1:
            raise DatasetError(
                f"there are {len(several)} inputs; keras.applications preprocesses one of images",
                place=reference,
                hint="write a package.module:function that preprocesses what needs it",
            )
        return family.preprocess_input(several[0].astype(np.float32), data_format="channels_last")

    return preprocess
