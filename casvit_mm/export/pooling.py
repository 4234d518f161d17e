"""Adaptive pooling over maps of known size, for engines that lack it."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ['fix_pooling']


def fix_pooling(module: nn.Module, example: Tensor) -> None:
    """Replace average pooling to a grid of fixed shape by two products with constant matrices.

    ONNX has no such pooling where the grid does not divide the map, ExecuTorch has none at all.
    Pooling to one position stays: it is a mean. So does a pool that reads maps of several sizes.

    Args:
        module: Changed in place.
        example: Its input; every other has the same size.
    """
    sizes: dict[nn.Module, set[tuple[int, int]]] = defaultdict(set)

    def remember(pool: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        height, width = inputs[0].shape[-2:]
        sizes[pool].add((height, width))

    pools = [each for each in module.modules() if _is_grid(each)]
    if not pools:
        return
    handles = [pool.register_forward_pre_hook(remember) for pool in pools]
    with torch.no_grad():
        module(example)
    for handle in handles:
        handle.remove()
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if child in sizes and len(sizes[child]) == 1:
                setattr(parent, name, _GridPool(child, *next(iter(sizes[child]))))


def _is_grid(module: nn.Module) -> bool:
    """Return whether a module pools to more than one position, whatever its input's size is."""
    return type(module) is nn.AdaptiveAvgPool2d and _grid(module) not in ((1, 1), (None, None))


def _grid(pool: nn.Module) -> tuple[int | None, int | None]:
    size = pool.output_size
    return size if isinstance(size, tuple) else (size, size)  # type: ignore[return-value]


class _GridPool(nn.Module):
    """What an adaptive pooling does on maps of one size.

    Shape:
        ``(B, C, H, W) -> (B, C, rows, columns)``.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, pool: nn.Module, height: int, width: int) -> None:
        super().__init__()
        rows, columns = _grid(pool)
        self.register_buffer('rows', _averages(height, rows or height))
        self.register_buffer('columns', _averages(width, columns or width))

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.linear(x, self.columns.to(x)).transpose(2, 3)
        return F.linear(pooled, self.rows.to(x)).transpose(2, 3)


def _averages(size: int, parts: int) -> Tensor:
    """Return the ``(parts, size)`` weights with which torch averages a row into parts."""
    weights = torch.zeros(parts, size)
    for part in range(parts):
        first, end = part * size // parts, -(-(part + 1) * size // parts)
        weights[part, first:end] = 1 / (end - first)
    return weights
