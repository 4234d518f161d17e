"""The pictures of one call of ``casvit-mm visualize``: a class for each kind.

A class of :data:`PICTURES` is made once with the models, takes one image after the other, and
writes its files when it has enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib import colormaps
from rich.table import Table
from torch import Tensor

from casvit_mm.datasets.images import MediaFile
from casvit_mm.io import write_json
from casvit_mm.plotting.tables import LiteralConsole
from casvit_mm.visualization.cams import class_activation
from casvit_mm.visualization.features import principal_components, stage_maps
from casvit_mm.visualization.gates import read_gates
from casvit_mm.visualization.models import PreparedImage, VisualizedModel
from casvit_mm.visualization.receptive_fields import (
    SHARES,
    ReceptiveField,
    central_crops,
    effective_receptive_fields,
)
from casvit_mm.visualization.sheets import (
    Panel,
    draw_gates,
    draw_panels,
    draw_receptive_fields,
    overlay,
    scaled,
    tiled,
)
from casvit_mm.visualization.stages import Stage

__all__ = ['PICTURES', 'CamOptions', 'Pictures', 'View']

_ROWS = 6  # images on a sheet
_FIELD_IMAGES = 32  # at most, for the average of the receptive fields


@dataclass(frozen=True)
class View:
    """An image as one of the models gets it.

    Attributes:
        model: The model.
        image: Its input.
        stages: Of its backbone.
    """

    model: VisualizedModel
    image: PreparedImage
    stages: list[Stage]


@dataclass(frozen=True)
class CamOptions:
    """What class activation maps explain, and how.

    Attributes:
        class_names: Classes to explain, one column each; none leaves the choice to the model.
        method: Key of :data:`casvit_mm.visualization.cams.METHODS`; None is the task's default.
        stage: Whose map explains, from 1; None is the last one of a classifier, and the mean over
            all of the others.
    """

    class_names: Sequence[str] = ()
    method: str | None = None
    stage: int | None = None


@dataclass
class Pictures:
    """The pictures of one kind.

    Attributes:
        folder: Where to write.
        num_images: Images that will be added.
        cams: Options of class activation maps.
        written: The files, as far as they are written.
    """

    folder: Path
    num_images: int
    cams: CamOptions
    written: list[Path] = field(default_factory=list)

    def add(self, file: MediaFile, views: Sequence[View]) -> None:
        """Draw what belongs to one image, and keep what a sheet over several needs.

        Args:
            file: The image.
            views: It as each model gets it.
        """
        raise NotImplementedError

    def finish(self) -> None:
        """Draw what is left when all images are added."""

    def _path_of(self, kind: str, file: MediaFile) -> Path:
        path = self.folder / kind / file.name
        return path if path.suffix == '.png' else path.with_name(path.name + '.png')


@dataclass
class CamSheets(Pictures):
    """Class activation maps: a row for each image, a column for each model and class."""

    _rows: list[list[Panel | None]] = field(default_factory=list)
    _hows: dict[str, None] = field(default_factory=dict)  # keys, in the order they occur

    def add(self, file: MediaFile, views: Sequence[View]) -> None:
        """Add a row, and write the sheet that it fills."""
        row: list[Panel | None] = [Panel(file.name, views[0].image.pixels)]
        class_names: Sequence[str | None] = self.cams.class_names or [None]
        for view in views:
            row += [self._panel(view, name) for name in class_names]
        self._rows.append(row)
        if len(self._rows) == _ROWS:
            self._write()

    def finish(self) -> None:
        """Write the last sheet."""
        if self._rows:
            self._write()

    def _panel(self, view: View, class_name: str | None) -> Panel:
        stages = self._explaining_stages(view)
        cam = class_activation(view.model, stages, view.image, self.cams.method, class_name)
        self._hows[cam.how] = None
        pixels = view.image.pixels / 255
        if cam.heat is not None:
            pixels = overlay(view.image.pixels, cam.heat)
        # The name of the model once above each column.
        title = cam.label if self._rows else f'{view.model.name}\n{cam.label}'
        return Panel(title, pixels, cam.boxes)

    def _explaining_stages(self, view: View) -> list[Stage]:
        if self.cams.stage is not None:
            return [view.stages[self.cams.stage - 1]]
        return view.stages[-1:] if view.model.spec.task == 'classification' else view.stages

    def _write(self) -> None:
        only_one = self.num_images <= _ROWS
        name = 'cams.png' if only_one else f'cams_{len(self.written) + 1:02d}.png'
        title = f'Class activation maps: {"; ".join(self._hows)}'
        scale = 'how much it speaks for what is named above'
        if self.cams.method == 'eigencam':
            scale = 'first principal component of the map'
        self.written.append(draw_panels(self._rows, self.folder / name, title, scale))
        self._rows = []


class GatePictures(Pictures):
    """The gates of the first model, a picture for each image."""

    def add(self, file: MediaFile, views: Sequence[View]) -> None:
        """Draw the gates of the first model."""
        view = views[0]
        title = f'{view.model.name}: gates of the last block of each stage, {file.name}'
        gates = read_gates(view.model, view.image)
        path = self._path_of('gates', file)
        self.written.append(draw_gates(view.image.pixels, gates, path, title))


@dataclass
class ReceptiveFieldSheet(Pictures):
    """Effective receptive fields: one sheet, the mean over the images."""

    _views: Sequence[View] = ()
    _inputs: list[list[Tensor]] = field(default_factory=list)  # of each image, for each model

    def add(self, file: MediaFile, views: Sequence[View]) -> None:
        """Keep the images, up to a limit."""
        self._views = self._views or views
        if len(self._inputs) < _FIELD_IMAGES:
            self._inputs.append([view.image.x for view in views])

    def finish(self) -> None:
        """Draw the sheet, write the numbers and print them."""
        if not self._inputs:
            return
        rows = [
            (view.model.name, effective_receptive_fields(view.model, view.stages, crops))
            for view, crops in zip(
                self._views, map(central_crops, zip(*self._inputs, strict=True)), strict=True
            )
        ]
        title = (
            f'Effective receptive field of the central unit, mean of {len(self._inputs)} image(s); '
            'above each the side of the smallest square with that share of the gradient'
        )
        self.written.append(draw_receptive_fields(rows, self.folder / 'fields.png', title))
        self.written.append(self.folder / 'fields.json')
        content = {name: [_as_json(each) for each in fields] for name, fields in rows}
        write_json(self.written[-1], dict(images=len(self._inputs), models=content))
        _print_receptive_fields(rows)


def _as_json(receptive_field: ReceptiveField) -> dict[str, object]:
    return dict(
        stage=receptive_field.stage.number,
        stride=receptive_field.stage.stride,
        sides={f'{share:.0%}': side for share, side in receptive_field.sides.items()},
    )


def _print_receptive_fields(rows: Sequence[tuple[str, Sequence[ReceptiveField]]]) -> None:
    table = Table(title='effective receptive field: side in px by share', title_justify='left')
    table.add_column('model')
    for name in ('stage', 'stride', *(f'{share:.0%}' for share in SHARES)):
        table.add_column(name, justify='right')
    for name, fields in rows:
        for each in fields:
            sides = map(str, each.sides.values())
            table.add_row(name, str(each.stage.number), str(each.stage.stride), *sides)
    LiteralConsole().print(table)


class FeaturePictures(Pictures):
    """Feature maps: a picture for each image, two rows for each model, a column for each stage."""

    def add(self, file: MediaFile, views: Sequence[View]) -> None:
        """Draw the mean of the channels and the principal components of each stage."""
        columns = max(len(view.stages) for view in views)
        rows: list[list[Panel | None]] = []
        for view in views:
            empty: list[Panel | None] = [None] * (columns - len(view.stages))
            rows += [[*row, *empty] for row in _feature_rows(view)]
        path = self._path_of('features', file)
        self.written.append(draw_panels(rows, path, f'Feature maps, {file.name}'))


def _feature_rows(view: View) -> tuple[list[Panel], list[Panel]]:
    """Return the row of the means and that of the principal components."""
    pixels = view.image.pixels
    means = [Panel(f'{view.model.name}\nmean of the channels', pixels)]
    components = [Panel('principal components 1, 2, 3\nas red, green, blue', pixels)]
    for stage, values in zip(
        view.stages, stage_maps(view.model, view.stages, view.image), strict=True
    ):
        title = f'stage {stage.number}: {len(values)} channels'
        heat = tiled(scaled(values.mean(0)), stage.stride, pixels)
        means.append(Panel(title, colormaps['viridis'](heat)[..., :3]))
        colours = tiled(principal_components(values), stage.stride, pixels)
        components.append(Panel('', colours))
    return means, components


# By the names of the option --show.
PICTURES: dict[str, type[Pictures]] = {
    'cams': CamSheets,
    'gates': GatePictures,
    'fields': ReceptiveFieldSheet,
    'features': FeaturePictures,
}
