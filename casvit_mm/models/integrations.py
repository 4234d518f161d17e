"""Alternatives to the integration subnet of CAS-ViT's block, without published weights."""

from __future__ import annotations

from torch import nn

__all__ = ['build_other_integration']


def _depthwise(dim: int) -> nn.Sequential:
    """The subnet as articles describe it: three depthwise 3x3, ReLU between them."""
    convs = [nn.Conv2d(dim, dim, 3, padding=1, groups=dim) for _ in range(3)]
    return nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])


def build_other_integration(kind: str, dim: int) -> nn.Sequential | None:
    """Return the subnet for ``dim`` channels, or None if there is to be none.

    Args:
        kind: ``'depthwise'`` or ``'none'``.
        dim: Number of channels.

    Raises:
        ValueError: If there is no subnet of that name.
    """
    if kind == 'depthwise':
        return _depthwise(dim)
    if kind == 'none':
        return None
    raise ValueError(
        f'unknown local_integration {kind!r}, expected one of published, depthwise, none'
    )
