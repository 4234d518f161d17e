"""The number of classes in every head of a model, in its class weights and in what it keeps."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.config import Config, ConfigDict
from torch import nn

from casvit_mm.config.editing import dicts_in
from casvit_mm.config.forms import type_name
from casvit_mm.errors import InputError

__all__ = ['cap_max_dets', 'check_class_counts', 'heads_of', 'raise_max_dets', 'set_num_classes']

# Heads that tell other things apart than the classes of the data: objects from ground (mmdet sets
# it to 1 itself), edges from areas.
_OTHER_CLASSES = ('rpn_head', 'STDCHead')
_LIMITS = ('max_per_img', 'max_per_image')


def set_num_classes(cfg: Config, num_classes: int) -> None:
    """Set the number of classes in every head of ``cfg.model``, and in its class weights, in place.

    Heads that count things and stuff get things alone. Weights that are equal for all classes are
    given to the new ones, with that of the background kept; others belong to their classes.

    Raises:
        InputError: If a loss has weights of its own for other classes.
    """
    for head in heads_of(cfg.model):
        old = _count(head)
        for loss in dicts_in(head):
            weights = loss.get('class_weight')
            if isinstance(weights, (list, tuple)):
                loss.class_weight = _resize(cfg, loss, list(weights), old, num_classes)
        if 'num_things_classes' in head:
            head.update(num_things_classes=num_classes, num_stuff_classes=0)
        if 'num_classes' in head:
            head.num_classes = num_classes


def heads_of(model: ConfigDict) -> list[ConfigDict]:
    """Return every entry of a model that counts classes, those inside others first."""
    exempt = {id(node) for node in dicts_in(model.get('rpn_head'))}
    counting = [
        node
        for node in dicts_in(model)
        if {'num_classes', 'num_things_classes'} & set(node)
        and id(node) not in exempt
        and type_name(node) not in _OTHER_CLASSES
    ]
    return counting[::-1]


def _count(head: ConfigDict) -> int:
    if 'num_classes' in head:
        return head.num_classes or 0
    return head.num_things_classes + head.get('num_stuff_classes', 0)


def _resize(cfg: Config, loss: ConfigDict, weights: list[float], old: int, new: int) -> list[float]:
    """Return class weights for ``new`` classes, of which there were ``old``.

    Raises:
        InputError: If they are for other classes.
    """
    background = weights[old:] if len(weights) == old + 1 else []
    of_classes = weights[: len(weights) - len(background)]
    if len(of_classes) == old != new and len(set(of_classes)) == 1:
        return of_classes[:1] * new + background
    if len(weights) in (new, new + 1):
        return weights
    raise InputError(
        f'{cfg.filename}: a {type_name(loss)} of the model has class_weight for {len(weights)} '
        f'classes, and the data has {new}. Give weights for these by --cfg-options, or None.'
    )


def check_class_counts(model: nn.Module, config: str, num_classes: int) -> None:
    """Refuse heads and class weights for another number of classes than the data has.

    A head that the config gives no number has that of its framework, such as 80.

    Args:
        model: As built from the config.
        config: Its file, for the message.
        num_classes: Classes of the data.

    Raises:
        InputError: Naming every head, its number and the option that sets it.
    """
    wrong = [*_wrong_heads(model, num_classes), *_wrong_weights(model)]
    if wrong:
        raise InputError(
            f'{config}: the data has {num_classes} classes, and not every part of the model has as '
            'many:\n' + '\n'.join(wrong)
        )


def _wrong_heads(model: nn.Module, num_classes: int) -> Iterator[str]:
    for name, module in model.named_modules():
        found, kind = getattr(module, 'num_classes', None), type(module).__name__
        parts = name.split('.')
        counts = isinstance(found, int) and not getattr(module, 'class_agnostic', False)
        if not counts or parts[0] in ('backbone', 'neck', 'teacher'):
            continue
        if found != num_classes and not {*parts, kind} & set(_OTHER_CLASSES):
            path = f'model.{name}' if name else 'model'
            yield (f'  {path} ({kind}) has {found}: --cfg-options {path}.num_classes={num_classes}')


def _wrong_weights(model: nn.Module) -> Iterator[str]:
    """Yield a line for each class weight whose length is not that of its head's scores."""
    for name, head in model.named_modules():
        scores = _number_of_scores(head)
        for part, loss in head.named_modules() if scores else ():
            weights = getattr(loss, 'class_weight', None)
            if isinstance(weights, (list, tuple)) and len(weights) != scores:
                path = f'model.{name}.{part}.class_weight'
                yield f'  {path} has {len(weights)} weights, and the head gives {scores} scores'


def _number_of_scores(head: nn.Module) -> int | None:
    """Return how many scores a head gives, the background's included; None if it is no head."""
    for layer in ('cls_embed', 'fc_cls', 'fc'):
        found = getattr(getattr(head, layer, None), 'out_features', None)
        if isinstance(found, int):
            return found
    found = getattr(head, 'out_channels', None) if hasattr(head, 'loss_decode') else None
    return found or getattr(head, 'cls_out_channels', None)


def raise_max_dets(cfg: Config, max_dets: int) -> None:
    """Let every stage of ``cfg.model`` keep at least ``max_dets`` objects per image, in place."""
    for node in dicts_in(cfg.model):
        for key in _LIMITS:
            if (node.get(key) or max_dets) < max_dets:
                node[key] = max_dets


def cap_max_dets(cfg: Config, num_classes: int) -> int | None:
    """Let a model of queries keep no more objects per image than it can choose from, in place.

    Otherwise torch refuses to choose them, in the first validation.

    Returns:
        How many it can choose from; None for any other model.
    """
    most = _candidates(cfg.model, num_classes)
    if most is not None:
        if 'panoptic_fusion_head' in cfg.model:  # keeps 100 if it is not told
            cfg.model.setdefault('test_cfg', ConfigDict()).setdefault('max_per_image', 100)
        for node in dicts_in(cfg.model.get('test_cfg')):
            for key in set(_LIMITS) & set(node):
                node[key] = min(node[key], most)
    return most


def _candidates(model: ConfigDict, num_classes: int) -> int | None:
    """Return how many detections a model of queries can choose from; None for any other model."""
    numbers = [
        node[key]
        for node in dicts_in(model)
        for key in ('num_queries', 'num_proposals')
        if isinstance(node.get(key), int)
    ]
    if not numbers:
        return None
    loss = (model.get('bbox_head') or {}).get('loss_cls') or {}
    # A query that chooses among its classes gives one detection, another one for each of them.
    chooses = type_name(loss) == 'CrossEntropyLoss' and not loss.get('use_sigmoid')
    return min(numbers) * (1 if chooses else num_classes)
