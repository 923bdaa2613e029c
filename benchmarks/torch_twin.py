"""The same network in PyTorch: a Keras model's graph, step by step, with the same weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from injecttf2.graph import Graph, Step


class Twin(nn.Module):
    """A PyTorch module that computes what a Keras model does; images are NCHW.

    Args:
        graph: The model, of the layers that the benchmarks' models have.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph
        self._calls: list[tuple[Step, Callable[..., Any]]] = []
        for step in graph.steps:
            if not step.node.is_input:
                module = _module(step)
                if isinstance(module, nn.Module):
                    self.add_module(step.layer, module)
                self._calls.append((step, module))
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs [samples, classes] for images NCHW."""
        values = {id(self._graph.input): images}
        for step, module in self._calls:
            values[step.outputs[0]] = module(*(values[key] for key in step.inputs))
        return values[id(self._graph.output)]


def _module(step: Step) -> Callable[..., Any]:
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
    simple: dict[str, Callable[[], Callable[..., Any]]] = {
        "ReLU": nn.ReLU,
        "Dropout": nn.Identity,
        "Softmax": lambda: nn.Softmax(dim=1),
        "Flatten": lambda: lambda images: images.permute(0, 2, 3, 1).flatten(1),  # as in NHWC
        "Add": lambda: torch.add,
        "MaxPooling2D": lambda: nn.MaxPool2d(layer.pool_size, layer.strides),
        "GlobalAveragePooling2D": lambda: lambda images: images.mean(dim=(2, 3)),
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
    module = nn.BatchNorm2d(len(layer.moving_mean), eps=layer.epsilon)
    _set(module.weight, layer.gamma.numpy())
    _set(module.bias, layer.beta.numpy())
    _set(module.running_mean, layer.moving_mean.numpy())
    _set(module.running_var, layer.moving_variance.numpy())
    return module


def _set(parameter: Any, values: Any) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values.copy()))
