"""Graphs as TorchScript, for the converters that read it."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from casvit_mm.export.graphs import Graph, Positional

__all__ = ['trace', 'without_shared_layers']


def trace(graph: Graph, example: Tensor) -> Any:
    """Return a graph as TorchScript of a fixed size, whose outputs are a tuple in their order.

    Args:
        graph: In float32.
        example: An input ``(1, 3, H, W)``; the script takes it as float32.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the tracer, about checks of sizes
        return torch.jit.trace(Positional(graph).eval(), example.float(), check_trace=False)


def without_shared_layers(graph: Graph) -> Graph:
    """Return a copy in which every layer has one name only.

    RTMDet's levels share convolutions, each with a BatchNorm of its own, and the boxes of
    RTMDet-Ins share whole layers with its classes. pnnx takes the weights of a layer with two names
    for an input; ExecuTorch cannot merge two BatchNorms into them.
    """
    graph = copy.deepcopy(graph)
    known: set[nn.Module] = set()
    for parent in list(graph.modules()):
        for name, child in list(parent._modules.items()):
            if child in known:
                setattr(parent, name, copy.deepcopy(child))
            elif child is not None:
                known.add(child)
    return graph
