"""Models of ``keras.applications`` with random weights, on small images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

CLASSES = 4
SHAPE = (32, 32, 3)

CHOSEN = {
    "MobileNetV2": (
        *("Conv1", "expanded_conv_depthwise", "block_1_pad", "block_3_project", "block_4_add"),
        *("block_6_depthwise_relu", "block_13_expand_BN", "global_average_pooling2d"),
        "predictions",
    ),
    "DenseNet121": (
        *("conv1_conv", "pool1", "conv3_block2_concat", "conv4_block11_2_conv", "bn", "avg_pool"),
        "predictions",
    ),
    "EfficientNetB0": (
        *("normalization", "stem_activation", "block1a_se_squeeze", "block1a_se_expand"),
        *("block1a_se_excite", "block2b_add", "block4a_dwconv", "top_bn", "predictions"),
    ),
    "ResNet50": ("conv1_pad", "conv2_block1_add", "conv4_block2_2_bn", "avg_pool"),
    "VGG16": ("block1_conv1", "block3_pool", "block5_conv3", "fc1"),
    "ConvNeXtTiny": (
        "convnext_tiny_stem/convnext_tiny_stem_conv",
        "convnext_tiny_stage_1_block_0_layer_scale",
        "convnext_tiny_stage_2_block_8_gelu",
        "convnext_tiny_head_gap",
    ),
}
"""Layers from the first to the last, of each kind that the model has."""

IN_WEIGHTS = {
    "MobileNetV2": (
        "Conv1",
        "bn_Conv1",
        "expanded_conv_depthwise",
        "block_8_project",
        "predictions",
    ),
    "DenseNet121": ("conv1_conv", "conv2_block1_0_bn", "conv5_block1_1_conv", "predictions"),
    "EfficientNetB0": ("stem_conv", "block1a_se_expand", "block4a_dwconv", "top_bn"),
    "ResNet50": ("conv4_block2_2_bn",),
    "VGG16": ("block5_conv3",),
    "ConvNeXtTiny": ("convnext_tiny_stage_3_block_2_pointwise_conv_2",),
}


def build(name: str) -> keras.Model:
    """Return a model whose activations neither vanish nor explode, and whose classes differ."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    model = getattr(keras.applications, name)(weights=None, input_shape=SHAPE, classes=CLASSES)
    norms = [one for one in model._flatten_layers() if isinstance(one, layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0  # one batch makes the statistics
    last = model.layers[-1]
    kernel, _ = last.get_weights()
    features = keras.Model(model.inputs[0], last.input)(images(32), training=bool(norms))
    scores = np.array(features) @ kernel
    scale = np.std(scores, axis=0)
    last.set_weights([kernel / scale, -np.mean(scores, axis=0) / scale])
    return model


def images(samples: int) -> Any:
    """Return random images, the same every time."""
    return np.random.default_rng(2).uniform(0, 255, (samples, *SHAPE)).astype(np.float32)
