"""The feature maps of each stage as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from casvit_mm.visualization.models import PreparedImage, VisualizedModel
from casvit_mm.visualization.stages import Stage, capture

__all__ = ['principal_components', 'stage_maps']


@torch.no_grad()
def stage_maps(
    visualized: VisualizedModel, stages: Sequence[Stage], image: PreparedImage
) -> list[np.ndarray]:
    """Return what each stage makes of an image, ``(C, h, w)``, without the padding's part."""
    with capture(stage.end for stage in stages) as outputs:
        visualized.backbone(image.x)
    maps = []
    for stage in stages:
        values = stage.as_map(outputs[stage.end], image.x)[0].cpu().numpy()
        maps.append(image.cut(values, stage.stride))
    return maps


def principal_components(features: np.ndarray) -> np.ndarray:
    """Return the first three principal components over the positions as colours.

    Places of one colour have alike features. Each component is scaled to 0 to 1; its sign, which
    is free, is such that most of its squared weight is positive.

    Args:
        features: ``(C, h, w)``.

    Returns:
        RGB from 0 to 1, ``(h, w, 3)``; components that do not exist are 0.
    """
    channels, height, width = features.shape
    values = features.reshape(channels, -1).astype(np.float64)
    values -= values.mean(1, keepdims=True)
    _, axes = np.linalg.eigh(values @ values.T)
    axes = axes[:, ::-1][:, :3]  # the largest first
    axes *= np.where((axes * np.abs(axes)).sum(0) < 0, -1, 1)
    scores = axes.T @ values
    low, high = scores.min(1, keepdims=True), scores.max(1, keepdims=True)
    picture = np.zeros((height, width, 3))
    picture[..., : len(scores)] = ((scores - low) / (high - low + 1e-12)).T.reshape(
        height, width, -1
    )
    return picture
