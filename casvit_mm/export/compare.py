"""Whether an exported file computes what the model computes in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from casvit_mm.deploy.images import Resized
from casvit_mm.deploy.predictor import Predictor, prepare_tensor
from casvit_mm.deploy.results import Detections, Segmentation, read_outputs
from casvit_mm.errors import InputError

__all__ = ['TOLERANCES', 'Comparison', 'Tolerance', 'compare', 'reference']

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Tolerance:
    """What a precision may cost.

    Attributes:
        difference: Mean difference of the outputs at most.
        agreement: Of the predictions at least.
    """

    difference: float
    agreement: float


TOLERANCES = {
    'fp32': Tolerance(1e-4, 0.999),
    'fp16': Tolerance(0.01, 0.98),
    'bf16': Tolerance(0.03, 0.9),
    'int8': Tolerance(0.1, 0.8),
}


@dataclass(frozen=True)
class Comparison:
    """An exported file beside PyTorch, over several images.

    Attributes:
        images: Their number.
        objects: Detections that PyTorch found; None for other tasks.
        maximum: Largest difference of an output: probabilities and scores as they are, feature maps
            and logits as a share of the largest one.
        mean: Mean difference.
        agreement: Share of images with the same best class, of pixels with the same class, or mean
            overlap of objects weighted by their score; for feature maps the cosine of the angle
            between them.
    """

    images: int
    objects: int | None
    maximum: float
    mean: float
    agreement: float

    def check(self, tolerance: Tolerance, precision: str) -> None:
        """Refuse an export that differs too much.

        Raises:
            InputError: With the figures and what could help.
        """
        good = self.mean <= tolerance.difference and self.agreement >= tolerance.agreement
        if good:  # a NaN is not
            return
        cure = {
            'fp32': 'The engine computes something else than torch; try another version of it',
            'int8': 'Calibrate on more images, and such as the model will see, or take --fp16',
        }.get(precision, 'Take a higher precision')
        raise InputError(
            f'the exported file is not accurate enough, so it was not kept: {self}. Allowed are a '
            f'mean difference of {tolerance.difference:g} and an agreement of '
            f'{tolerance.agreement:g}. {cure}.'
        )

    def __str__(self) -> str:
        objects = '' if self.objects is None else f', {self.objects} objects'
        return (
            f'{self.images} images{objects}: outputs differ by {self.maximum:.1e} at most and '
            f'{self.mean:.1e} on average, predictions agree to {100 * self.agreement:.3f} %'
        )


def compare(model: Any, predictor: Predictor, files: Sequence[Path]) -> Comparison:
    """Run a file and the mm model in PyTorch on the same pixels.

    Args:
        model: The mm model, in eval mode and float32.
        predictor: The exported file.
        files: Images.
    """
    pairs = [_compare_image(model, predictor, file) for file in files]
    differences = np.concatenate([pair[0] for pair in pairs])
    agreements = np.array([pair[1] for pair in pairs])
    weights = np.array([pair[2] for pair in pairs])
    detects = predictor.spec.task == 'detection'
    return Comparison(
        images=len(files),
        objects=sum(pair[3] for pair in pairs) if detects else None,
        maximum=float(differences.max(initial=0.0)),
        mean=float(differences.mean()) if differences.size else 0.0,
        agreement=float(agreements @ weights / weights.sum()) if weights.any() else 1.0,
    )


def _compare_image(
    model: Any, predictor: Predictor, file: Path
) -> tuple[np.ndarray, float, float, int]:
    """Return differences of outputs, agreement, its weight and the number of objects."""
    spec = predictor.spec
    resized = predictor.prepare(file)
    height, width = resized.pixels.shape[:2]
    whole = (height, width)
    if resized.image_size != whole:
        # What is padded belongs to the image here: the mm packages do not know of it.
        resized = replace(resized, image_size=whole, original_size=whole)
    outputs = predictor.run(prepare_tensor(resized.pixels, spec))
    expected, truth = reference(model, spec.task, resized, list(outputs))
    result = read_outputs(outputs, spec, resized)
    if isinstance(result, Detections):
        assert isinstance(truth, Detections)
        return _match(truth, result)
    scale = 1.0 if spec.task == 'classification' else max(abs(v).max() for v in expected.values())
    flat, got = (
        np.concatenate([values[name].ravel() for name in expected])
        for values in (expected, outputs)
    )
    differences = np.abs(flat - got) / scale
    if isinstance(result, Segmentation):
        assert isinstance(truth, Segmentation)
        agreement = float((result.labels == truth.labels).mean())
    elif spec.task == 'classification':
        agreement = float(flat.argmax() == got.argmax())
    else:
        agreement = float(flat @ got / (np.linalg.norm(flat) * np.linalg.norm(got)))
    return differences, agreement, 1.0, 0


@torch.no_grad()
def reference(
    model: Any, task: str, resized: Resized, names: Sequence[str] = ()
) -> tuple[Outputs, Detections | Segmentation | None]:
    """Return what the mm model makes of resized pixels, by its own code from there on.

    Args:
        model: The mm model.
        task: As in :class:`casvit_mm.deploy.Spec`.
        resized: An image at the size of the network's input.
        names: Of the outputs of a backbone.

    Returns:
        Raw outputs by the names that an export gives them, none for a detector; and the prediction
        of a detector or segmentor.
    """
    image = torch.from_numpy(resized.pixels.transpose(2, 0, 1).copy())
    if task == 'detection':
        return {}, _reference_detections(model, image, resized)
    if task == 'segmentation':
        return _reference_labels(model, image, resized)
    normal = model.data_preprocessor(dict(inputs=[image]), training=False)['inputs']
    height, width = image.shape[1:]
    normal = normal[..., :height, :width]  # a backbone alone is not padded
    if task == 'classification':
        return {'scores': model(normal, mode='tensor').softmax(-1).numpy()}, None
    maps = zip(names, model.backbone(normal), strict=True)
    return {name: values.numpy() for name, values in maps}, None


def _reference_detections(model: Any, image: Tensor, resized: Resized) -> Detections:
    from mmdet.structures import DetDataSample

    height, width = resized.original_size
    sample = DetDataSample(
        metainfo=dict(
            ori_shape=resized.original_size,
            img_shape=resized.image_size,
            scale_factor=(resized.image_size[1] / width, resized.image_size[0] / height),
        )
    )
    found = model.test_step(dict(inputs=[image], data_samples=[sample]))[0].pred_instances
    boxes = found.bboxes.numpy()
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    masks = found.masks.numpy() if 'masks' in found else None
    return Detections(boxes, found.scores.numpy(), found.labels.numpy(), (), masks)


def _reference_labels(model: Any, image: Tensor, resized: Resized) -> tuple[Outputs, Segmentation]:
    from mmseg.structures import SegDataSample

    meta = dict(ori_shape=resized.original_size, img_shape=resized.image_size)
    meta['pad_shape'] = meta['img_shape']
    sample = SegDataSample(metainfo=meta)
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]), False)
    logits = model(data['inputs'], mode='tensor')
    enlarged = model.decode_head.predict_by_feat(logits, [meta])
    predicted = model.postprocess_result(enlarged, data['data_samples'])[0].pred_sem_seg
    return {'logits': logits.numpy()}, Segmentation(predicted.data[0].numpy(), ())


def _match(truth: Detections, found: Detections) -> tuple[np.ndarray, float, float, int]:
    """Match objects of one class by their overlap, the highest score first."""
    overlaps = _box_overlaps(truth.boxes, found.boxes)
    if truth.masks is not None and found.masks is not None:
        overlaps = np.minimum(overlaps, _mask_overlaps(truth.masks, found.masks))
    overlaps[truth.labels[:, None] != found.labels] = 0
    differences, gained = [], 0.0
    for number in np.argsort(-truth.scores, kind='stable'):
        best = int(overlaps[number].argmax()) if len(found.scores) else -1
        if best < 0 or overlaps[number, best] < 0.5:
            continue
        differences.append(abs(truth.scores[number] - found.scores[best]))
        gained += 2 * truth.scores[number] * overlaps[number, best]
        overlaps[:, best] = 0
    total = float(truth.scores.sum() + found.scores.sum())
    agreement = gained / total if total else 1.0
    return np.array(differences), agreement, total, len(truth.scores)


def _box_overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the intersection over union ``(N, M)`` of boxes ``(N, 4)`` and ``(M, 4)``."""
    start = np.maximum(first[:, None, :2], second[None, :, :2])
    end = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (end - start).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    return common / np.maximum(areas[0][:, None] + areas[1] - common, 1e-9)


def _mask_overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the intersection over union of masks; of two without a pixel it is one."""
    pixels = first.shape[1] * first.shape[2]
    flat = [masks.reshape(len(masks), pixels).astype(np.float32) for masks in (first, second)]
    common = flat[0] @ flat[1].T
    union = flat[0].sum(1)[:, None] + flat[1].sum(1) - common
    return np.where(union > 0, common / np.maximum(union, 1), 1.0)
