"""The same network in PyTorch: a Keras model's graph, step by step, with the same weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from injecttf2.graph.keras_calls import Flat
from injecttf2.graph.keras_steps import Step


class Twin(nn.Module):
    """A PyTorch module that computes what a Keras model does; images are NCHW.

    Args:
        graph: The model, of the layers that the benchmarks' models have.
    """

    def __init__(self, graph: Flat) -> None:
        super().__init__()
        (given,), (made,) = graph.inputs, graph.outputs
        self._input, self._output = str(id(given)), str(id(made))
        self._calls: list[tuple[str, list[str], str]] = []
        for step in graph.steps:
            if not step.node.is_input:
                self.add_module(step.layer, _module(step))
                self._calls.append((step.layer, [*map(str, step.inputs)], str(step.outputs[0])))
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs [samples, classes] for images NCHW."""
        values = {self._input: images}
        for name, inputs, output in self._calls:
            values[output] = self._modules[name](*(values[key] for key in inputs))
        return values[self._output]


class FlattenedAsNHWC(nn.Module):
    """Flattens images NCHW in the order of NHWC."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return [samples, elements]."""
        return images.permute(0, 2, 3, 1).flatten(1)


class Mean(nn.Module):
    """Global average pooling."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return [samples, channels]."""
        return images.mean(dim=(2, 3))


class Sum(nn.Module):
    """Adds two tensors."""

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Return their sum."""
        return one + other


def _module(step: Step) -> nn.Module:
    """Return what a step does; layers with an activation are followed by it."""
    layer = step.operation
    kind = type(layer).__name__
    if kind in ("Conv2D", "Dense"):
        module = _convolution(layer) if kind == "Conv2D" else _dense(layer)
        if layer.activation.__name__ == "linear":
            return module
        return nn.Sequential(module, {"relu": nn.ReLU}[layer.activation.__name__]())
    if kind == "BatchNormalization":
        return _batch_norm(layer)
    if kind == "ZeroPadding2D":
        (top, bottom), (left, right) = layer.padding
        return nn.ZeroPad2d((left, right, top, bottom))
    simple: dict[str, Callable[[], nn.Module]] = {
        "ReLU": nn.ReLU,
        "Dropout": nn.Identity,
        "Softmax": lambda: nn.Softmax(dim=1),
        "Flatten": FlattenedAsNHWC,
        "Add": Sum,
        "MaxPooling2D": lambda: nn.MaxPool2d(layer.pool_size, layer.strides),
        "GlobalAveragePooling2D": Mean,
    }
    return simple[kind]()


def _convolution(layer: Any) -> nn.Module:
    height, width, inputs, outputs = layer.kernel.shape
    same = layer.padding == "same"
    if same and layer.strides != (1, 1):
        raise ValueError(f"{layer.name}: 'same' with strides pads on one side only")
    module = nn.Conv2d(
        inputs,
        outputs,
        (height, width),
        stride=layer.strides,
        padding="same" if same else 0,
        bias=layer.use_bias,
    )
    _set(module.weight, layer.kernel.numpy().transpose(3, 2, 0, 1))
    if layer.use_bias:
        _set(module.bias, layer.bias.numpy())
    return module


def _dense(layer: Any) -> nn.Module:
    module = nn.Linear(*layer.kernel.shape, bias=layer.use_bias)
    _set(module.weight, layer.kernel.numpy().T)
    if layer.use_bias:
        _set(module.bias, layer.bias.numpy())
    return module


def _batch_norm(layer: Any) -> nn.Module:
    module = nn.BatchNorm2d(layer.moving_mean.shape[0], eps=layer.epsilon)
    _set(module.weight, layer.gamma.numpy())
    _set(module.bias, layer.beta.numpy())
    _set(module.running_mean, layer.moving_mean.numpy())
    _set(module.running_var, layer.moving_variance.numpy())
    return module


def _set(parameter: Any, values: Any) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values.copy()))
