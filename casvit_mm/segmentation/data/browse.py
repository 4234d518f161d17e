"""What a segmentor gets to see in training: images after the whole pipeline, and their masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.config import Config

from casvit_mm.datasets.browsing import InputCounts, Panel, SampleArtist
from casvit_mm.datasets.pipeline_trace import PipelineTrace
from casvit_mm.datasets.views import Colour, View, undo_preprocessing
from casvit_mm.deploy.canvas import distinct_colours
from casvit_mm.errors import first_names, plain_name
from casvit_mm.segmentation.data.description import IGNORED
from casvit_mm.segmentation.prediction.drawing import paint_classes

__all__ = ['MaskView', 'PixelArtist', 'PixelCounts']

_MANY = 0.5  # share of the inputs that is worth a warning when it teaches nothing
_LISTED = 20  # classes that the report lists
_NAMED = 5  # classes that a warning names


@dataclass(frozen=True)
class MaskView(View):
    """A mask in the colours of its classes, over the image in grey.

    Attributes:
        colours: RGB in 0..1 of the classes that occur, by name, the largest first.
    """

    colours: dict[str, Colour]

    def legend(self) -> dict[str, Colour]:
        return self.colours


class PixelCounts(InputCounts):
    """What becomes of the pixels of each class.

    Args:
        classes: Their names.

    Attributes:
        before: Pixels of each class, and last the ignored, of the images as loaded, once for each
            input; int64 ``(classes + 1,)``.
        after: The same of the inputs, without padding.
        images: Inputs whose image shows each class, ``(classes + 1,)``.
        shown: Inputs that show it themselves.
        padding: Pixels of the inputs that are padding.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.classes = classes
        self.before, self.after, self.images, self.shown = np.zeros((4, len(classes) + 1), int)
        self.padding = 0

    def lines(self) -> list[str]:
        before, after = (count / max(1, count.sum()) for count in (self.before, self.after))
        padding = self.padding / max(1, self.padding + self.after.sum())
        found = [
            'pixels    share in the images and in the inputs, and in how many of these',
            *(
                f'          {before[k]:>7.2%} {after[k]:>7.2%} {self.shown[k]:>5}  '
                f'{plain_name(self.classes[k], 40)}'
                for k in self._listed()
            ),
        ]
        if more := np.count_nonzero(self.images[:-1]) - len(self._listed()):
            found.append(f'          ... {more} more classes')
        if self.images[-1] or self.shown[-1]:
            found.append(
                f'          {before[-1]:>7.2%} {after[-1]:>7.2%} {self.shown[-1]:>5}  ignored'
            )
        return [*found, f'padding   {padding:.2%} of the inputs']

    def _listed(self) -> list[int]:
        order = np.argsort(-self.before[:-1], kind='stable')
        return [int(k) for k in order if self.images[k]][:_LISTED]

    def warnings(self) -> list[str]:
        found = []
        if self.rejected:
            found.append(
                f'{self.rejected} of {len(self.inputs)} inputs were rejected by the pipeline; '
                'training takes another image instead'
            )
        lost = [
            f'{plain_name(name, 40)} ({count})'
            for name, count, shown in zip(self.classes, self.images, self.shown, strict=False)
            if count and not shown
        ]
        if lost:
            found.append(
                'in no input, though in the images of some (in brackets): '
                f'{first_names(lost, _NAMED)}. A crop passes by what is rare; draw more --copies, '
                'and if it stays away, enlarge crop_size or lower the resize scale'
            )
        taught = self.after[:-1].sum()
        whole = self.after.sum() + self.padding
        if whole and taught < (1 - _MANY) * whole:
            found.append(
                f'{1 - taught / whole:.0%} of the pixels of the inputs are padding or ignored and '
                'teach nothing: lower crop_size, or raise the resize scale'
            )
        return found


class PixelArtist(SampleArtist):
    """Draws each image as it is, and beside it its mask.

    Args:
        cfg: A segmentation config.
        dataset: Built from it; its pipelines are changed in place.
        training: Whether the preprocessor works as in training.
    """

    preprocessor_type = 'SegDataPreProcessor'

    def __init__(self, cfg: Config, dataset: Any, training: bool) -> None:
        trace = PipelineTrace(dataset, dict(type='PackSegInputs', meta_keys=('img_path',)))
        self._seen = PixelCounts(tuple(dataset.metainfo.get('classes') or ()))
        super().__init__(cfg, dataset, trace, self._seen, training)
        palette = dataset.metainfo.get('palette') or distinct_colours(len(self.classes))
        self._palette = np.array(palette, np.uint8)
        self._before = np.zeros_like(self._seen.before)

    def views_of_original(self, panel: Panel) -> list[View]:
        return self._views(panel, '')

    def views_of_input(self, panel: Panel, used: bool) -> list[View]:
        seen, inner = self._seen, (slice(panel.content[0]), slice(panel.content[1]))
        labels = _labels(panel)
        before, after = self._counts(_labels_of(self.trace.loaded[-1])), self._counts(labels[inner])
        seen.before += before
        seen.after += after
        seen.images += before > 0
        seen.shown += after > 0
        seen.padding += labels.size - labels[inner].size
        kept, there = np.count_nonzero(after[:-1]), np.count_nonzero(before[:-1])
        return self._views(panel, f', {kept} of {there} classes' if used else '')

    def _counts(self, labels: np.ndarray) -> np.ndarray:
        """Return the pixels of each class, and last of none, int64 ``(classes + 1,)``."""
        number = len(self.classes)
        found = np.bincount(labels.ravel(), minlength=256)
        return np.append(found[:number], found[number:].sum())

    def _views(self, panel: Panel, more: str) -> list[View]:
        image = undo_preprocessing(panel.packed['inputs'], panel.preprocessing)
        labels = _labels(panel)
        counts = self._counts(labels)[:-1]
        shown = [int(k) for k in np.argsort(-counts, kind='stable') if counts[k]]
        red, green, blue = self._palette.T / 255
        colours = {self.classes[k]: (red[k], green[k], blue[k]) for k in shown}
        painted = paint_classes(image, labels, self._palette, IGNORED)
        return [
            View(image, panel.content, '\n'.join(panel.lines)),
            MaskView(painted, panel.content, f'mask{more}', colours),
        ]


def _labels(panel: Panel) -> np.ndarray:
    return _labels_of(panel.packed)


def _labels_of(packed: dict[str, Any]) -> np.ndarray:
    """Return the class of each pixel, ``(H, W)``; ignored where there is no truth."""
    sample = packed['data_samples']
    if 'gt_sem_seg' not in sample:
        return np.full(packed['inputs'].shape[1:], IGNORED)
    labels: np.ndarray = sample.gt_sem_seg.data[0].cpu().numpy()
    return labels
