"""One call of ``casvit-mm visualize``: check what is asked for, load, draw image by image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from casvit_mm.config.building import check_device
from casvit_mm.config.paths import config_name
from casvit_mm.console import counted, step
from casvit_mm.datasets.images import MediaFile, find_media, read_image
from casvit_mm.errors import InputError
from casvit_mm.io import check_writable
from casvit_mm.plotting.tables import LiteralConsole
from casvit_mm.visualization.cams import check_grad_cam
from casvit_mm.visualization.gates import check_gates, has_gates
from casvit_mm.visualization.models import VisualizedModel, load_config_model, load_named_model
from casvit_mm.visualization.pictures import PICTURES, CamOptions, Pictures, View
from casvit_mm.visualization.stages import Stage, find_stages

__all__ = ['KINDS', 'visualize']

KINDS = tuple(PICTURES)


def visualize(
    config: str | None,
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
        config: Of a classifier, detector or segmentor; None takes the one that the checkpoint
            holds.
        checkpoint: Its weights.
        inputs: Images, and folders with all images below them.
        out_dir: Folder of results; ``work_dirs/visualize/<config or checkpoint>`` if None.
        show: Some of :data:`KINDS`; None draws all that the model has.
        beside: Models to draw beside it, as
            :func:`casvit_mm.visualization.models.load_named_model` takes them.
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
    folder = Path(out_dir or f'work_dirs/visualize/{Path(config_name(config or checkpoint)).stem}')
    if 'cams' in (show or KINDS):
        check_grad_cam()
    device = check_device(device)
    media = _find_images(inputs, folder)
    check_writable({}, {'--out-dir': str(folder)})
    with step(f'{checkpoint}: building the model'):
        model = load_config_model(config, checkpoint, device, cfg_options)
        models = [model, *(load_named_model(text, model.spec.classes, device) for text in beside)]
    for each in models:
        for name in class_names:
            each.class_index(name)
    kinds = [kind for kind in KINDS if kind in (show or KINDS)]
    if not has_gates(model):
        kinds = [kind for kind in kinds if kind != 'gates']
    cams = CamOptions(class_names, method, stage)
    pictures = [PICTURES[kind](folder, len(media), cams) for kind in kinds]
    unreadable = _draw(media, models, pictures, stage)
    written = [path for each in pictures for path in each.written]
    _print_written(models, folder, written)
    if unreadable:
        raise InputError(f'{len(unreadable)} image(s) not read:\n' + '\n'.join(unreadable))
    if 'gates' in (show or ()):
        check_gates(model)
    return written


def _find_images(inputs: Sequence[str], folder: Path) -> list[MediaFile]:
    """Return the images; those in the folder of results are none of them."""
    media, _ = find_media(inputs, [folder])
    videos = [str(file.path) for file in media if file.is_video]
    if videos:
        raise InputError(f'{videos[0]} is a video; name images or folders of images')
    return media


def _draw(
    media: Sequence[MediaFile],
    models: Sequence[VisualizedModel],
    pictures: Sequence[Pictures],
    stage: int | None,
) -> list[str]:
    """Draw all images, and return the errors of those that cannot be read."""
    unreadable: list[str] = []
    stages: list[list[Stage]] = []  # of each model
    for file in counted(media, 'drawing', len(media)):
        try:
            image = read_image(file.path)
            prepared = [model.prepare(image) for model in models]
        except InputError as error:
            named = str(file.path) in str(error)
            unreadable.append(str(error) if named else f'{file.path}: {error}')
            continue
        stages = stages or [
            _find_stages(model, one.x, stage) for model, one in zip(models, prepared, strict=True)
        ]
        views = [View(*parts) for parts in zip(models, prepared, stages, strict=True)]
        for each in pictures:
            each.add(file, views)
    for each in pictures:
        each.finish()
    return unreadable


def _find_stages(model: VisualizedModel, x: Tensor, number: int | None) -> list[Stage]:
    """Return the stages of a model's backbone.

    Raises:
        InputError: If there is no stage of that number.
    """
    stages = find_stages(model.backbone, x)
    if number is not None and not 1 <= number <= len(stages):
        strides = ', '.join(str(stage.stride) for stage in stages)
        raise InputError(
            f'--stage {number}: {model.name} has the stages 1 to {len(stages)}, with a stride of '
            f'{strides} px'
        )
    return stages


def _print_written(
    models: Sequence[VisualizedModel], folder: Path, written: Sequence[Path]
) -> None:
    """Print what the user should know of the models, each file, and each folder of files."""
    lines = [f'note: {model.note}' for model in models if model.note]
    lines += [f'{path.stem}: {path}' for path in written if path.parent == folder]
    below = [path.relative_to(folder).parts[0] for path in written if path.parent != folder]
    lines += [f'{name}: {folder / name}/' for name in dict.fromkeys(below)]
    LiteralConsole().print('\n'.join(lines), soft_wrap=True)
