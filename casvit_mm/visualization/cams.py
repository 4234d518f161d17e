"""Class activation maps: which places of a stage's map speak for what a model predicts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from casvit_mm.errors import InputError
from casvit_mm.visualization.models import Prepared, SeenModel
from casvit_mm.visualization.stages import Stage, as_map, capture

__all__ = ['DEFAULT_METHODS', 'METHODS', 'Cam', 'check_grad_cam', 'class_activation']

METHODS = {
    'gradcam': 'GradCAM',
    'gradcam++': 'GradCAMPlusPlus',
    'hirescam': 'HiResCAM',
    'layercam': 'LayerCAM',
    'xgradcam': 'XGradCAM',
    'eigencam': 'EigenCAM',
}
# The gradient at one object is no weight for the channels everywhere, as Grad-CAM takes it.
DEFAULT_METHODS = {
    'classification': 'gradcam',
    'segmentation': 'layercam',
    'detection': 'layercam',
}
_LEAST_SCORE = 0.3  # of the objects that are explained, as in tools/predict.py
_MOST_POSITIONS = 4096  # EigenCAM decomposes a matrix with as many rows and columns

Target = Callable[[Any], Tensor]  # of one output of the model


@dataclass(frozen=True)
class Cam:
    """The class activation map of one image.

    Attributes:
        label: What is explained and how sure the model is of it.
        how: Method, and the stages whose maps explain.
        heat: 0 to 1, ``(h, w)`` as the image's pixels; None if there is nothing to explain.
        boxes: Objects that are explained, ``(N, 4)`` corners in these pixels.
    """

    label: str
    how: str
    heat: np.ndarray | None = None
    boxes: np.ndarray | None = None


def check_grad_cam() -> None:
    """Refuse to go on without pytorch-grad-cam.

    Raises:
        InputError: Saying how to install it.
    """
    if importlib.util.find_spec('pytorch_grad_cam') is None:
        raise InputError(
            'class activation maps need the package grad-cam, which is not installed. Install it: '
            "pip install '.[visualize]', or pip install grad-cam. The other pictures do without: "
            '--show gates fields features'
        )


def class_activation(
    seen: SeenModel,
    stages: Sequence[Stage],
    image: Prepared,
    method: str | None = None,
    class_name: str | None = None,
) -> Cam:
    """Explain a prediction by the maps of one stage, or by the mean over several.

    Explained is the logit of the class for a classifier; the sum of the class's logits over the
    pixels that are taken for it for a segmentor; and the sum of the log-odds of the objects that a
    detector keeps with a score of 0.3 or more, or of the surest one where none has that.

    Args:
        seen: The model.
        stages: Of its backbone. Each one's explanation is scaled to 0 to 1 before the mean.
        image: What it sees.
        method: Key of :data:`METHODS`; None is :data:`DEFAULT_METHODS`. EigenCAM needs no class: it
            shows where the map varies most.
        class_name: What is explained; None is the predicted class of a classifier, the largest
            one of a segmentor, and the objects of all classes of a detector.

    Raises:
        InputError: If the class is unknown, or the method cannot be run.
    """
    check_grad_cam()
    import pytorch_grad_cam

    method = method or DEFAULT_METHODS[seen.spec.task]
    if method == 'eigencam':
        _check_size(stages, image)
    numbers = [str(stage.number) for stage in stages]
    how = f'{METHODS[method]}, ' + (
        f'stage {numbers[0]}' if len(stages) == 1 else f'mean of the stages {", ".join(numbers)}'
    )
    index = None if class_name is None else seen.class_index(class_name)
    with capture(module for stage in stages for module in stage.modules) as outputs:
        found = seen.model(image.x)
    label, target, boxes = _TARGETS[seen.spec.task](seen, found[0], index)
    if target is None:
        return Cam(label, how)
    score = target(found[0])
    if score.requires_grad:
        modules = _telling_modules(stages, outputs, score, image.x)
    elif method == 'eigencam':
        modules = [stage.end for stage in stages]
    else:
        raise InputError(
            f'--method {method}: the scores of {seen.name} have no gradient. Take --method '
            'eigencam, which needs none'
        )
    cam = getattr(pytorch_grad_cam, METHODS[method])(
        seen.model,
        modules,
        reshape_transform=lambda value: _map_of_any(stages, value, image.x),
    )
    try:
        heat = cam(image.x, [target])[0]
    finally:
        # Not by its context manager, which would hide an IndexError.
        cam.activations_and_grads.release()
        seen.model.zero_grad()
    if not heat.any():
        return Cam(f'{label}\nno place speaks for it', how, None, boxes)
    height, width = image.pixels.shape[:2]
    return Cam(label, how, heat[:height, :width], boxes)


def _map_of_any(stages: Sequence[Stage], value: Tensor, x: Tensor) -> Tensor:
    """Return the output of a module of one of the stages as ``(B, C, h, w)``."""
    maps = (as_map(value, x, stage.stride) for stage in stages)
    return next(found for found in maps if found is not None)


def _telling_modules(
    stages: Sequence[Stage], outputs: dict[nn.Module, Tensor], score: Tensor, x: Tensor
) -> list[nn.Module]:
    """Return of each stage the last module whose positions decide on the score.

    A classifier that reads the class token alone has no gradient at the patches of its last block.
    """
    modules = [module for stage in stages for module in stage.modules]
    values = [outputs[module] for module in modules]
    gradients = torch.autograd.grad(score, values, allow_unused=True)
    telling = {
        module
        for module, gradient in zip(modules, gradients, strict=True)
        if gradient is not None and _map_of_any(stages, gradient, x).any()
    }
    return [
        next((module for module in reversed(stage.modules) if module in telling), stage.end)
        for stage in stages
    ]


def _check_size(stages: Sequence[Stage], image: Prepared) -> None:
    for stage in stages:
        height, width = (side // stage.stride for side in image.x.shape[2:])
        if height * width > _MOST_POSITIONS:
            raise InputError(
                '--method eigencam takes memory by the square of the positions, and stage '
                f'{stage.number} has {width}x{height}. Take a later --stage, or another method'
            )


_Explained = tuple[str, Target | None, np.ndarray | None]


def _of_classifier(seen: SeenModel, logits: Tensor, index: int | None) -> _Explained:
    shares = logits.detach().softmax(0)
    index = int(shares.argmax()) if index is None else index
    label = f'{seen.spec.classes[index]} {shares[index]:.0%}'
    return label, lambda output: output[index], None


def _of_segmentor(seen: SeenModel, logits: Tensor, index: int | None) -> _Explained:
    def both_sides(output: Tensor) -> Tensor:
        # A single output is the logit of the second of two classes.
        return torch.cat([-output, output]) if len(output) == 1 else output

    labels = both_sides(logits.detach()).argmax(0)
    index = int(labels.flatten().mode().values) if index is None else index
    mask = labels == index
    label = f'{seen.spec.classes[index]}, {mask.float().mean():.0%} of the pixels'
    if not mask.any():
        return f'{seen.spec.classes[index]}: nowhere', None, None
    return label, lambda output: both_sides(output)[index][mask].sum(), None


def _of_detector(seen: SeenModel, sample: Any, index: int | None) -> _Explained:
    def kept(sample: Any) -> Any:
        found = sample.pred_instances
        found = found if index is None else found[found.labels == index]
        # The surest alone where none is sure.
        return found[found.scores >= min(_LEAST_SCORE, found.scores.max())] if len(found) else found

    found = kept(sample)
    name = 'objects' if index is None else seen.spec.classes[index]
    if not len(found):
        return f'{name}: none found', None, None
    label = f'{name}: {len(found)} found, best {found.scores.max():.0%}'
    # Log-odds, or the sum would tell of the unsure objects alone: a sure score has no slope.
    return (
        label,
        lambda output: torch.logit(kept(output).scores, eps=1e-7).sum(),
        found.bboxes.detach().cpu().numpy(),
    )


_TARGETS: dict[str, Callable[[SeenModel, Any, int | None], _Explained]] = {
    'classification': _of_classifier,
    'segmentation': _of_segmentor,
    'detection': _of_detector,
}
