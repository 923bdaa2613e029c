"""Labelled data: loading by reference, without pickle, and making it what a model takes.

``load`` finds the raw arrays that a reference names; ``prepare`` makes a ``Dataset`` of them.
Nothing here imports TensorFlow before an image folder or a ``tf.data.Dataset`` is read.
"""

from injecttf2.datasets.arrays import Array, Arrays, Raw, as_arrays
from injecttf2.datasets.builtin import BUILTIN, load_keras
from injecttf2.datasets.dataset import Dataset
from injecttf2.datasets.functions import held
from injecttf2.datasets.image_folder import INTERPOLATIONS, Images, Interpolation
from injecttf2.datasets.labels import class_labels, labels_of
from injecttf2.datasets.loading import check, load
from injecttf2.datasets.model_input import ModelInput
from injecttf2.datasets.preparation import Preparation, prepare
from injecttf2.datasets.preprocessing import preprocessing
from injecttf2.datasets.slots import Slot

__all__ = [
    "BUILTIN",
    "INTERPOLATIONS",
    "Array",
    "Arrays",
    "Dataset",
    "Images",
    "Interpolation",
    "ModelInput",
    "Preparation",
    "Raw",
    "Slot",
    "as_arrays",
    "check",
    "class_labels",
    "held",
    "labels_of",
    "load",
    "load_keras",
    "prepare",
    "preprocessing",
]
