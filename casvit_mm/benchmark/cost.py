"""What a model costs beside time and multiply-adds: parameters."""

from __future__ import annotations

from torch import nn

__all__ = ['count_parameters']


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, without the statistics of norms."""
    return sum(parameter.numel() for parameter in model.parameters())
