"""The gates of CAS-ViT's additive attention: what queries and keys are multiplied by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from casvit_mm.errors import InputError
from casvit_mm.models.architectures import stage_stride
from casvit_mm.models.casvit import AdditiveTokenMixer, SpatialGate
from casvit_mm.models.inspection import find_casvit
from casvit_mm.visualization.models import PreparedImage, VisualizedModel
from casvit_mm.visualization.stages import capture

__all__ = ['StageGates', 'check_gates', 'has_gates', 'read_gates']


@dataclass(frozen=True)
class StageGates:
    """What the gates of a stage's last block multiply by, 0 to 1.

    Attributes:
        number: Of the stage, from 1.
        stride: Input pixels per position of its map.
        spatial: By ``'query'`` and ``'key'``, ``(h, w)``; empty without such gates.
        channel: Likewise ``(C,)``.
    """

    number: int
    stride: int
    spatial: dict[str, np.ndarray]
    channel: dict[str, np.ndarray]


def has_gates(visualized: VisualizedModel) -> bool:
    """Return whether there are gates to show."""
    return bool(_gates(visualized))


def check_gates(visualized: VisualizedModel) -> None:
    """Refuse a model without gates to show.

    Raises:
        InputError: Naming what it has instead.
    """
    if has_gates(visualized):
        return
    kinds = {type(mixer).__name__ for mixer in _last_mixers(visualized).values()}
    if kinds:
        has = f'the token mixer {" and ".join(sorted(kinds))}'
        has += ' without gates' * (kinds == {'AdditiveTokenMixer'})
    else:
        has = f'the backbone {type(visualized.backbone).__name__}'
    raise InputError(
        f'--show gates: {visualized.name} has {has}; gates are those of CASViT with '
        'AdditiveTokenMixer. Leave gates out'
    )


@torch.no_grad()
def read_gates(visualized: VisualizedModel, image: PreparedImage) -> list[StageGates]:
    """Return the gates of the last block of each stage for an image.

    Raises:
        InputError: If the model has none.
    """
    check_gates(visualized)
    gates = _gates(visualized)
    numbers = sorted({number for number, _, _ in gates})
    stages = {number: StageGates(number, stage_stride(number - 1), {}, {}) for number in numbers}
    with capture(gates.values()) as outputs:
        visualized.backbone(image.x)
    for (number, side, kind), gate in gates.items():
        value = outputs[gate][0].cpu().numpy()  # (1, h, w) of a spatial gate, (C, 1, 1) of another
        stage = stages[number]
        if kind == 'spatial':
            stage.spatial[side] = image.cut(value[0], stage.stride)
        else:
            stage.channel[side] = value[:, 0, 0]
    return list(stages.values())


def _gates(visualized: VisualizedModel) -> dict[tuple[int, str, str], Any]:
    """Return the modules that compute gates, by stage, ``'query'`` or ``'key'``, and kind."""
    gates: dict[tuple[int, str, str], Any] = {}
    for number, mixer in _last_mixers(visualized).items():
        if not isinstance(mixer, AdditiveTokenMixer):
            continue
        for side, branch in (('query', mixer.gate_q), ('key', mixer.gate_k)):
            for gate in branch:
                kind = 'spatial' if isinstance(gate, SpatialGate) else 'channel'
                gates[number, side, kind] = gate.gate
    return gates


def _last_mixers(visualized: VisualizedModel) -> dict[int, nn.Module]:
    """Return the token mixer of each stage's last block, by the stage's number; none of others."""
    casvit = find_casvit(visualized.backbone)
    if casvit is None:
        return {}
    blocks: list[Any] = [list(stage.children())[-1] for stage in casvit.stages]
    return {number: block.token_mixer for number, block in enumerate(blocks, 1)}
