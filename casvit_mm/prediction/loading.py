"""From a file to a model that predicts: ``casvit_mm.load``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from casvit_mm import deploy
from casvit_mm.deploy.engines import is_exported
from casvit_mm.deploy.model import ImageModel
from casvit_mm.deploy.tiled import tiled
from casvit_mm.deploy.tiles import read_tiles
from casvit_mm.errors import InputError

__all__ = ['SCORE_THR', 'load']

SCORE_THR = 0.3  # minimum score of a detection, where the user says nothing


def load(
    path: str | Path,
    config: str | Path | None = None,
    *,
    score_thr: float | None = None,
    max_dets: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    trusted: bool = False,
    cfg_options: dict[str, Any] | None = None,
    tile: int | None = None,
    overlap: float | None = None,
    tiles_at_once: int = 1,
) -> ImageModel:
    """Load a model of any task to predict with.

    Args:
        path: A checkpoint (``.pth``, ``.safetensors``), which is read without executing anything in
            it, or a file that ``casvit-mm export`` wrote (``.onnx``, ``.xml``, ``.pt2``), which
            needs neither torch nor an mm package.
        config: Config of a checkpoint: a file, or ``casvit_mm::NAME.py``. None takes the one that
            the checkpoint holds, as those of our trainings do.
        score_thr: Minimum score of a detection; 0.3 if None, or that of an exported file if it is
            higher.
        max_dets: Objects per image, where the config of a checkpoint keeps fewer.
        device: ``'cpu'``, ``'cuda'``, ``'cuda:1'``; None takes a GPU where there is one.
        threads: CPU threads of an exported file's engine; None leaves their number to it.
        trusted: Whether code in a ``.pt2`` may run.
        cfg_options: Entries of a checkpoint's config to set, by dotted name.
        tile: Side in pixels of the tiles by which larger images are read; None reads them whole.
        overlap: Share of a tile that neighbours have in common; 0.2 if None.
        tiles_at_once: Tiles that go through the model together.

    Returns:
        A function of images: ``model('photo.jpg')``.

    Raises:
        InputError: If a file is missing, damaged, or does not fit the config; if a checkpoint holds
            no config and none is named; if an option is not for this kind of file or task.
    """
    tiles = read_tiles(tile, overlap, tiles_at_once)
    if not is_exported(path):
        _refuse(path, 'an exported file', threads=threads, trusted=trusted or None)
        from casvit_mm.prediction.checkpoints import CheckpointModel

        checkpoint = CheckpointModel(
            path,
            config,
            score_thr=SCORE_THR if score_thr is None else score_thr,
            max_dets=max_dets,
            device=device,
            cfg_options=cfg_options,
        )
        return tiled(checkpoint, tiles)
    _refuse(path, 'a checkpoint', config=config, max_dets=max_dets, cfg_options=cfg_options)
    model = deploy.load(path, device=device, threads=threads, trusted=trusted)
    if model.task == 'detection':
        least = max(SCORE_THR, model.spec.score_thr) if score_thr is None else score_thr
        model = deploy.Predictor(model.engine, least)
    return tiled(model, tiles)


def _refuse(path: str | Path, kind: str, **options: Any) -> None:
    """Refuse options that are for another kind of file.

    Raises:
        InputError: Naming the first.
    """
    for name, value in options.items():
        if value is not None:
            raise InputError(f'{name} is for {kind}, and {path} is none')
