"""What an exported file says of itself, so that prediction needs no other file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from casvit_mm.errors import InputError

__all__ = ['KEY', 'Spec']

KEY = 'casvit_mm'  # under which each format holds the JSON text of a Spec
_VERSION = 1


@dataclass(frozen=True)
class Spec:
    """How to use an exported model.

    Attributes:
        task: ``'classification'``, ``'segmentation'``, ``'detection'`` or ``'backbone'``.
        classes: Class names in the order of the outputs; empty for a backbone.
        steps: What the test pipeline does to the size of an image; each entry is named by its
            ``op`` and read by :func:`casvit_mm.deploy.images.resize`.
        mean: Mean of each channel from 0 to 255, in the network's channel order.
        std: Standard deviation, likewise.
        rgb: Whether the network sees red first. Images come as BGR.
        preprocess: ``'inside'``: the file takes BGR pixels from 0 to 255; ``'outside'``: it takes
            normalised values in the network's channel order.
        size: Height and width of the input; None where they are open.
        least: Minimum side of the input in pixels, where sizes are open.
        precision: ``'fp32'``, ``'fp16'``, ``'bf16'`` or ``'int8'``.
        score_thr: Detections below this score are left out of the outputs.
        mask_thr: Probability from which a pixel belongs to a mask.
        label_thr: Probability above which a pixel of a segmentor with a single output is its
            class; None where the largest of several outputs wins.
        align_corners: Whether a segmentor's output is enlarged with its corners in place.
        version: Version of this description.
    """

    task: str
    classes: tuple[str, ...]
    steps: tuple[dict[str, Any], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool
    preprocess: str = 'inside'
    size: tuple[int, int] | None = None
    least: int = 1
    precision: str = 'fp32'
    score_thr: float = 0.0
    mask_thr: float = 0.5
    label_thr: float | None = None
    align_corners: bool = False
    version: int = field(default=_VERSION)

    def to_json(self) -> str:
        """Return the text that goes into the file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None, path: object) -> Spec:
        """Read the text of a file.

        Raises:
            InputError: If there is none, or a newer version of this package wrote it.
        """
        if not text:
            raise InputError(
                f'{path} does not say how to use it: tools/export.py did not write it, or another '
                f'tool has dropped its metadata ({KEY!r})'
            )
        content = json.loads(text)
        if content['version'] != _VERSION:
            raise InputError(
                f'{path} has version {content["version"]} of the description, this casvit_mm reads '
                f'version {_VERSION}. Export the model again, or use the casvit_mm that wrote it.'
            )
        for name in ('classes', 'steps', 'mean', 'std'):
            content[name] = tuple(content[name])
        if content['size']:
            content['size'] = tuple(content['size'])
        return cls(**content)
