"""Whole models as graphs that every exporter can follow: an image in, named outputs out.

A graph runs the modules of the mm model itself. What mmdet computes in Python between and after
them (choice of candidates, non-maximum suppression) is in :mod:`casvit_mm.export.detectors`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn import functional as F

from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError
from casvit_mm.export.detectors import OneStage, TwoStage, scored_twice
from casvit_mm.export.head_maps import HeadMaps
from casvit_mm.export.pooling import fix_pooling
from casvit_mm.models.inference import fold_block_norms
from casvit_mm.models.inspection import feature_strides

__all__ = ['Graph', 'Positional', 'build_graph']


class Preprocess(nn.Module):
    """Normalisation and padding: from the input of the file to that of the backbone.

    Args:
        spec: Mean, standard deviation and channel order; with ``preprocess='outside'`` the caller
            applies them.
        divisor: The sides are padded to a multiple of it, below and on the right, with zeros as
            mmdet pads.

    Shape:
        ``(B, 3, h, w)`` of any type ``-> (B, 3, H, W)`` float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: Spec, divisor: int) -> None:
        super().__init__()
        self.inside = spec.preprocess == 'inside'
        self.rgb = spec.rgb
        self.divisor = divisor
        self.register_buffer('mean', torch.tensor(spec.mean).view(1, 3, 1, 1))
        self.register_buffer('std', torch.tensor(spec.std).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        x = image.float()
        if self.inside:
            x = torch.stack([x[:, 2], x[:, 1], x[:, 0]], 1) if self.rgb else x
            x = (x - self.mean) / self.std
        if self.divisor > 1:
            height, width = x.shape[2:]
            x = F.pad(x, (0, -width % self.divisor, 0, -height % self.divisor))
        return x


class Graph(nn.Module):
    """A model to export.

    Args:
        preprocess: What comes before the backbone.
        body: Takes ``(B, 3, H, W)`` and the image's height and width; returns the outputs.
        names: Names of the outputs, in their order.
        dtype: Type in which the networks compute; candidates and boxes stay float32.
        stride: Input pixels per position of the coarsest map of the network.

    Shape:
        ``(B, 3, h, w)`` -> tensors by name, the first axis of each ``B``.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        body: nn.Module,
        names: tuple[str, ...],
        dtype: torch.dtype,
        stride: int,
    ) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.body = body
        self.names = names
        self.dtype = dtype
        self.stride = stride

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name."""
        height, width = image.shape[2:]
        x = self.preprocess(image).to(self.dtype)
        return dict(zip(self.names, self.body(x, height, width), strict=True))


class Positional(nn.Module):
    """A graph whose outputs are a tuple, as some converters need them.

    Shape:
        ``(B, 3, h, w)`` -> tensors in the order of the graph's names.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.whole = graph  # a traced module has a `graph` of its own

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs."""
        return tuple(self.whole(image).values())


class _Backbone(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.network = model.backbone

    def forward(self, x: Tensor, height: int, width: int) -> list[Tensor]:
        return [feature.float() for feature in self.network(x)]


class _Classifier(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.network = model

    def forward(self, x: Tensor, height: int, width: int) -> list[Tensor]:
        # Without samples, mode='tensor' is backbone, neck and head.
        return [self.network(x, mode='tensor').float().softmax(-1)]


class _Segmentor(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.network = model

    def forward(self, x: Tensor, height: int, width: int) -> list[Tensor]:
        return [self.network(x, mode='tensor').float()]


def build_graph(cfg: Config, model: Any, spec: Spec, dtype: torch.dtype = torch.float32) -> Graph:
    """Return the graph of a model in eval mode, with a copy of its weights.

    Norms before a mixer or an MLP are folded into them: converters fold only those that follow a
    convolution. In int8 they stay, since they keep the ranges of what the layers behind them read.

    Raises:
        InputError: If the model has a part whose predictions cannot be expressed as a graph.
    """
    model = copy.deepcopy(model)
    if spec.precision != 'int8':
        fold_block_norms(model.backbone)
    divisor = 1
    strides: Sequence[int] = feature_strides(model.backbone)
    body: nn.Module
    if spec.task == 'backbone':
        body = _Backbone(model)
        names = tuple(f'stride{stride}' for stride in strides)
    elif spec.task == 'classification':
        body, names = _Classifier(model), ('scores',)
    elif spec.task == 'segmentation':
        _refuse_windows(cfg, model)
        _keep_sizes_open(model)
        body, names = _Segmentor(model), ('logits',)
    else:
        divisor = model.data_preprocessor.pad_size_divisor
        two_stages = getattr(model, 'roi_head', None) is not None
        if spec.outside is not None:
            body = HeadMaps(model, scored_twice(model))
        else:
            body = TwoStage(model) if two_stages else OneStage(model)
        names, strides = body.names, body.strides
    preprocess = Preprocess(spec, divisor)
    graph = Graph(preprocess, body.to(dtype), names, dtype, max(strides)).eval()
    if spec.size is not None:
        fix_pooling(graph, torch.zeros(1, 3, *spec.size))
    return graph


def _keep_sizes_open(model: Any) -> None:
    """Replace mmseg's Upsample, which would fix the size in the file, by torch's own."""
    from mmseg.models.utils import Upsample

    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Upsample) and child.size is None:
                same = nn.Upsample(None, child.scale_factor, child.mode, child.align_corners)
                setattr(parent, name, same)


def _refuse_windows(cfg: Config, model: Any) -> None:
    if model.test_cfg.get('mode', 'whole') != 'whole':
        raise InputError(
            f'{cfg.filename}: model.test_cfg reads images by windows, which is a loop around the '
            'network. Export with --cfg-options model.test_cfg.mode=whole, and cut the windows '
            'yourself'
        )
    if model.data_preprocessor.test_cfg:
        raise InputError(
            f'{cfg.filename}: model.data_preprocessor.test_cfg pads images; an exported segmentor '
            'takes them as they are. Use ResizeToMultiple in the test pipeline'
        )
