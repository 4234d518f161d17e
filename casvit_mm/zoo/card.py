"""The card of a published model, in the form of the Hugging Face Hub: README.md with a header.

What nobody has stated is said to be missing, never guessed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casvit_mm.cli import job_command
from casvit_mm.config.forms import entries, type_name
from casvit_mm.config.stored import STORED_CONFIG, parse_config
from casvit_mm.errors import InputError, plain_name

__all__ = ['CARD', 'CardFacts', 'make_card']

CARD = 'README.md'
_MARK = '<!-- Written by casvit-mm publish-weights. -->'
_PIPELINES = {
    'mmdet': 'object-detection',
    'mmseg': 'image-segmentation',
    'mmpretrain': 'image-classification',
}
# Metrics of all classes together, by their names in the file of casvit-mm test --out.
_OVERALL = {
    'coco/bbox_mAP': 'box AP',
    'coco/bbox_mAP_50': 'box AP50',
    'coco/bbox_mAP_75': 'box AP75',
    'coco/segm_mAP': 'mask AP',
    'coco/segm_mAP_50': 'mask AP50',
    'coco/segm_mAP_75': 'mask AP75',
    'mIoU': 'mIoU',
    'mAcc': 'mAcc',
    'aAcc': 'aAcc',
    'accuracy/top1': 'top-1',
    'accuracy/top5': 'top-5',
    'recall': 'mean recall',
    'precision': 'mean precision',
}
# Metrics of one class, by what stands before its name.
_OF_CLASS = {
    'coco/bbox_AP/': 'box AP',
    'coco/segm_AP/': 'mask AP',
    'coco/objects/': 'objects',
    'IoU/': 'IoU',
    'Acc/': 'accuracy',
    'recall/': 'recall',
    'precision/': 'precision',
    'images/': 'images',
}
_PRECISIONS = {
    'OptimWrapper': 'float32',
    'AmpOptimWrapper': 'float16, mixed',
    'Bfloat16OptimWrapper': 'bfloat16, mixed',
}
_COUNTS = ('objects', 'images')


@dataclass(frozen=True)
class CardFacts:
    """What a card says and no checkpoint knows; None is said to be missing.

    Attributes:
        metrics: File that ``casvit-mm test --out`` wrote of this checkpoint.
        data: What it was trained and tested on, with source and licence.
        license: Licence of the weights, by the Hub's name, such as ``'apache-2.0'``.
        use: What it is meant for.
    """

    metrics: str | Path | None = None
    data: str | None = None
    license: str | None = None
    use: str | None = None

    def missing(self) -> list[str]:
        """Return the options of what is not stated."""
        return [f'--{name}' for name, value in vars(self).items() if value is None]


def make_card(
    path: Path, data: bytes, source: Path, content: Mapping[str, Any], facts: CardFacts
) -> str:
    """Return the text of the card of a published file, which stands beside it.

    Args:
        path: The published file, which need not be there yet.
        data: What it will hold.
        source: The checkpoint it was made of.
        content: Of the checkpoint.
        facts: What is stated.

    Raises:
        InputError: If there is another README.md, the file of metrics cannot be read, or it is of
            another checkpoint.
    """
    card = path.with_name(CARD)
    if card.exists() and _MARK not in card.read_text(encoding='utf-8', errors='replace'):
        raise InputError(
            f'{card} is there and no card of ours. Publish into a folder of its own: CKPT folder/'
        )
    metrics = _read_metrics(facts.metrics, source)
    meta = content.get('meta') or {}
    config = _read_config(meta)
    classes = [plain_name(name) for name in (meta.get('dataset_meta') or {}).get('classes') or ()]
    digest = hashlib.sha256(data).hexdigest()
    parts = [
        f'---\n{_header(path, config, metrics, facts)}---\n{_MARK}\n',
        f'# {path.stem}\n',
        f'{_model(config)}, trained with casvit_mm, '
        f'[CAS-ViT](https://arxiv.org/abs/2408.03703) for OpenMMLab. {_of_classes(classes)}\n',
        '## Intended use and limits\n',
        f'{facts.use or "Not stated."}\n',
        'The metrics below hold for images like those of the test data. Nothing is known of '
        'others: another camera, light, size of objects or class.\n',
        '## Data\n',
        f'{facts.data or "Not stated."}\n',
        '## Metrics\n',
        _metric_tables(metrics),
        '## Training\n',
        _table(('of the training', 'value'), _training(config, meta)),
        '## Use\n',
        f"```python\nimport casvit_mm\n\nmodel = casvit_mm.load('{path.name}')\n"
        "result = model('photo.jpg')\n```\n\nThe file is read without executing anything in it.\n",
        '## Files\n',
        _table(('file', 'bytes', 'SHA-256'), [(path.name, len(data), f'`{digest}`')]),
        '## Licence\n',
        f'{facts.license or "Not stated: ask whoever published this before you use it."}\n',
    ]
    return '\n'.join(parts)


def _read_metrics(path: str | Path | None, source: Path) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = json.loads(Path(path).read_text())
        checkpoint = str(found['checkpoint'])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'--metrics {path}: no file of metrics of {job_command("test")} --out ({error!r})'
        ) from error
    if Path(checkpoint).name != source.name:
        raise InputError(
            f'--metrics {path} are of {checkpoint}, and this is {source}. Evaluate this one: '
            f'{job_command("test")} --out'
        )
    return found


def _read_config(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a training as data; nothing where it is none."""
    try:
        return parse_config(str(meta.get(STORED_CONFIG) or ''), 'the checkpoint')
    except InputError:
        return {}


def _header(
    path: Path, config: Mapping[str, Any], metrics: Mapping[str, Any], facts: CardFacts
) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    task = _PIPELINES.get(str(config.get('default_scope')))
    results = [
        EvalResult(
            task_type=task or 'other',
            dataset_type='custom',
            dataset_name=facts.data or 'not stated',
            metric_type=name,
            metric_name=_OVERALL[name],
            metric_value=round(float(metrics[name]), 4),
        )
        for name in _OVERALL
        if _is_number(metrics.get(name))
    ]
    data = ModelCardData(
        license=facts.license,
        library_name='casvit_mm',
        pipeline_tag=task,
        tags=['cas-vit', 'openmmlab'],
        model_name=path.stem,
        eval_results=results or None,
    )
    return data.to_yaml() + '\n'


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _model(config: Mapping[str, Any]) -> str:
    model = config.get('model')
    if not isinstance(model, dict):
        return 'A model'
    backbone = model.get('backbone')
    kind = type_name(model)
    if not isinstance(backbone, dict):
        return f'A {kind}'
    arch = backbone.get('arch')
    named = f' {arch.upper()}' if isinstance(arch, str) else ''
    return f'{kind} on {type_name(backbone)}{named}'


def _of_classes(classes: list[str]) -> str:
    if not classes:
        return 'It names no classes.'
    more = f' and {len(classes) - 20} more' if len(classes) > 20 else ''
    return f'{len(classes)} class{"es" * (len(classes) != 1)}: {", ".join(classes[:20])}{more}.'


def _metric_tables(metrics: Mapping[str, Any]) -> str:
    if not metrics:
        return 'Not stated.\n'
    overall = [(label, _shown(metrics[n])) for n, label in _OVERALL.items() if n in metrics]
    columns = {
        label: {key.removeprefix(start): metrics[key] for key in metrics if key.startswith(start)}
        for start, label in _OF_CLASS.items()
    }
    columns = {label: values for label, values in columns.items() if values}
    names = dict.fromkeys(name for values in columns.values() for name in values)
    rows = [
        (
            plain_name(name),
            *(_shown(values.get(name), label in _COUNTS) for label, values in columns.items()),
        )
        for name in names
    ]
    tables = [_table(('of all classes', 'value'), overall)]
    if rows:
        tables.append(_table(('class', *columns), rows))
    return '\n'.join(tables)


def _shown(value: object, count: bool = False) -> str:
    if not _is_number(value):
        return '-'
    return f'{value:.0f}' if count else f'{value:.3f}'


def _training(config: Mapping[str, Any], meta: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the checkpoint tells of its training, a row for each fact."""
    loop = _part(config, 'train_cfg')
    wrapper = _part(config, 'optim_wrapper')
    optimizer = _part(wrapper, 'optimizer')
    backbone = _part(_part(config, 'model'), 'backbone')
    start = _part(backbone, 'init_cfg').get('checkpoint') or config.get('load_from')
    start = 'random weights' if start is None else Path(str(start)).name
    if config.get('resume'):  # which takes the place of what it began with
        start = 'not recorded: the run was resumed'
    schedule = ', '.join(type_name(part) for part in entries(config, 'param_scheduler') if part)
    rows = {
        'epochs': _of(meta.get('epoch') if 'max_epochs' in loop else None, loop.get('max_epochs')),
        'iterations': _of(meta.get('iter'), loop.get('max_iters')),
        'images per step and process': _part(config, 'train_dataloader').get('batch_size'),
        'optimizer': type_name(optimizer) if optimizer else None,
        'learning rate': optimizer.get('lr'),
        'weight decay': optimizer.get('weight_decay'),
        'schedule': schedule or None,
        'precision': _PRECISIONS.get(type_name(wrapper), type_name(wrapper) or None),
        'started from': start if config else None,
        'seed': meta.get('seed'),
        'MMEngine': meta.get('mmengine_version'),
    }
    found = [(name, plain_name(value)) for name, value in rows.items() if value is not None]
    return found or [('recorded', 'nothing')]


def _of(done: object, planned: object) -> str | None:
    """Return how much of a training is in the checkpoint."""
    if done is None or planned is None:
        return None if done is None else str(done)
    return str(done) if done == planned else f'{done} of {planned}'


def _part(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    part = config.get(key)
    return part if isinstance(part, dict) else {}


def _table(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines = [header, ('---',) * len(header), *rows]
    cells = [[str(cell).replace('|', r'\|') for cell in line] for line in lines]
    return '\n'.join(f'| {" | ".join(line)} |' for line in cells) + '\n'
