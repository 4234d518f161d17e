"""Names of weights: how the authors' files and ours are called, in one place.

The authors publish two forms. The classification form holds the trunk, one ``norm`` and one or two
heads; the dense form (detection, segmentation) holds the trunk under ``backbone.`` with one norm
per stage output, and beside it the neck and heads of mmdet 2.24 or mmsegmentation 0.24.

======================  ========================================================================
key of an official file  what becomes of it
======================  ========================================================================
trunk                   renamed by :data:`KEY_RULES`, in every form
``norm`` (classifier)   the norm of the last stage, where that is the only output of the model, as
                        in a classifier; dropped by name where a model has several outputs, since
                        the published detection and segmentation code does not use it either
``norm{0,2,4,6}``       the norms of the four outputs; dropped by name for an output that the model
                        does not give
``head``                ``head.fc`` of a classifier; dropped by name elsewhere
``dist_head``           ``head.fc_dist`` of a classifier with two heads; where it has one, that
                        becomes the mean of both, whose logits are the mean of the logits
neck and heads          :data:`WHOLE_MODELS`
======================  ========================================================================
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor, nn

__all__ = [
    'KEY_RULES',
    'WHOLE_MODELS',
    'Part',
    'as_classifier',
    'is_official',
    'output_norms',
    'rename_official_keys',
    'to_classifier_keys',
    'whole_model_of',
]

# Official name -> ours, applied in order to the part after ``backbone.``. In ``network`` the even
# children are stages, the odd ones the downsampling after them; both are halved by _halve.
KEY_RULES = (
    (r'^patch_embed\.', 'stem.'),
    (r'^network\.([1357])\.proj\.', r'downsamples.<\1>.conv.'),
    (r'^network\.([1357])\.norm\.', r'downsamples.<\1>.norm.'),
    (r'^network\.([0246])\.', r'stages.<\1>.'),
    (r'^norm([0246])\.', r'norm<\1>.'),
    (r'\.local_perception\.network\.', '.local_integration.'),
    (r'\.attn\.oper_([qk])\.(\d)\.block\.', r'.token_mixer.gate_\1.\2.gate.'),
    (r'\.attn\.dwc\.', '.token_mixer.dwconv.'),
    (r'\.attn\.', '.token_mixer.'),
)
# No other network has this; ``patch_embed`` and ``network`` alone are names that many use.
_OFFICIAL_KEY = re.compile(r'^(?:backbone\.)?network\.\d\.\d+\.(?:local_perception|attn\.oper_)')
_OUTPUT_NORM = re.compile(r'^norm(\d+)\.')
# Classification form, after KEY_RULES -> a classifier of ours with the last stage's norm.
_CLASSIFIER_RULES = (
    (r'^head\.(?!fc)', 'head.fc.'),
    (r'^dist_head\.', 'head.fc_dist.'),
    (r'^norm\.', 'backbone.norm{last}.'),
    (r'^(?!head\.|backbone\.)', 'backbone.'),
)


class Part(NamedTuple):
    """Some keys of an official detector or segmentor, and what became of them.

    Attributes:
        keys: Their names in mmdet 2.24 or mmsegmentation 0.24; ``{a,b}`` stands for each.
        kept: Whether mmdet 3 and mmsegmentation 1 have them, under the same names and in the same
            layout; else they are dropped.
        meaning: What the numbers mean there and here, where versions could differ.
    """

    keys: str
    kept: bool
    meaning: str


_BN = '{weight,bias,running_mean,running_var,num_batches_tracked}'

# Everything behind the trunk of an official whole model. Between mmdet 2.24.1 and 3, and mmseg 0.24
# and 1, no key of these was renamed and no layout changed (the changes were made by 2.0 and 2.5:
# background last, boxes without "+ 1", RoIAlign shifted by half a pixel); compared in the sources.
# What is no key: pixels are BGR turned to RGB, normalised by (123.675, 116.28, 103.53) and (58.395,
# 57.12, 57.375) and padded with 0 afterwards, by the pipeline then and the data preprocessor now.
WHOLE_MODELS: dict[str, tuple[Part, ...]] = {
    'RetinaNet': (
        Part(f'backbone.norm0.{_BN}', False, 'stride 4 was computed and never read'),
        Part('neck.lateral_convs.{0,1,2}.conv.{weight,bias}', True, 'strides 8, 16, 32'),
        Part('neck.fpn_convs.{0,1,2}.conv.{weight,bias}', True, 'P3 to P5'),
        Part('neck.fpn_convs.{3,4}.conv.{weight,bias}', True, 'P6 from stride 32 (on_input), P7'),
        Part('bbox_head.{cls,reg}_convs.{0,1,2,3}.conv.{weight,bias}', True, 'of all levels'),
        Part('bbox_head.retina_cls.{weight,bias}', True, 'anchor * 80 + class, no background'),
        Part('bbox_head.retina_reg.{weight,bias}', True, 'anchor * 4 + (dx, dy, dw, dh), std 1'),
    ),
    'Mask R-CNN': (
        Part('neck.lateral_convs.{0,1,2,3}.conv.{weight,bias}', True, 'strides 4 to 32'),
        Part('neck.fpn_convs.{0,1,2,3}.conv.{weight,bias}', True, 'P6 is P5 subsampled'),
        Part('rpn_head.rpn_conv.{weight,bias}', True, 'a plain convolution (num_convs=1)'),
        Part('rpn_head.rpn_cls.{weight,bias}', True, '3 anchors, sigmoid, no background'),
        Part('rpn_head.rpn_reg.{weight,bias}', True, 'anchor * 4 + (dx, dy, dw, dh), std 1'),
        Part('roi_head.bbox_head.shared_fcs.{0,1}.{weight,bias}', True, 'of (channel, y, x)'),
        Part('roi_head.bbox_head.fc_cls.{weight,bias}', True, '80 classes, background last'),
        Part('roi_head.bbox_head.fc_reg.{weight,bias}', True, 'class * 4 + ..., std 0.1 and 0.2'),
        Part('roi_head.mask_head.convs.{0,1,2,3}.conv.{weight,bias}', True, '14 x 14'),
        Part('roi_head.mask_head.upsample.{weight,bias}', True, 'transposed 2 x 2 to 28 x 28'),
        Part('roi_head.mask_head.conv_logits.{weight,bias}', True, '80 classes, no background'),
    ),
    'Semantic FPN': (
        Part('neck.lateral_convs.{0,1,2,3}.conv.{weight,bias}', True, 'strides 4 to 32'),
        Part('neck.fpn_convs.{0,1,2,3}.conv.{weight,bias}', True, ''),
        Part(f'decode_head.scale_heads.{{0,1}}.0.{{conv.weight,bn.{_BN}}}', True, 'strides 4, 8'),
        # Every second child only upsamples, bilinearly and without aligned corners.
        Part(f'decode_head.scale_heads.2.{{0,2}}.{{conv.weight,bn.{_BN}}}', True, 'stride 16'),
        Part(f'decode_head.scale_heads.3.{{0,2,4}}.{{conv.weight,bn.{_BN}}}', True, 'stride 32'),
        Part('decode_head.conv_seg.{weight,bias}', True, '150 classes; label 0 is ignored, 1 is 0'),
    ),
}


def _expand(template: str) -> list[str]:
    """Return the keys that ``{a,b}`` in a template stands for; braces may hold braces."""
    match = re.search(r'\{([^{}]*)\}', template)
    if match is None:
        return [template]
    before, after = template[: match.start()], template[match.end() :]
    choices = (_expand(f'{before}{choice}{after}') for choice in match.group(1).split(','))
    return list(itertools.chain.from_iterable(choices))


def whole_model_of(keys: Iterable[str]) -> tuple[str, dict[str, Part]]:
    """Return which official model ``keys`` fit best, and the part that each key of it belongs to.

    Args:
        keys: Of a file of the authors, without those of its trunk.
    """
    models = {
        name: {key: part for part in parts for key in _expand(part.keys)}
        for name, parts in WHOLE_MODELS.items()
    }
    found = set(keys)
    best = max(models, key=lambda name: len(found & set(models[name])))
    return best, models[best]


def output_norms(keys: Iterable[str]) -> set[int]:
    """Return the indices of the stages whose outputs have norms in a backbone of these keys."""
    return {int(match.group(1)) for key in keys if (match := _OUTPUT_NORM.match(key))}


def is_official(keys: Iterable[str]) -> bool:
    """Return whether keys are those of the authors' code."""
    return any(_OFFICIAL_KEY.match(key) for key in keys)


def _halve(match: re.Match) -> str:
    return str(int(match.group(1)) // 2)


def rename_official_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an official state dict under our names; other keys stay as they are."""
    return {_our_name(key): value for key, value in state_dict.items()}


def _our_name(key: str) -> str:
    prefix = 'backbone.' if key.startswith('backbone.') else ''
    name = key.removeprefix(prefix)
    for pattern, replacement in KEY_RULES:
        name = re.sub(pattern, replacement, name)
    return prefix + re.sub(r'<(\d)>', _halve, name)


def to_classifier_keys(state: Mapping[str, Tensor], last: int) -> dict[str, Tensor]:
    """Return a bare backbone with a head under the names of a classifier.

    Args:
        state: Trunk, ``norm`` and heads, of the authors (renamed) or of a port to timm.
        last: Index of the last stage, whose norm the classifier's is.
    """
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in _CLASSIFIER_RULES:
            key = re.sub(pattern, replacement.format(last=last), key)
        renamed[key] = value
    return renamed


def as_classifier(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return ``state`` in the form of a classifier, if ``model`` is one; else as it is.

    - An official classification file, or one of a port to timm, gets the classifier's prefixes.
    - Two heads become one where the model has one: their mean, whose logits are the mean of both.
    """
    head = getattr(model, 'head', None)
    if getattr(head, 'fc', None) is None or not hasattr(model, 'backbone'):
        return state
    if not any(key.startswith('backbone.') for key in state) and any(
        key.startswith('head.') for key in state
    ):
        last = max(output_norms(model.get_submodule('backbone').state_dict()))
        state = to_classifier_keys(state, last)
    if 'head.fc_dist.weight' in state and not hasattr(head, 'fc_dist'):
        state = dict(state)
        for part in ('weight', 'bias'):
            second = state.pop(f'head.fc_dist.{part}')
            state[f'head.fc.{part}'] = (state[f'head.fc.{part}'] + second) / 2
    return state
