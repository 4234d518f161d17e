"""What a detector gets to see in training: images after the whole pipeline, with their objects."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from mmdet.registry import DATASETS, MODELS
from mmdet.structures.mask import bitmap_to_polygon
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

from casvit_mm.config.checks import check_is_detector
from casvit_mm.config.reading import read_config
from casvit_mm.config.value_checks import MAX_SEED
from casvit_mm.datasets.formats.coco import CocoSummary
from casvit_mm.datasets.views import Colour, View, draw_overview, draw_row, undo_preprocessing
from casvit_mm.detection.data.apply import apply_splits, needs_masks
from casvit_mm.detection.data.config_datasets import check_datasets
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.prepare import prepare_dataset
from casvit_mm.detection.data.trace import TINY, Trace, boxes_of, nested
from casvit_mm.errors import InputError
from casvit_mm.io import check_writable

__all__ = ['BrowseReport', 'ObjectsView', 'browse']

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
        axis.annotate(
            name,
            (box[2] if at_right else max(box[0], 0), max(box[1], 0)),
            xytext=(-1.5 if at_right else 1.5, -1.5),
            textcoords='offset points',
            ha='right' if at_right else 'left',
            va='top',
            fontsize=7,
            color='black' if np.dot(colour, (0.213, 0.715, 0.072)) > 0.6 else 'white',
            clip_on=True,
            bbox=dict(facecolor=colour, linewidth=0, pad=1),
        )


@dataclass
class BrowseReport:
    """What was seen while drawing.

    Attributes:
        folder: Where the pictures are.
        listed: Images in the annotation file; None where the dataset is not COCO format.
        used: Images that the dataset keeps of them.
        inputs: (height, width) of every network input.
        loaded: Objects in the images that went in.
        dropped: Objects lost on the way, by the transform that dropped them.
        tiny: Boxes below 2 px in width or height after resizing.
        empty: Inputs without an object.
        rejected: Inputs that the pipeline refused, so that training takes another image.
    """

    folder: Path
    listed: int | None
    used: int
    inputs: list[tuple[int, int]] = field(default_factory=list)
    loaded: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    tiny: int = 0
    empty: int = 0
    rejected: int = 0

    def lines(self) -> list[str]:
        """Return the report as lines to print."""
        heights, widths = zip(*self.inputs, strict=True)
        lost = self.dropped.total()
        by = ', '.join(f'{name} {count}' for name, count in self.dropped.most_common() if count)
        return [
            f'images    {self.used} used' + (f' of {self.listed} listed' if self.listed else ''),
            f'inputs    {len(self.inputs)} drawn, {min(heights)} to {max(heights)} px high, '
            f'{min(widths)} to {max(widths)} px wide, {self.empty} without object',
            f'objects   {self.loaded} loaded, {lost} dropped' + (f' by {by}' if by else ''),
            f'pictures  {self.folder}/overview.png and one per image',
            *(f'warning: {warning}' for warning in self.warnings()),
        ]

    def warnings(self) -> list[str]:
        """Return what the user should know before training."""
        found = []
        if self.listed is not None and self.used < self.listed:
            found.append(
                f'{self.listed - self.used} of {self.listed} images are never used: the dataset '
                'leaves out images without an object or smaller than filter_cfg.min_size'
            )
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


def browse(
    config: str,
    *,
    data: str | None = None,
    split: str = 'train',
    count: int = 16,
    copies: int = 2,
    seed: int = 0,
    out: str | None = None,
) -> BrowseReport:
    """Draw what a detector sees of some images: the original beside augmented network inputs.

    Inputs have passed the whole pipeline and the data preprocessor; normalisation is undone for the
    eye, padding is hatched. The same seed gives the same pictures.

    Args:
        config: Config file.
        data: ``dataset.yaml``; see :mod:`casvit_mm.detection.data.description`.
        split: ``'train'``, ``'val'`` or ``'test'``.
        count: Number of images, drawn at random; all where there are fewer.
        copies: Network inputs per image.
        seed: Chooses the images and drives the pipeline.
        out: Folder for the pictures; ``work_dirs/<config>/browse`` if None.

    Returns:
        What was seen, to be printed.

    Raises:
        InputError: If anything the user gave cannot work.
    """
    if min(count, copies) < 1:
        raise InputError(f'--count and --copies must be 1 or more, got {count} and {copies}')
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f'--seed {seed} is not between 0 and {MAX_SEED}')
    cfg = read_config(config)
    check_is_detector(cfg)
    if cfg.get(f'{split}_dataloader') is None:
        raise InputError(f'{config} has no {split}_dataloader; choose another --split')
    folder = Path(out or f'work_dirs/{Path(config).stem}/browse')
    check_writable({}, {'--out': str(folder)})
    dataset, summaries = _build(cfg, split, data)
    artist = _Artist(cfg, dataset, training=split == 'train')
    report = BrowseReport(
        folder=folder,
        listed=summaries[split].num_images if split in summaries else None,
        used=sum(len(node) for node in nested(dataset) if isinstance(node, BaseDataset)),
    )
    report.folder.mkdir(parents=True, exist_ok=True)

    rows, names = [], []
    for number, index in enumerate(_choose(dataset, count, seed), 1):
        name = Path(dataset.get_data_info(index)['img_path']).name
        seeds = np.random.SeedSequence([seed, index]).generate_state(copies)
        views = artist.draw(index, [int(s) for s in seeds], report)
        draw_row(views, report.folder / f'{number:03d}_{Path(name).stem}.png')
        rows.append(views)
        names.append(f'{number:03d}: original, inputs')
    draw_overview(rows, names, report.folder / 'overview.png')
    return report


def _build(cfg: Config, split: str, data: str | None) -> tuple[Any, dict[str, CocoSummary]]:
    """Return the dataset of a split as training reads it, and what its annotations hold."""
    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            summaries = check_datasets(cfg, (split,))
        else:
            described = read_dataset(data)
            prepared = prepare_dataset(described, (split,), folder, needs_masks(cfg))
            apply_splits(cfg, described, prepared)
            summaries = {name: part.summary for name, part in prepared.items()}
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports on stdout
            return DATASETS.build(cfg[f'{split}_dataloader'].dataset), summaries


def _choose(dataset: Any, count: int, seed: int) -> list[int]:
    """Return indices of ``count`` different images, also where a wrapper repeats them."""
    chosen: dict[Any, int] = {}
    for index in np.random.default_rng(seed).permutation(len(dataset)):
        chosen.setdefault(dataset.get_data_info(int(index))['img_path'], int(index))
        if len(chosen) == count:
            break
    return list(chosen.values())


class _Artist:
    """Makes the views of one image after the other."""

    def __init__(self, cfg: Config, dataset: Any, training: bool) -> None:
        self._dataset = dataset
        self._trace = Trace(dataset)
        self._training = training
        self._preprocessor_cfg = cfg.model.data_preprocessor
        self._preprocessor = MODELS.build(self._preprocessor_cfg)
        # YOLOX's batch augmentation changes its size every few iterations and asks which this is.
        MessageHub.get_current_instance().update_info('iter', 0)
        classes = dataset.metainfo['classes']
        self._classes = (classes,) if isinstance(classes, str) else tuple(classes)
        self._colours = _colours(self._classes)

    def draw(self, index: int, seeds: list[int], report: BrowseReport) -> list[ObjectsView]:
        """Return the original and one network input per seed, and add them to ``report``."""
        views: list[ObjectsView] = []
        for number, seed in enumerate(seeds, 1):
            self._trace.reset()
            set_random_seed(seed)
            sample = self._dataset[index]
            if not views:
                views.append(self._original())
            views.append(self._input(sample, number, report))
        return views

    def _original(self) -> ObjectsView:
        packed = self._trace.loaded[0]
        height, width = packed['inputs'].shape[1:]
        name = Path(packed['data_samples'].img_path).name
        ignored = len(packed['data_samples'].ignored_instances)
        lines = [
            f'original: {_shortened(name)}, {height} x {width}',
            f'{len(boxes_of(packed))} objects' + (f', {ignored} ignored' if ignored else ''),
        ]
        return self._view(packed, {}, (height, width), '\n'.join(lines))

    def _input(self, sample: dict, number: int, report: BrowseReport) -> ObjectsView:
        batch = self._preprocessor(pseudo_collate([sample]), training=self._training)
        packed = dict(inputs=batch['inputs'][0], data_samples=batch['data_samples'][0])
        trace, sample_info = self._trace, packed['data_samples']
        height, width = packed['inputs'].shape[1:]
        wanted = trace.loaded[0]['data_samples'].img_path
        used = sample_info.get('img_path', wanted)
        kept = len(boxes_of(packed))
        entered = kept + trace.dropped.total()

        content = sample_info.get('img_shape', (height, width))[:2]
        lines = [f'input {number}: tensor 3 x {height} x {width}']
        if content != (height, width):
            lines.append(f'padded from {content[0]} x {content[1]}')
        if used != wanted:
            lines.append(f'rejected; training takes {_shortened(Path(used).name)}')
            lines.append(f'{kept} objects')
        elif len(trace.loaded) > 1:
            lines.append(f'several images mixed, {kept} of {entered} objects')
        else:
            lines.append(f'{kept} of {entered} objects')
        if sample_info.get('flip'):
            lines[-1] += f', {sample_info.flip_direction} flip'
        report.inputs.append((height, width))
        report.loaded += entered
        report.dropped += trace.dropped
        report.tiny += trace.tiny
        report.empty += kept == 0
        report.rejected += used != wanted
        return self._view(packed, self._preprocessor_cfg, content, '\n'.join(lines))

    def _view(
        self, packed: dict, preprocessing: dict, content: tuple[int, int], title: str
    ) -> ObjectsView:
        instances = packed['data_samples'].gt_instances
        masks = instances.masks.to_ndarray() if 'masks' in instances else ()
        return ObjectsView(
            image=undo_preprocessing(packed['inputs'], preprocessing),
            content=content,
            title=title,
            boxes=boxes_of(packed),
            names=[self._classes[label] for label in instances.get('labels', ())],
            colours=self._colours,
            outlines=[_outline(mask) for mask in masks],
        )


def _shortened(name: str) -> str:
    return name if len(name) <= 30 else f'{name[:15]}...{name[-12:]}'


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
