"""Parameters and multiply-adds of the model of a config, at one input size."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

__all__ = ['Complexity', 'count_complexity', 'multiply_adds']

# Regions that mmdet's two-stage detectors send through their heads, as its own counter does.
_PROPOSALS = 1000
_MASKS = 100


class Complexity(NamedTuple):
    """How large a model is.

    Attributes:
        parameters: Of the model as it is trained, auxiliary heads included, a teacher not.
        multiply_adds: Of convolutions and matrix products for one image, in inference.
    """

    parameters: int
    multiply_adds: int


def count_complexity(cfg: Config, input_size: tuple[int, int]) -> Complexity:
    """Count a config's model without computing anything, so that it takes a second.

    Norms, activations, pooling and interpolation are left out. Of a two-stage detector, the heads
    see 1000 proposals and draw 100 masks, the maximum.

    Args:
        cfg: A config of mmdet, mmseg or mmpretrain; it stays as it is.
        input_size: Width and height in pixels.
    """
    model = _build(cfg)
    width, height = input_size
    image = torch.empty(1, 3, height, width, device='meta')
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Complexity(parameters, multiply_adds(partial(_infer, model), image))


def multiply_adds(model: Callable[[Tensor], object], x: Tensor) -> int:
    """Return the multiply-adds of convolutions and matrix products, for the whole batch.

    On the meta device nothing is computed. Published counts of CAS-ViT are 1 to 2 % higher: they
    count norms and pooling as well.
    """
    counter: Any = FlopCounterMode(display=False)
    # As one operator, attention is not counted on every device.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model(x)
    return counter.get_total_flops() // 2


def _build(cfg: Config) -> Any:
    """Return the model in eval mode, its tensors without content."""
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    description = copy.deepcopy(cfg.model)
    if getattr(description.type, '__name__', description.type) == 'DistilledClassifier':
        # The teacher does not infer, and its file is large.
        description.type = 'ImageClassifier'
        for key in ('teacher', 'distillation'):
            description.pop(key)
    model: nn.Module = MODELS.build(description)
    return model.eval().to('meta')


def _infer(model: Any, image: Tensor) -> None:
    """Run the layers of inference; what chooses among their results computes no product."""
    roi_head = getattr(model, 'roi_head', None)
    if roi_head is None:
        model(image)
        return
    model.rpn_head(model.extract_feat(image))
    for kind, count in (('bbox', _PROPOSALS), ('mask', _MASKS)):
        head = getattr(roi_head, f'{kind}_head', None)
        if head is not None:
            extractor = getattr(roi_head, f'{kind}_roi_extractor')
            side = extractor.roi_layers[0].output_size
            head(image.new_empty(count, extractor.out_channels, *side))
