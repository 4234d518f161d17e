"""Pictures of what models look at: one call of ``tools/visualize.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from casvit_mm.benchmark.host import check_device
from casvit_mm.datasets.images import MediaFile, find_media, read_image
from casvit_mm.errors import InputError
from casvit_mm.io import check_writable, write_json
from casvit_mm.visualization.cams import check_grad_cam, class_activation
from casvit_mm.visualization.features import principal_components, stage_maps
from casvit_mm.visualization.gates import check_gates, has_gates, read_gates
from casvit_mm.visualization.models import Prepared, SeenModel, see_config, see_named
from casvit_mm.visualization.receptive_fields import SHARES, Field, central_crops, effective_fields
from casvit_mm.visualization.sheets import (
    Panel,
    draw_fields,
    draw_gates,
    draw_panels,
    overlay,
    scaled,
    tiled,
)
from casvit_mm.visualization.stages import Stage, find_stages

__all__ = ['KINDS', 'visualize']

KINDS = ('cams', 'gates', 'fields', 'features')
_ROWS = 6  # images on a sheet
_FIELD_IMAGES = 32  # at most, for the average of the receptive fields


def visualize(
    config: str,
    checkpoint: str,
    inputs: Sequence[str],
    *,
    out_dir: str | None = None,
    show: Sequence[str] | None = None,
    beside: Sequence[str] = (),
    class_names: Sequence[str] = (),
    method: str | None = None,
    stage: int | None = None,
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> list[Path]:
    """Draw class activation maps, gates, effective receptive fields and feature maps.

    Args:
        config: Of a classifier, detector or segmentor.
        checkpoint: Its weights.
        inputs: Images, and folders with all images below them.
        out_dir: Folder of results; ``work_dirs/visualize/<config>`` if None.
        show: Some of :data:`KINDS`; None draws all that the model has.
        beside: Models to draw beside it, as
            :func:`casvit_mm.visualization.models.see_named` takes them.
        class_names: Classes to explain, one column each; none leaves the choice to the model.
        method: Key of :data:`casvit_mm.visualization.cams.METHODS`; None is ``'gradcam'`` for
            classifiers and ``'layercam'`` for the others.
        stage: Whose map explains, from 1; None is the last one of a classifier, and the mean over
            all of the others.
        device: Such as ``'cpu'`` or ``'cuda:1'``; None takes a GPU where there is one.
        cfg_options: Entries of ``config`` to set, by dotted name.

    Returns:
        The files written.

    Raises:
        InputError: If anything the user gave cannot work. Where that is a single image or the
            gates, the rest is drawn before.
    """
    folder = Path(out_dir or f'work_dirs/visualize/{Path(config).stem}')
    wanted = list(show or KINDS)
    if 'cams' in wanted:
        check_grad_cam()
    device = check_device(device)
    media, _ = find_media(inputs, [folder])
    videos = [str(file.path) for file in media if file.is_video]
    if videos:
        raise InputError(f'{videos[0]} is a video; name images or folders of images')
    check_writable({}, {'--out-dir': str(folder)})
    seen = see_config(config, checkpoint, device, cfg_options)
    models = [seen, *(see_named(text, seen.spec.classes, device) for text in beside)]
    for model in models:
        for name in class_names:
            model.class_index(name)
    no_gates = 'gates' in wanted and not has_gates(seen)
    kinds = [kind for kind in wanted if kind != 'gates' or not no_gates]
    run = _Run(models, folder, kinds, class_names, method, stage, len(media))
    for file in track(media, 'images'):
        run.add(file)
    run.finish()
    if run.unreadable:
        raise InputError(f'{len(run.unreadable)} image(s) not read:\n' + '\n'.join(run.unreadable))
    if no_gates and show is not None:
        check_gates(seen)
    return run.written


class _Run:
    """What one call of :func:`visualize` has drawn so far."""

    def __init__(
        self,
        models: Sequence[SeenModel],
        folder: Path,
        kinds: Sequence[str],
        class_names: Sequence[str],
        method: str | None,
        stage: int | None,
        num_images: int,
    ) -> None:
        self.written: list[Path] = []
        self.unreadable: list[str] = []
        self._models = models
        self._folder = folder
        self._kinds = kinds
        self._class_names: Sequence[str | None] = class_names or [None]
        self._method = method
        self._stage = stage
        self._pages = -(-num_images // _ROWS)
        self._page = 0
        self._hows: dict[str, None] = {}  # in the order they occur
        self._stages: list[list[Stage]] = []
        self._rows: list[list[Panel | None]] = []
        self._field_inputs: list[list[Tensor]] = [[] for _ in models]

    def add(self, file: MediaFile) -> None:
        """Draw what belongs to one image, and keep what a sheet over several needs."""
        try:
            image = read_image(file.path)
        except InputError as error:
            self.unreadable.append(str(error))
            return
        prepared = [model.prepare(image) for model in self._models]
        if not self._stages:
            self._stages = self._find_stages(prepared)
        if 'cams' in self._kinds:
            self._rows.append(self._cam_row(file, prepared))
            if len(self._rows) == _ROWS:
                self._write_cams()
        if 'gates' in self._kinds:
            gates = read_gates(self._models[0], prepared[0])
            title = f'{self._models[0].name}: gates of the last block of each stage, {file.name}'
            path = self._path('gates', file)
            self.written.append(draw_gates(prepared[0].pixels, gates, path, title))
        if 'features' in self._kinds:
            self._draw_features(file, prepared)
        if 'fields' in self._kinds and len(self._field_inputs[0]) < _FIELD_IMAGES:
            for inputs, one in zip(self._field_inputs, prepared, strict=True):
                inputs.append(one.x)

    def finish(self) -> None:
        """Draw what several images belong to, and say where everything is."""
        if self._rows:
            self._write_cams()
        if self._field_inputs[0]:
            self._draw_fields()
        lines = [f'note: {model.note}' for model in self._models if model.note]
        files = [path for path in self.written if path.parent == self._folder]
        folders = dict.fromkeys(
            path.relative_to(self._folder).parts[0]
            for path in self.written
            if path.parent != self._folder
        )
        lines += [f'{path.stem}: {path}' for path in files]
        lines += [f'{name}: {self._folder / name}/' for name in folders]
        Console().print('\n'.join(lines), soft_wrap=True, highlight=False, markup=False)

    def _find_stages(self, prepared: Sequence[Prepared]) -> list[list[Stage]]:
        found = [
            find_stages(model.backbone, image.x)
            for model, image in zip(self._models, prepared, strict=True)
        ]
        for model, stages in zip(self._models, found, strict=True):
            if self._stage is not None and not 1 <= self._stage <= len(stages):
                raise InputError(
                    f'--stage {self._stage}: {model.name} has the stages '
                    f'1 to {len(stages)}, with a stride of '
                    f'{", ".join(str(stage.stride) for stage in stages)} px'
                )
        return found

    def _cam_row(self, file: MediaFile, prepared: Sequence[Prepared]) -> list[Panel | None]:
        row: list[Panel | None] = [Panel(file.name, prepared[0].pixels)]
        for model, image, stages in zip(self._models, prepared, self._stages, strict=True):
            for name in self._class_names:
                cam = class_activation(
                    model, self._telling(model, stages), image, self._method, name
                )
                self._hows[cam.how] = None
                pixels = image.pixels / 255
                if cam.heat is not None:
                    pixels = overlay(image.pixels, cam.heat)
                # The name once above each column.
                title = cam.label if self._rows else f'{model.name}\n{cam.label}'
                row.append(Panel(title, pixels, cam.boxes))
        return row

    def _telling(self, model: SeenModel, stages: list[Stage]) -> list[Stage]:
        """Return the stages whose maps explain."""
        if self._stage is not None:
            return [stages[self._stage - 1]]
        return stages[-1:] if model.spec.task == 'classification' else stages

    def _write_cams(self) -> None:
        self._page += 1
        name = 'cams.png' if self._pages == 1 else f'cams_{self._page:02d}.png'
        title = f'Class activation maps: {"; ".join(self._hows)}'
        scale = 'how much it speaks for what is named above'
        if self._method == 'eigencam':
            scale = 'first principal component of the map'
        self.written.append(draw_panels(self._rows, self._folder / name, title, scale))
        self._rows = []

    def _draw_features(self, file: MediaFile, prepared: Sequence[Prepared]) -> None:
        columns = max(len(stages) for stages in self._stages)
        rows: list[list[Panel | None]] = []
        for model, image, stages in zip(self._models, prepared, self._stages, strict=True):
            means: list[Panel | None] = [Panel(f'{model.name}\nmean of the channels', image.pixels)]
            parts: list[Panel | None] = [
                Panel('principal components 1, 2, 3\nas red, green, blue', image.pixels)
            ]
            for stage, values in zip(stages, stage_maps(model, stages, image), strict=True):
                where = f'stage {stage.number}: {len(values)} channels'
                heat = tiled(scaled(values.mean(0)), stage.stride, image.pixels)
                means.append(Panel(where, colormaps['viridis'](heat)[..., :3]))
                colours = tiled(principal_components(values), stage.stride, image.pixels)
                parts.append(Panel('', colours))
            empty: list[Panel | None] = [None] * (columns - len(stages))
            rows += [means + empty, parts + empty]
        path = self._path('features', file)
        self.written.append(draw_panels(rows, path, f'Feature maps, {file.name}'))

    def _draw_fields(self) -> None:
        rows: list[tuple[str, list[Field]]] = []
        for model, stages, inputs in zip(
            self._models, self._stages, self._field_inputs, strict=True
        ):
            fields = effective_fields(model, stages, central_crops(inputs))
            rows.append((model.name, fields))
        number = len(self._field_inputs[0])
        title = (
            f'Effective receptive field of the central unit, mean of {number} image(s); above each '
            'the side of the smallest square with that share of the gradient'
        )
        self.written.append(draw_fields(rows, self._folder / 'fields.png', title))
        content = {
            name: [
                dict(
                    stage=field.stage.number,
                    stride=field.stage.stride,
                    sides={f'{share:.0%}': side for share, side in field.sides.items()},
                )
                for field in fields
            ]
            for name, fields in rows
        }
        path = self._folder / 'fields.json'
        write_json(path, dict(images=number, models=content))
        self.written.append(path)
        _print_fields(rows)

    def _path(self, kind: str, file: MediaFile) -> Path:
        path = self._folder / kind / file.name
        return path if path.suffix == '.png' else path.with_name(path.name + '.png')


def _print_fields(rows: Sequence[tuple[str, Sequence[Field]]]) -> None:
    table = Table(title='effective receptive field: side in px by share', title_justify='left')
    table.add_column('model')
    for name in ('stage', 'stride', *(f'{share:.0%}' for share in SHARES)):
        table.add_column(name, justify='right')
    for name, fields in rows:
        for field in fields:
            stage = field.stage
            sides = map(str, field.sides.values())
            table.add_row(name, str(stage.number), str(stage.stride), *sides)
    Console().print(table)
