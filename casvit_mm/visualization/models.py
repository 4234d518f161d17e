"""The models to visualize: one of a config, or of timm, as a function of prepared images."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from casvit_mm.deploy.images import resize
from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError, first_names
from casvit_mm.export.loading import load_model
from casvit_mm.models.wrappers import Logits
from casvit_mm.weights.matching import check_fit, compare, read_checkpoint
from casvit_mm.weights.reading import class_names

__all__ = [
    'PreparedImage',
    'VisualizedModel',
    'load_config_model',
    'load_named_model',
    'see_config',
]


@dataclass(frozen=True)
class PreparedImage:
    """An image as a network sees it.

    Attributes:
        x: Normalised input, ``(1, 3, H, W)``, padded to what the network asks for.
        pixels: RGB, uint8 ``(h, w, 3)``: the part of ``x`` from its top left corner that is image.
    """

    x: Tensor
    pixels: np.ndarray

    def cut(self, values: np.ndarray, stride: int) -> np.ndarray:
        """Return the part of a map of ``x``, ``(..., h, w)``, that shows the image."""
        height, width = (-(-side // stride) for side in self.pixels.shape[:2])
        return values[..., :height, :width]


@dataclass(frozen=True)
class VisualizedModel:
    """A model in eval mode, all of whose parameters take a gradient.

    Attributes:
        name: Name in titles.
        model: ``(B, 3, H, W)`` to logits ``(B, num_classes)`` of a classifier, ``(B, num_classes,
            h, w)`` of a segmentor, or to the data samples of a detector.
        backbone: The part of it that makes the feature maps.
        spec: Task, classes and pre-processing.
        divisor: What height and width of the input are padded to a multiple of.
        note: What the user should know of its weights or classes; empty if nothing.
    """

    name: str
    model: nn.Module
    backbone: nn.Module
    spec: Spec
    divisor: int = 1
    note: str = ''

    def prepare(self, image: np.ndarray) -> PreparedImage:
        """Resize, normalise and pad an image, as the test pipeline does.

        Args:
            image: BGR pixels, uint8 ``(H, W, 3)``.
        """
        bgr = resize(image, self.spec.steps, (0, 0, 0)).pixels
        pixels = bgr[..., ::-1] if self.spec.rgb else bgr
        values = (pixels - np.array(self.spec.mean)) / np.array(self.spec.std)
        x = torch.from_numpy(values.transpose(2, 0, 1)).float()[None]  # (1, 3, h, w)
        below, right = (-side % self.divisor for side in bgr.shape[:2])
        device = next(self.model.parameters()).device
        return PreparedImage(F.pad(x, (0, right, 0, below)).to(device), bgr[..., ::-1])

    def class_index(self, name: str) -> int:
        """Return the number of a class.

        Raises:
            InputError: If it is unknown, listing the known ones.
        """
        classes = self.spec.classes
        if name in classes:
            return classes.index(name)
        near = difflib.get_close_matches(name, classes, n=3)
        hint = f'near: {", ".join(near)}. ' if near else ''
        raise InputError(
            f'--class {name}: {self.name} knows no such class; {hint}Known are '
            f'{first_names(classes, 20)}'
        )


def load_config_model(
    config: str | Path | None,
    checkpoint: str | Path | None,
    device: str,
    cfg_options: dict[str, Any] | None = None,
) -> VisualizedModel:
    """Return the classifier, detector or segmentor of a config.

    Args:
        config: Also ``casvit_mm::NAME.py`` and, of mmpretrain, mmdet and mmseg, ``package::PATH``;
            None takes the one that the checkpoint holds.
        checkpoint: File of weights; None leaves them random, which the title says.
        device: Where to compute.
        cfg_options: Config entries to set, by dotted name.

    Raises:
        InputError: If config or checkpoint are missing or do not fit each other.
    """
    loaded = load_model(config, checkpoint, cfg_options)
    model = loaded.model
    task = loaded.spec.task
    divisor = getattr(model.data_preprocessor, 'pad_size_divisor', None) or 1
    if task == 'segmentation':
        divisor = (loaded.cfg.model.data_preprocessor.get('test_cfg') or {}).get('size_divisor', 1)
    if task == 'detection':
        from casvit_mm.visualization.detectors import DifferentiableDetector

        whole: nn.Module = DifferentiableDetector(model)
    else:
        whole = Logits(model)
    name = Path(str(config or checkpoint)).stem
    note = loaded.note if checkpoint else ''
    return _ready(
        VisualizedModel(name, whole, model.backbone, loaded.spec, divisor, note), checkpoint, device
    )


def load_named_model(text: str, classes: tuple[str, ...], device: str) -> VisualizedModel:
    """Return the model that ``NAME[:CKPT]`` means.

    Args:
        text: A config, or a model of timm (``casvit_xs`` to ``casvit_t`` are among them), and after
            a colon its file of weights; without one the weights are random.
        classes: Names for a timm model of as many classes whose file holds none.
        device: Where to compute.

    Raises:
        InputError: If there is no such model, or the weights do not fit.
    """
    # The first colon that stands alone, and not after a single letter, a drive of Windows.
    name, checkpoint = re.fullmatch(r'(.{2,}?)(?:(?<!:):(?!:)(.+))?', text).groups()  # type: ignore[union-attr]
    if name.endswith('.py'):
        return load_config_model(name, checkpoint, device)
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=4)
        hint = f'near: {", ".join(near)}. ' if near else ''
        raise InputError(
            f'--beside {text}: {name} is neither a config (.py) nor a model of timm; {hint}'
            'Write NAME, or NAME:CHECKPOINT'
        )
    return _load_timm_model(name, checkpoint, classes, device)


def _load_timm_model(
    name: str, checkpoint: str | None, classes: tuple[str, ...], device: str
) -> VisualizedModel:
    model: Any = timm.create_model(name, num_classes=len(classes))
    if checkpoint is not None:
        model, classes = _with_weights(name, model, checkpoint, classes)
    return _ready(
        VisualizedModel(name, model, model, _timm_spec(model, classes)), checkpoint, device
    )


def _with_weights(
    name: str, model: Any, checkpoint: str, classes: tuple[str, ...]
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a timm model with the weights and the number of classes of a file, and their names."""
    content = read_checkpoint(checkpoint)
    state = content['state_dict']
    heads = model.pretrained_cfg['classifier']  # a name; several where it is distilled
    bias = state.get(f'{heads if isinstance(heads, str) else heads[0]}.bias')  # (num_classes,)
    if bias is not None and len(bias) != len(classes):
        model = timm.create_model(name, num_classes=len(bias))
        classes = tuple(f'class {index}' for index in range(len(bias)))
    if hasattr(model, 'backbone'):  # CAS-ViT, whose files come in several forms
        state = check_fit(model, state, checkpoint, content.get('official_names'))
    compare(model.state_dict(), state, {}, checkpoint)
    model.load_state_dict(state)
    return model, class_names(content) or classes


def _timm_spec(model: nn.Module, classes: tuple[str, ...]) -> Spec:
    """Return the pre-processing that timm evaluates a model with."""
    data = resolve_model_data_config(model)
    height, width = data['input_size'][1:]
    how = 'pillow-bilinear' if data['interpolation'] == 'bilinear' else 'pillow-bicubic'
    edge = int(min(height, width) / data['crop_pct'])
    return Spec(
        task='classification',
        classes=classes,
        steps=(
            dict(op='short_edge', size=edge, interpolation=how),
            dict(op='center_crop', size=[height, width]),
        ),
        mean=tuple(255 * value for value in data['mean']),
        std=tuple(255 * value for value in data['std']),
        rgb=True,
    )


def _ready(loaded: VisualizedModel, checkpoint: str | Path | None, device: str) -> VisualizedModel:
    """Prepare a model for gradients, and say in its name where its weights are random."""
    loaded.model.to(device).eval().requires_grad_(True)
    for module in loaded.model.modules():
        if hasattr(module, 'inplace'):
            # It would write over the feature map that was read before it.
            module.inplace = False  # type: ignore[assignment]
    return loaded if checkpoint else replace(loaded, name=f'{loaded.name} (random weights)')


see_config = load_config_model  # its name in version 0.1
