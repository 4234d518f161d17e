"""What a detector gets to see in training: images after the whole pipeline, with their objects."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from mmdet.structures.mask import bitmap_to_polygon
from mmengine.config import Config
from mmengine.logging import MessageHub

from casvit_mm.datasets.browsing import InputCounts, Panel, SampleArtist
from casvit_mm.datasets.views import Colour, View, undo_preprocessing
from casvit_mm.detection.data.trace import TINY, Trace, boxes_of

__all__ = ['ObjectArtist', 'ObjectCounts', 'ObjectsView']

_MANY = 0.5  # share of the objects that is worth a warning when it is lost
_NAMED_AT_MOST = 15  # objects in a picture that are still named one by one
_HALO = patheffects.withStroke(linewidth=2.4, foreground='white', alpha=0.6)


@dataclass(frozen=True)
class ObjectsView(View):
    """An image with boxes and masks.

    Attributes:
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        names: Class of each box.
        colours: RGB in 0..1 by class.
        outlines: Border of each box's mask; empty without masks.
    """

    boxes: np.ndarray
    names: list[str]
    colours: dict[str, Colour]
    outlines: list[Outline]

    def legend(self) -> dict[str, Colour]:
        return {name: colour for name, colour in self.colours.items() if name in self.names}

    def draw_marks(self, axis: Axes, small: bool) -> None:
        # Outlines only: a tint would hide the colours that the network sees. add_artist does not
        # measure what it adds, add_patch would, for as long as all the drawing takes.
        for name, outline in zip(self.names, self.outlines, strict=False):
            mask = PathPatch(outline, fill=False, edgecolor=self.colours[name])
            mask.set_linewidth(0.6 if small else 1.2)
            axis.add_artist(mask)
        for name, box in zip(self.names, self.boxes, strict=True):
            frame = Rectangle(box[:2], *(box[2:] - box[:2]), fill=False)
            frame.set(edgecolor=self.colours[name], linewidth=0.6 if small else 1.2)
            axis.add_artist(frame)
            if not small:
                frame.set_path_effects([_HALO])
                if len(self.names) <= _NAMED_AT_MOST:
                    self._write(axis, name, box)

    def _write(self, axis: Axes, name: str, box: np.ndarray) -> None:
        colour = self.colours[name]
        # A name that starts near the right edge would leave the picture.
        at_right = box[0] > 0.85 * self.image.shape[1]
        # Above the box, so that it hides nothing of the object, where the picture has room there.
        inside = box[1] < 0.06 * self.image.shape[0]
        axis.annotate(
            name,
            (box[2] if at_right else max(box[0], 0), max(box[1], 0)),
            xytext=(-1.5 if at_right else 1.5, -1.5 if inside else 1.5),
            textcoords='offset points',
            ha='right' if at_right else 'left',
            va='top' if inside else 'bottom',
            fontsize=7,
            color='black' if np.dot(colour, (0.213, 0.715, 0.072)) > 0.6 else 'white',
            clip_on=True,
            bbox=dict(facecolor=colour, linewidth=0, pad=1),
        )


@dataclass
class ObjectCounts(InputCounts):
    """What becomes of objects.

    Attributes:
        loaded: Objects in the images that went in.
        dropped: Objects lost on the way, by the transform that dropped them.
        tiny: Boxes below 2 px in width or height after resizing.
        empty: Inputs without an object.
    """

    loaded: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    tiny: int = 0
    empty: int = 0

    def lines(self) -> list[str]:
        lost = self.dropped.total()
        by = ', '.join(f'{name} {count}' for name, count in self.dropped.most_common() if count)
        line = f'objects   {self.loaded} loaded, {lost} dropped' + (f' by {by}' if by else '')
        return [f'{line}; {self.empty} of {len(self.inputs)} inputs without object']

    def warnings(self) -> list[str]:
        found = []
        if self.rejected:
            found.append(
                f'{self.rejected} of {len(self.inputs)} inputs were rejected by the pipeline, as '
                'no object was left; training takes another image instead. To learn from empty '
                'ground too, set allow_negative_crop=True in RandomCrop and keep_empty=False in '
                'FilterAnnotations (whose True means: reject)'
            )
        if self.dropped.total() > _MANY * self.loaded:
            found.append(
                f'{self.dropped.total() / self.loaded:.0%} of the objects are dropped. That is '
                'normal where strong crops or mixing show other parts every epoch; else enlarge '
                'crop_size or lower the resize scale'
            )
        if self.tiny:
            found.append(
                f'{self.tiny} of {self.loaded} boxes are resized to less than {TINY} px, '
                'too small to be learnt: raise the resize scale, or cut large images into tiles'
            )
        return found


class ObjectArtist(SampleArtist):
    """Draws boxes, masks and names of the objects.

    Args:
        cfg: A detection config.
        dataset: Built from it; its pipelines are changed in place.
        training: Whether the preprocessor works as in training.
    """

    preprocessor_type = 'DetDataPreprocessor'

    def __init__(self, cfg: Config, dataset: Any, training: bool) -> None:
        self._objects = Trace(dataset)
        self._seen = ObjectCounts()
        super().__init__(cfg, dataset, self._objects, self._seen, training)
        # YOLOX's batch augmentation changes its size every few iterations and asks which this is.
        MessageHub.get_current_instance().update_info('iter', 0)
        self._colours = _colours(self.classes)

    def views_of_original(self, panel: Panel) -> list[View]:
        ignored = len(panel.truth.ignored_instances)
        line = f'{len(boxes_of(panel.packed))} objects'
        return [self._view(panel, line + (f', {ignored} ignored' if ignored else ''))]

    def views_of_input(self, panel: Panel, used: bool) -> list[View]:
        trace, seen = self._objects, self._seen
        kept = len(boxes_of(panel.packed))
        entered = kept + trace.dropped.total()
        seen.loaded += entered
        seen.dropped += trace.dropped
        seen.tiny += trace.tiny
        seen.empty += kept == 0
        line = f'{kept} of {entered} objects' if used else f'{kept} objects'
        return [self._view(panel, 'several images mixed, ' * (len(trace.loaded) > 1) + line)]

    def _view(self, panel: Panel, line: str) -> ObjectsView:
        instances = panel.truth.gt_instances
        masks = instances.masks.to_ndarray() if 'masks' in instances else ()
        return ObjectsView(
            image=undo_preprocessing(panel.packed['inputs'], panel.preprocessing),
            content=panel.content,
            title='\n'.join([*panel.lines, line]),
            boxes=boxes_of(panel.packed),
            names=[self.classes[label] for label in instances.get('labels', ())],
            colours=self._colours,
            outlines=[_outline(mask) for mask in masks],
        )


def _outline(mask: np.ndarray) -> Outline:
    """Return the borders of a (H, W) mask, outer and inner, as one path."""
    polygons, _ = bitmap_to_polygon(mask)
    closed = [Outline(np.vstack([p, p[:1]]) + 0.5, closed=True) for p in polygons]
    return Outline.make_compound_path(*closed)


def _colours(classes: tuple[str, ...]) -> dict[str, Colour]:
    """Return a colour per class, far from those of its neighbours."""
    if len(classes) <= 10:
        return {name: colormaps['tab10'](i)[:3] for i, name in enumerate(classes)}
    return {name: colormaps['hsv'](i * 0.618 % 1)[:3] for i, name in enumerate(classes)}
