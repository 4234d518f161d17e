"""What a prediction is made with, so that one which was begun goes on with the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from casvit_mm.deploy.engines import is_exported
from casvit_mm.deploy.model import ImageModel
from casvit_mm.io import sha256_of
from casvit_mm.prediction.options import PredictOptions

__all__ = ['settings_of']

_OPTIONS = (
    *('batch_size', 'pictures', 'every', 'max_frames', 'track', 'track_thr', 'tile', 'overlap'),
    *('max_dets', 'labels', 'cfg_options'),
)


def settings_of(
    loaded: ImageModel, model: str, sources: Sequence[str], options: PredictOptions
) -> dict[str, Any]:
    """Return what decides about the results, by the words that a message uses; JSON holds it.

    The device does not: a run may go on elsewhere.

    Args:
        loaded: The model.
        model: Its file.
        sources: As the user has named them.
        options: What else was asked for.
    """
    settings: dict[str, Any] = {
        'model': str(model),
        'content of the model': _digest_of_files(Path(model)),
        'config': str(options.config),
        'content of the config': hashlib.sha256(loaded.recipe.encode()).hexdigest()[:12],
        'sources': ' '.join(map(str, sources)),
        '--score-thr': loaded.score_thr,
    }
    for name in _OPTIONS:
        value = getattr(options, name)
        settings[f'--{name.replace("_", "-")}'] = str(value) if name == 'cfg_options' else value
    return settings


def _digest_of_files(model: Path) -> str:
    """Return what changes with a checkpoint, or with an exported file and those beside it."""
    files = [model]
    if model.is_dir():
        files = sorted(path for path in model.rglob('*') if path.is_file())
    elif is_exported(model):  # weights may be in a file of the same name
        files = sorted(path for path in model.parent.glob('*') if path.stem == model.stem)
    digests = ''.join(sha256_of(path) for path in files if path.is_file())
    return hashlib.sha256(digests.encode()).hexdigest()[:12]
