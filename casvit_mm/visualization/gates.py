"""The gates of CAS-ViT's additive attention: what queries and keys let through, and how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from casvit_mm.errors import InputError
from casvit_mm.models.architectures import stage_stride
from casvit_mm.models.casvit import AdditiveTokenMixer, SpatialGate
from casvit_mm.models.inspection import find_casvit
from casvit_mm.visualization.models import Prepared, SeenModel
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


def _gates(seen: SeenModel) -> dict[tuple[int, str, str], Any]:
    """Return by stage, ``'query'`` or ``'key'`` and kind what computes a gate."""
    ours = find_casvit(seen.backbone)
    found: dict[tuple[int, str, str], Any] = {}
    for number, stage in enumerate(ours.stages if ours else (), 1):
        mixer = list(stage.children())[-1].token_mixer
        if not isinstance(mixer, AdditiveTokenMixer):
            continue
        for side, gates in (('query', mixer.gate_q), ('key', mixer.gate_k)):
            for gate in gates:
                kind = 'spatial' if isinstance(gate, SpatialGate) else 'channel'
                found[number, side, kind] = gate.gate
    return found


def has_gates(seen: SeenModel) -> bool:
    """Return whether there are gates to show."""
    return bool(_gates(seen))


def check_gates(seen: SeenModel) -> None:
    """Refuse a model without gates to show.

    Raises:
        InputError: Naming what it has instead.
    """
    if has_gates(seen):
        return
    ours = find_casvit(seen.backbone)
    if ours is None:
        has = f'the backbone {type(seen.backbone).__name__}'
    else:
        mixers = {type(list(stage.children())[-1].token_mixer).__name__ for stage in ours.stages}
        has = f'the token mixer {" and ".join(sorted(mixers))}'
        has += ' without gates' * (mixers == {'AdditiveTokenMixer'})
    raise InputError(
        f'--show gates: {seen.name} has {has}; gates are those of CASViT with AdditiveTokenMixer. '
        'Leave gates out'
    )


@torch.no_grad()
def read_gates(seen: SeenModel, image: Prepared) -> list[StageGates]:
    """Return the gates of the last block of each stage for an image.

    Raises:
        InputError: If the model has none.
    """
    check_gates(seen)
    gates = _gates(seen)
    numbers = sorted({number for number, _, _ in gates})
    stages = {number: StageGates(number, stage_stride(number - 1), {}, {}) for number in numbers}
    with capture(gates.values()) as outputs:
        seen.backbone(image.x)
    for (number, side, kind), gate in gates.items():
        value = outputs[gate][0].cpu().numpy()
        stage = stages[number]
        if kind == 'spatial':
            stage.spatial[side] = image.cut(value[0], stage.stride)
        else:
            stage.channel[side] = value[:, 0, 0]
    return list(stages.values())
