"""Whether weights are numbers: a training that diverged leaves NaN or infinity in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from casvit_mm.errors import DivergedError, first_names

__all__ = ['check_finite', 'not_finite']

# The square of a larger value is beyond float32, so that any norm after it divides by infinity.
_LARGEST = 1e18


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold NaN, infinity, or values beyond 1e18.

    The answers of all tensors leave the device together, so that it is waited for once.
    """
    floats = {name: tensor for name, tensor in tensors.items() if _can_be_asked(tensor)}
    by_device: dict[torch.device, list[str]] = {}
    for name, tensor in floats.items():
        by_device.setdefault(tensor.device, []).append(name)
    bad = set()
    for names in by_device.values():
        largest = torch.stack([floats[name].detach().abs().amax().float() for name in names])
        finite = (largest < _LARGEST).tolist()  # of NaN, too, this is false
        bad |= {name for name, ok in zip(names, finite, strict=True) if not ok}
    return [name for name in floats if name in bad]


def _can_be_asked(tensor: Tensor) -> bool:
    # torch knows no largest value of floats of 8 bits, and a tensor on "meta" has none.
    wide = tensor.is_floating_point() and tensor.element_size() > 1
    return wide and tensor.numel() > 0 and not tensor.is_meta


def check_finite(
    state: Mapping[str, Tensor], path: str | Path, own: Mapping[str, Tensor] | None = None
) -> None:
    """Refuse a file of weights that are no numbers.

    Args:
        state: The weights.
        path: The file, for the message.
        own: Those of the model they go into, if there is one: what is no number there either, such
            as a mask of -inf, may be none in the file.

    Raises:
        DivergedError: Naming the tensors.
    """
    bad = not_finite(state)
    if bad and own:
        at_home = set(not_finite({name: own[name] for name in bad if name in own}))
        bad = [name for name in bad if name not in at_home]
    if bad:
        raise DivergedError(
            f'{str(path)!r} holds NaN, infinity or values beyond {_LARGEST:g} in {len(bad)} '
            f'of {len(state)} tensors: {first_names(bad, 3)}.\nIts training diverged, and what it '
            'predicts would mean nothing. Take a checkpoint from before, or another file.'
        )
