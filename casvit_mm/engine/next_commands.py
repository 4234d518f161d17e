"""The commands that may come after a check, a training or an evaluation, ready to be copied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from casvit_mm.cli import job_command

__all__ = ['after_check', 'after_test', 'after_training', 'as_text', 'holds_config']


def as_text(lines: Sequence[str]) -> str:
    """Return the lines under a heading."""
    return '\n'.join(['next:', *(f'  {line}' for line in lines)])


def after_check(data: str | Path, config: str, from_scratch: bool) -> list[str]:
    """Return how to look at the input of a network, and to train.

    Args:
        data: The ``dataset.yaml``.
        config: What the check went by.
        from_scratch: Whether its pretrained weights are not there.
    """
    scratch = ['--from-scratch'] if from_scratch else []
    return [
        job_command('browse_data', config, '--data', data),
        job_command('train', config, '--data', data, *scratch),
    ]


def after_training(config: str | Path, checkpoint: str, data: str | None) -> list[str]:
    """Return how to evaluate, predict and export the best checkpoint of a training.

    Args:
        config: The copy of its config.
        checkpoint: The best one.
        data: Its ``dataset.yaml``; None where the config names the data.
    """
    from casvit_mm.weights.reading import forget_file, load_file

    enough = holds_config(load_file(checkpoint))
    forget_file()
    alone = [checkpoint] if enough else [config, checkpoint]
    test = [*alone, '--data', data] if data else [config, checkpoint]
    return [
        job_command('test', *test),
        job_command('predict', *alone, 'photos/'),
        job_command('export', *alone, '--format', 'onnx'),
    ]


def after_test(
    config: str | None, checkpoint: str, data: str | None, exported: bool, enough: bool
) -> list[str]:
    """Return how to see the errors of a model, to predict with it, and to export it.

    Args:
        config: Its config, where it was named.
        checkpoint: The checkpoint, or an exported file.
        data: The ``dataset.yaml``, if there is one.
        exported: Whether it is an exported file.
        enough: Whether the checkpoint holds its config.
    """
    named = [config, checkpoint] if config else [checkpoint]
    described = ['--data', data] if data else []
    lines = [job_command('test', *named, *described, '--analysis', 'errors')]
    if exported:
        return [*lines, job_command('predict', checkpoint, 'photos/')]
    alone = [checkpoint] if enough else named
    return [
        *lines,
        job_command('predict', *alone, 'photos/'),
        job_command('export', *alone, '--format', 'onnx'),
    ]


def holds_config(content: dict[str, Any]) -> bool:
    """Return whether a checkpoint, by what it holds, is enough by itself."""
    from casvit_mm.config.stored import STORED_CONFIG, portable_config

    return STORED_CONFIG in (content.get('meta') or {}) and portable_config(content) is not None
