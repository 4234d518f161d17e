"""Weights to hand on: the tensors of a checkpoint alone, in a file whose name tells its content."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from casvit_mm.cli import job_command
from casvit_mm.config.stored import STORED_CONFIG, portable_config
from casvit_mm.errors import InputError, first_names
from casvit_mm.io import replacing
from casvit_mm.weights.finite import check_finite
from casvit_mm.weights.reading import (
    AVERAGED_WEIGHTS,
    RAW_WEIGHTS,
    SAFETENSORS_META,
    WEIGHT_SETS,
    class_names,
    load_file,
    state_dict_of,
)
from casvit_mm.weights.sources import local_file
from casvit_mm.zoo.card import CARD, CardFacts, make_card
from casvit_mm.zoo.hub import push

__all__ = ['FORMATS', 'Published', 'publish', 'slim']

_KEPT_META = ('epoch', 'iter')


@dataclass(frozen=True)
class Published:
    """What :func:`publish` wrote.

    Attributes:
        path: The file.
        sha256: Of its content, 64 hexadecimal digits.
        source: The checkpoint.
        weights: ``'ema'`` or ``'raw'``; None where the checkpoint holds but one set.
        tensors: Their number.
        classes: Class names; None where the checkpoint has none.
        new: Whether the file was not there before.
        card: The model card; None where none was asked for.
        missing: Options of what the card says to be missing.
        address: Page of the Hub that it was pushed to, if any.
    """

    path: Path
    sha256: str
    source: Path
    weights: str | None
    tensors: int
    classes: tuple[str, ...] | None
    new: bool
    card: Path | None = None
    missing: tuple[str, ...] = ()
    address: str | None = None

    def __str__(self) -> str:
        kind = f'{WEIGHT_SETS[self.weights]} weights' if self.weights else 'weights'
        names = self.classes or ()
        shown = (
            f'{len(names)} class{"es" * (len(names) != 1)}: {first_names(names, 5)}'
            if names
            else 'no class names'
        )
        before, after = (path.stat().st_size / 1e6 for path in (self.source, self.path))
        lacks = f', which lacks {", ".join(self.missing)}' if self.missing else ''
        return '\n'.join(
            [
                f'{self.path}{"" if self.new else " (was there already, with the same content)"}',
                f'  the {kind} of {self.source}: {self.tensors} tensors, {shown}',
                f'  {before:.1f} MB -> {after:.1f} MB',
                f'  sha256 {self.sha256}',
                *([f'  card {self.card}{lacks}'] if self.card else []),
                *([f'  pushed to {self.address}'] if self.address else []),
                'To start a training from its backbone:',
                f'  {job_command("train", "CONFIG", "--pretrained", self.path)}',
                'To evaluate the whole model:',
                f'  {job_command("test", "CONFIG", self.path)}',
            ]
        )


def publish(
    checkpoint: str | Path,
    out: str | Path | None = None,
    weights: str | None = None,
    file_format: str = 'safetensors',
    card: CardFacts | None = None,
    push_to: str | None = None,
) -> Published:
    """Write a checkpoint's weights, class names, and what a prediction needs of its config.

    The optimizer, the second set of weights that averaging keeps, the log and what the data
    preprocessor holds are left out. Names of tensors stay as they are.

    Args:
        checkpoint: File of a training run of ours, of mmengine's frameworks or of the authors.
        out: Folder, or folder and stem of the file, to which the first eight digits of the
            content's SHA-256 are added: ``<stem>-<hash>.safetensors``. None: the checkpoint's.
        weights: ``'ema'`` for the averaged weights, ``'raw'`` for those that were trained; None for
            the ones that loading the checkpoint takes, which after a training with averaging are
            the averaged.
        file_format: ``'safetensors'``, with the class names as JSON in its metadata, or ``'pth'``,
            a dictionary of ``state_dict`` and ``meta`` as MMEngine writes it.
        card: What a model card says beside what the checkpoint knows; the card is ``README.md`` in
            the folder of the file. None writes none.
        push_to: ``user/name`` of a repository on the Hugging Face Hub that file and card go to; it
            is made, for its owner alone, where there is none. Needs ``card``.

    Raises:
        InputError: If the checkpoint cannot be read, lacks what was asked for, the file cannot be
            written, another README.md is in its folder, or the Hub does not take it.
    """
    if push_to is not None and card is None:
        raise InputError('--push needs --card: on the Hub a model without a card tells nothing')
    source = local_file(checkpoint)
    content = load_file(source)
    chosen, everything, meta = slim(content, weights, source)
    tensors = {k: v for k, v in everything.items() if not k.startswith('data_preprocessor.')}
    data = FORMATS[file_format](tensors, meta)
    digest = hashlib.sha256(data).hexdigest()
    stem = _stem(source, out)
    path = stem.with_name(f'{stem.name}-{digest[:8]}.{file_format}')
    text = None if card is None else make_card(path, data, source, content, card)
    new = _write_once(path, data)
    written = None
    if text is not None:
        written = path.with_name(CARD)
        with replacing(written, 'w') as file:
            file.write(text)
    return Published(
        path,
        digest,
        source,
        chosen,
        len(tensors),
        class_names(content),
        new,
        written,
        tuple(card.missing()) if card else (),
        push(push_to, [path, written]) if push_to and written else None,
    )


def slim(
    content: dict[str, Any], weights: str | None, source: Path
) -> tuple[str | None, dict[str, Tensor], dict[str, Any]]:
    """Return what of a checkpoint is worth handing on.

    Args:
        content: What :func:`casvit_mm.weights.reading.load_file` returned.
        weights: As :func:`publish` takes it.
        source: The file, for messages.

    Returns:
        Which set of weights it is, None where the file holds but one; its tensors; and the class
        names, epoch and iteration, as ``meta`` of a training file has them, with what a prediction
        needs of its config.

    Raises:
        InputError: If the file lacks what was asked for, or its weights are NaN or infinite.
    """
    chosen, state = _choose(content, weights, source)
    check_finite(state, source)
    tensors = {
        # A copy, since a view would bring along what it is a view of.
        key: tensor.detach().clone(memory_format=torch.contiguous_format)
        for key, tensor in state.items()
    }
    classes = class_names(content)
    stored = content.get('meta') or {}
    meta: dict[str, Any] = {key: stored[key] for key in _KEPT_META if key in stored}
    if classes:
        meta['dataset_meta'] = dict(classes=list(classes))
    if chosen:
        meta['weights'] = chosen
    config = portable_config(content)
    if config is not None:
        meta[STORED_CONFIG] = config
    return chosen, tensors, meta


def _choose(
    content: dict[str, Any], weights: str | None, source: Path
) -> tuple[str | None, dict[str, Tensor]]:
    """Return which set of weights was taken, None where there is but one, and its tensors."""
    averaged = 'ema_state_dict' in content
    pairs = zip(RAW_WEIGHTS, AVERAGED_WEIGHTS, strict=True)
    both = averaged or any(content.get(raw) and content.get(mean) for raw, mean in pairs)
    if weights is not None and not both:
        raise InputError(
            f'{source} holds one set of weights, not the averaged beside the raw. Run this '
            'without --weights.'
        )
    # What loading takes: MMEngine puts the averaged weights first, the authors and timm the raw.
    taken = weights or ('ema' if averaged else 'raw')
    return (taken if both else None), state_dict_of(content, source, weights)


def _as_safetensors(tensors: dict[str, Tensor], meta: dict[str, Any]) -> bytes:
    from safetensors.torch import save

    # One entry: several are written in an order that changes from run to run, and so the hash.
    return save(tensors, {SAFETENSORS_META: json.dumps(meta, sort_keys=True)})


def _as_pth(tensors: dict[str, Tensor], meta: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()  # into a file, torch.save would write the file's name too
    torch.save(dict(state_dict=tensors, meta=meta), buffer)
    return buffer.getvalue()


FORMATS: dict[str, Callable[[dict[str, Tensor], dict[str, Any]], bytes]] = {
    'safetensors': _as_safetensors,
    'pth': _as_pth,
}


def _stem(source: Path, out: str | Path | None) -> Path:
    """Return the path that the hash and the ending are added to."""
    if out is None:
        return source.with_suffix('')
    path = Path(out).expanduser()
    if path.is_dir() or str(out).endswith('/'):
        return path / source.stem
    return path.with_suffix('') if path.suffix.removeprefix('.') in FORMATS else path


def _write_once(path: Path, data: bytes) -> bool:
    """Write a file unless it is there, and return whether it was not.

    Raises:
        InputError: If it is there with another content, or cannot be written.
    """
    if not path.exists():
        with replacing(path, 'wb') as file:
            file.write(data)
        return True
    if path.read_bytes() != data:
        raise InputError(
            f'{path} is there already, but its content is not what its name says: it was changed '
            'or cut short. Remove it, or name another stem.'
        )
    return False
