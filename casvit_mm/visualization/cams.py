"""Class activation maps: the places of an image that speak for what a model predicts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from casvit_mm.errors import InputError, plain_name
from casvit_mm.visualization.models import PreparedImage, VisualizedModel
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
# Grad-CAM weighs a channel by its mean gradient over all places, LayerCAM each place by its own
# gradient. What an object's gradient says holds at the object alone.
DEFAULT_METHODS = {
    'classification': 'gradcam',
    'segmentation': 'layercam',
    'detection': 'layercam',
}
_MIN_SCORE = 0.3  # of the objects that are explained, as in casvit-mm predict
_MAX_POSITIONS = 4096  # EigenCAM decomposes a matrix with as many rows and columns

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
    visualized: VisualizedModel,
    stages: Sequence[Stage],
    image: PreparedImage,
    method: str | None = None,
    class_name: str | None = None,
) -> Cam:
    """Explain a prediction by the maps of one stage, or by the mean over several.

    Of a classifier, the logit of the class is explained. Of a segmentor, it is the sum of the
    class's logits over the pixels that are predicted as that class. Of a detector, it is the sum of
    the log-odds of the objects with a score of 0.3 or more, or of the surest one where none has it.

    Args:
        visualized: The model.
        stages: Of its backbone. Each one's explanation is scaled to 0 to 1 before the mean.
        image: The image.
        method: Key of :data:`METHODS`; None is :data:`DEFAULT_METHODS`. EigenCAM needs no class: it
            shows where the map varies most.
        class_name: What is explained; None is the predicted class of a classifier, the largest
            one of a segmentor, and the objects of all classes of a detector.

    Raises:
        InputError: If the class is unknown, or the method cannot be run.
    """
    check_grad_cam()
    method = method or DEFAULT_METHODS[visualized.spec.task]
    if method == 'eigencam':
        _check_size(stages, image)
    index = None if class_name is None else visualized.class_index(class_name)
    with capture(module for stage in stages for module in stage.modules) as outputs:
        found = visualized.model(image.x)[0]
    explained = _EXPLAIN[visualized.spec.task](visualized, found, index)
    how = _describe(method, stages)
    if explained.target is None:
        return Cam(explained.label, how)
    score = explained.target(found)
    if score.requires_grad:
        modules = _deciding_modules(stages, outputs, score, image.x)
    elif method == 'eigencam':
        modules = [stage.end for stage in stages]
    else:
        raise InputError(
            f'--method {method}: the scores of {visualized.name} have no gradient. Take --method '
            'eigencam, which needs none'
        )
    heat = _heat(visualized, stages, image.x, method, modules, explained.target)
    if not heat.any():
        return Cam(f'{explained.label}\nno place speaks for it', how, None, explained.boxes)
    height, width = image.pixels.shape[:2]
    return Cam(explained.label, how, heat[:height, :width], explained.boxes)


def _describe(method: str, stages: Sequence[Stage]) -> str:
    numbers = [str(stage.number) for stage in stages]
    if len(stages) == 1:
        return f'{METHODS[method]}, stage {numbers[0]}'
    return f'{METHODS[method]}, mean of the stages {", ".join(numbers)}'


def _heat(
    visualized: VisualizedModel,
    stages: Sequence[Stage],
    x: Tensor,
    method: str,
    modules: list[nn.Module],
    target: Target,
) -> np.ndarray:
    """Run a method of pytorch-grad-cam; return 0 to 1 for each pixel of the input, ``(H, W)``."""
    import pytorch_grad_cam

    cam = getattr(pytorch_grad_cam, METHODS[method])(
        visualized.model,
        modules,
        reshape_transform=lambda value: _map_of_any(stages, value, x),
    )
    try:
        return cam(x, [target])[0]
    finally:
        # Not by its context manager, which would hide an IndexError.
        cam.activations_and_grads.release()
        visualized.model.zero_grad()


def _map_of_any(stages: Sequence[Stage], value: Tensor, x: Tensor) -> Tensor:
    """Return the output of a module of one of the stages as ``(B, C, h, w)``."""
    maps = (as_map(value, x, stage.stride) for stage in stages)
    return next(found for found in maps if found is not None)


def _deciding_modules(
    stages: Sequence[Stage], outputs: dict[nn.Module, Tensor], score: Tensor, x: Tensor
) -> list[nn.Module]:
    """Return of each stage the last module whose positions have a gradient of the score.

    A classifier that reads the class token alone has no gradient at the patches of its last block.
    """
    modules = [module for stage in stages for module in stage.modules]
    values = [outputs[module] for module in modules]
    gradients = torch.autograd.grad(score, values, allow_unused=True)
    deciding = {
        module
        for module, gradient in zip(modules, gradients, strict=True)
        if gradient is not None and _map_of_any(stages, gradient, x).any()
    }
    return [
        next((module for module in reversed(stage.modules) if module in deciding), stage.end)
        for stage in stages
    ]


def _check_size(stages: Sequence[Stage], image: PreparedImage) -> None:
    for stage in stages:
        height, width = (side // stage.stride for side in image.x.shape[2:])
        if height * width > _MAX_POSITIONS:
            raise InputError(
                '--method eigencam takes memory by the square of the positions, and stage '
                f'{stage.number} has {width}x{height}. Take a later --stage, or another method'
            )


@dataclass(frozen=True)
class _Explained:
    """What of a prediction is explained.

    Attributes:
        label: Names it, and says how sure the model is of it.
        target: Returns its score from the model's output for an image; None if there is nothing.
        boxes: As :class:`Cam` has them.
    """

    label: str
    target: Target | None = None
    boxes: np.ndarray | None = None


def _explain_classifier(
    visualized: VisualizedModel, logits: Tensor, index: int | None
) -> _Explained:
    probabilities = logits.detach().softmax(0)  # (num_classes,)
    index = int(probabilities.argmax()) if index is None else index
    label = f'{plain_name(visualized.spec.classes[index], 40)} {probabilities[index]:.0%}'
    return _Explained(label, lambda output: output[index])


def _explain_segmentor(
    visualized: VisualizedModel, logits: Tensor, index: int | None
) -> _Explained:
    def of_each_class(output: Tensor) -> Tensor:  # (num_classes, h, w)
        # A single output is the logit of the second of two classes.
        return torch.cat([-output, output]) if len(output) == 1 else output

    predicted = of_each_class(logits.detach()).argmax(0)  # (h, w)
    index = int(predicted.flatten().mode().values) if index is None else index
    name, mask = plain_name(visualized.spec.classes[index], 40), predicted == index
    if not mask.any():
        return _Explained(f'{name}: nowhere')
    label = f'{name}, {mask.float().mean():.0%} of the pixels'
    return _Explained(label, lambda output: of_each_class(output)[index][mask].sum())


def _explain_detector(visualized: VisualizedModel, sample: Any, index: int | None) -> _Explained:
    def kept(sample: Any) -> Any:
        found = sample.pred_instances
        found = found if index is None else found[found.labels == index]
        # The surest alone where none is sure.
        return found[found.scores >= min(_MIN_SCORE, found.scores.max())] if len(found) else found

    found = kept(sample)
    name = 'objects' if index is None else plain_name(visualized.spec.classes[index], 40)
    if not len(found):
        return _Explained(f'{name}: none found')
    label = f'{name}: {len(found)} found, best {found.scores.max():.0%}'
    # Log-odds, or the sum would tell of the unsure objects alone: a sure score has no slope.
    return _Explained(
        label,
        lambda output: torch.logit(kept(output).scores, eps=1e-7).sum(),
        found.bboxes.detach().cpu().numpy(),
    )


_EXPLAIN: dict[str, Callable[[VisualizedModel, Any, int | None], _Explained]] = {
    'classification': _explain_classifier,
    'segmentation': _explain_segmentor,
    'detection': _explain_detector,
}
