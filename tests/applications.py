"""Models of ``keras.applications`` with random weights, on small images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

CLASSES = 4
SHAPE = (32, 32, 3)

CHOSEN = {
    "MobileNetV2": ("Conv1", "expanded_conv_depthwise", "block_4_add", "out_relu"),
    "ResNet50": ("conv1_pad", "conv2_block1_add", "conv4_block2_2_bn", "avg_pool"),
    "DenseNet121": ("conv1_conv", "conv3_block2_concat", "pool4_pool", "relu"),
    "EfficientNetB0": ("stem_conv", "block1a_se_excite", "block4a_dwconv", "top_bn"),
    "VGG16": ("block1_conv1", "block3_pool", "block5_conv3", "fc1"),
    "ConvNeXtTiny": (
        "convnext_tiny_stem/convnext_tiny_stem_conv",
        "convnext_tiny_stage_1_block_0_layer_scale",
        "convnext_tiny_stage_2_block_8_gelu",
        "convnext_tiny_head_gap",
    ),
}
"""Layers from the first to the last: convolutions, what skips, what joins, what scales."""

IN_WEIGHTS = {
    "MobileNetV2": "expanded_conv_depthwise",
    "ResNet50": "conv4_block2_2_bn",
    "DenseNet121": "conv5_block1_1_conv",
    "EfficientNetB0": "block4a_dwconv",
    "VGG16": "block5_conv3",
    "ConvNeXtTiny": "convnext_tiny_stage_3_block_2_pointwise_conv_2",
}

DTYPES = {"EfficientNetB0": "float64"}
"""Of the others float32, in which this one makes more of rounding than is masked."""


def build(name: str) -> keras.Model:
    """Return a model whose activations neither vanish nor explode, and whose classes differ."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(DTYPES.get(name, "float32"))
    try:
        model = getattr(keras.applications, name)(weights=None, input_shape=SHAPE, classes=CLASSES)
    finally:
        keras.config.set_dtype_policy(before)
    norms = [one for one in model._flatten_layers() if isinstance(one, layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0  # one batch makes the statistics
    if norms:
        model(images(32), training=True)
    last = model.layers[-1]
    kernel, _ = last.get_weights()
    scores = keras.Model(model.inputs[0], last.input)(images(32)) @ kernel
    scale = np.std(scores, axis=0)
    last.set_weights([kernel / scale, -np.mean(scores, axis=0) / scale])
    return model


def images(samples: int) -> Any:
    """Return random images, the same every time."""
    return np.random.default_rng(2).uniform(0, 255, (samples, *SHAPE)).astype(np.float32)
