"""What the inputs of an exported file, of whatever maker, are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from casvit_mm.benchmark.inputs import normalise
from casvit_mm.deploy.engines import EngineInput
from casvit_mm.errors import InputError

__all__ = ['FileInputs', 'describe_inputs']


def describe_inputs(inputs: Sequence[EngineInput]) -> str:
    """Return name, type and sizes of each input."""
    return ', '.join(map(str, inputs))


@dataclass(frozen=True)
class FileInputs:
    """The inputs of a file, of which one takes the image.

    Attributes:
        inputs: All of them.
        image: ``(B, 3, H, W)``, or ``(B, H, W, 3)``.
        last: Whether the channels of the image come last.
    """

    inputs: tuple[EngineInput, ...]
    image: EngineInput
    last: bool

    @classmethod
    def find(cls, inputs: Sequence[EngineInput], path: Path) -> FileInputs:
        """Tell the image from what is beside it.

        Raises:
            InputError: If an input is neither an image nor two numbers for each, naming all.
        """
        images = [one for one in inputs if len(one.shape) == 4 and 3 in (one.shape[1::2])]
        others = [one for one in inputs if one not in images]
        if len(images) != 1 or any(len(one.shape) != 2 or one.shape[1] != 2 for one in others):
            raise InputError(
                f'{path} cannot be fed, it takes {describe_inputs(inputs)}. Known are one image, '
                '(B, 3, H, W) or (B, H, W, 3), and its size or scale beside it, (B, 2). Give the '
                'others a fixed value in the file'
            )
        return cls(tuple(inputs), images[0], images[0].shape[1] != 3)

    @property
    def shape(self) -> tuple[int | None, int | None, int | None]:
        """Images, height and width; None where the file leaves one open."""
        shape = self.image.shape
        return (shape[0], shape[1], shape[2]) if self.last else (shape[0], shape[2], shape[3])

    def arrays(self, bgr: np.ndarray) -> list[np.ndarray]:
        """Return what each input gets.

        An image of floating point is normalised by ImageNet's mean and deviation: other ranges
        change what a network finds, and not how long it takes.

        Args:
            bgr: uint8 ``(B, 3, H, W)``.
        """
        return [self._array(one, bgr) for one in self.inputs]

    def _array(self, one: EngineInput, bgr: np.ndarray) -> np.ndarray:
        if one is self.image:
            values = bgr if issubclass(one.type, np.integer) else normalise(bgr).numpy()
            values = values.transpose(0, 2, 3, 1) if self.last else values
        elif 'scale' in one.name:
            values = np.ones((len(bgr), 2))
        else:
            values = np.tile(bgr.shape[2:], (len(bgr), 1))
        return np.ascontiguousarray(values, one.type)
