"""What a classifier gets to see in training: images after the whole pipeline, and their class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.config import Config

from casvit_mm.classification.data.trace import CropTrace
from casvit_mm.config.editing import dicts_in
from casvit_mm.config.forms import entries, type_name
from casvit_mm.datasets.browsing import InputCounts, Panel, SampleArtist
from casvit_mm.datasets.views import View, undo_preprocessing
from casvit_mm.errors import plain_name

__all__ = ['CropArtist', 'CropCounts']

_LITTLE = 0.25  # share of an image in half of the inputs that is worth a warning
_LARGE = 4  # px of the input per px of the image


@dataclass
class CropCounts(InputCounts):
    """How much of the images is seen, and how large.

    Attributes:
        blends: Names of what mixes the images of a batch, after what is drawn.
        shares: Part of the image's area that each input shows, 0 to 1.
        zooms: Pixels of each input per pixel of its image, along a side.
    """

    blends: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    zooms: list[float] = field(default_factory=list)

    def lines(self) -> list[str]:
        low, middle, high = (f'{v:.0%}' for v in np.percentile(self.shares, (0, 50, 100)))
        small, median, large = (f'{v:.2f}' for v in np.percentile(self.zooms, (0, 50, 100)))
        found = [
            f'crops     inputs show {low} to {high} of the area of their image, half of them '
            f'{middle} or less',
            f'scale     a pixel of the image becomes {small} to {large} px of the input, '
            f'{median} in the median',
        ]
        if self.blends:
            names = ', '.join(self.blends)
            found.append(f'batches   {names} blend images after this; that is not drawn')
        return found

    def warnings(self) -> list[str]:
        found = []
        if self.rejected:
            found.append(
                f'{self.rejected} of {len(self.inputs)} inputs were rejected by the pipeline; '
                'training takes another image instead'
            )
        if (share := float(np.median(self.shares))) < _LITTLE:
            found.append(
                f'half of the inputs show {share:.0%} of their image or less: look whether the '
                'class can still be told; else raise the lower end of crop_ratio_range'
            )
        if (zoom := float(np.median(self.zooms))) > _LARGE:
            found.append(
                f'half of the inputs are enlarged {zoom:.1f} times or more, which shows nothing '
                'new: a smaller input costs less'
            )
        return found


class CropArtist(SampleArtist):
    """Draws images with the name of their class.

    Args:
        cfg: A classification config.
        dataset: Built from it; its pipelines are changed in place.
        training: Whether the preprocessor works as in training.
    """

    preprocessor_type = 'ClsDataPreprocessor'

    def __init__(self, cfg: Config, dataset: Any, training: bool) -> None:
        self._crops = CropTrace(dataset)
        self._seen = CropCounts(blends=list(_blends(cfg)) if training else [])
        super().__init__(cfg, dataset, self._crops, self._seen, training)

    def views_of_original(self, panel: Panel) -> list[View]:
        return [self._view(panel, '')]

    def views_of_input(self, panel: Panel, used: bool) -> list[View]:
        area = np.prod(self.trace.loaded[-1]['inputs'].shape[1:])
        share = self._crops.share
        self._seen.shares.append(share)
        self._seen.zooms.append(float(np.sqrt(np.prod(panel.content) / (share * area))))
        return [self._view(panel, f'shows {share:.0%} of the image, ')]

    def _view(self, panel: Panel, what: str) -> View:
        labels = panel.truth.get('gt_label', ())
        names = ', '.join(plain_name(self._name(int(label)), 40) for label in labels)
        image = undo_preprocessing(panel.packed['inputs'], panel.preprocessing)
        return View(image, panel.content, '\n'.join([*panel.lines, what + names]))

    def _name(self, label: int) -> str:
        return self.classes[label] if label < len(self.classes) else str(label)


def _blends(cfg: Config) -> Iterator[str]:
    """Yield the names of what a config mixes the images of a batch by."""
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    for settings in (cfg.model.get('train_cfg'), preprocessor.get('batch_augments')):
        for node in dicts_in(entries(settings or {}, 'augments')):
            if 'type' in node:
                yield type_name(node)
