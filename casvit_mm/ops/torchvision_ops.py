"""What our models need of ``mmcv._ext``, computed by torchvision's CPU and CUDA kernels.

Names and argument names are those under which mmcv 2 calls its compiled operators. Any other
operator exists too, and raises when it is called: mmcv asks for all of them when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import torch
import torchvision
from torch import Tensor

from casvit_mm.errors import InputError

__all__ = [
    'get_compiler_version',
    'get_compiling_cuda_version',
    'nms',
    'roi_align_backward',
    'roi_align_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
]


class MissingOperatorError(InputError, NotImplementedError):
    """An operator that is called is neither compiled nor lent."""


_AVERAGE = 1  # mmcv's number for pool_mode='avg'


def _full(x: Tensor) -> Tensor:
    """Return ``x`` in a precision that every kernel has: half types become float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Non-maximum suppression: indices of the kept boxes, highest score first.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: Boxes that overlap a better one by more than this are dropped.
        offset: 1 counts the last pixel into width and height, 0 does not.

    Returns:
        (K,) indices into ``boxes``, int64.
    """
    # x2 + 1 in both area and intersection is what offset=1 means, so the kernel need not know.
    shift = boxes.new_tensor([0, 0, offset, offset])
    boxes = _full(boxes) + _full(shift)
    return torchvision.ops.nms(boxes, scores.to(boxes.dtype), iou_threshold)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign by averaging (https://arxiv.org/abs/1703.06870, section 3), written to ``output``.

    Args:
        input: (B, C, H, W).
        rois: (K, 5) as image index, x1, y1, x2, y2.
        output: (K, C, aligned_height, aligned_width), filled in place.
        argmax_y: Unused; mmcv needs it for pooling by maximum.
        argmax_x: Unused, likewise.
        aligned_height: Rows of the output.
        aligned_width: Columns of the output.
        spatial_scale: Multiplies the coordinates of ``rois``.
        sampling_ratio: Samples per bin and axis; 0 takes as many as the bin has pixels.
        pool_mode: 1, mmcv's number for averaging.
        aligned: Shift by half a pixel, the exact form; False is the older one.

    Raises:
        NotImplementedError: If ``pool_mode`` asks for pooling by maximum.
    """
    _require_average(pool_mode)
    if rois.numel():
        pooled = torch.ops.torchvision.roi_align(
            _full(input),
            _full(rois),
            spatial_scale,
            aligned_height,
            aligned_width,
            sampling_ratio,
            aligned,
        )
        output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward` for its input, written to ``grad_input``."""
    _require_average(pool_mode)
    if rois.numel():
        grad = torch.ops.torchvision._roi_align_backward(
            _full(grad_output),
            _full(rois),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
        grad_input.copy_(grad)


def _require_average(pool_mode: int) -> None:
    if pool_mode != _AVERAGE:
        _raise_missing("roi_align with pool_mode='max'")


def _focal_loss(
    input: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    """Sigmoid focal loss per logit, (N, C); a target outside [0, C) is background."""
    classes = torch.arange(input.size(1), device=input.device)
    one_hot = (target[:, None] == classes).to(input.dtype)
    loss = torchvision.ops.sigmoid_focal_loss(input, one_hot, alpha, gamma, reduction='none')
    if weight.numel():  # mmcv weighs a row by its target class; background rows have none
        row_weight = weight[target.clamp(0, input.size(1) - 1)].to(input.dtype)
        loss = loss * row_weight[:, None]
    return loss


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Sigmoid focal loss (https://arxiv.org/abs/1708.02002, section 3), written to ``output``.

    Args:
        input: (N, C) logits.
        target: (N,) class of each row, int64; C is background.
        weight: (C,) weight of each class, or empty.
        output: (N, C), filled in place.
        gamma: Focusing exponent.
        alpha: Weight of the positive term; the negative one weighs ``1 - alpha``.
    """
    output.copy_(_focal_loss(_full(input), target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Gradient of :func:`sigmoid_focal_loss_forward` for its input, written to ``grad_input``."""
    with torch.enable_grad():
        logits = _full(input).detach().requires_grad_()
        loss = _focal_loss(logits, target, weight, gamma, alpha).sum()
        grad_input.copy_(torch.autograd.grad(loss, logits)[0])


def get_compiler_version() -> str:
    """Return what mmcv's environment report shows as compiler."""
    return f'none, operators of torchvision {torchvision.__version__}'


def get_compiling_cuda_version() -> str:
    """Return what mmcv's environment report shows as CUDA version."""
    return torch.version.cuda or 'none'


def _raise_missing(name: str) -> NoReturn:
    raise MissingOperatorError(
        f'mmcv operator {name!r} is compiled code, and this mmcv was installed without any. '
        'casvit_mm lends it nms, RoIAlign and sigmoid focal loss from torchvision; for the others '
        'install compiled mmcv: https://mmcv.readthedocs.io/en/latest/get_started/installation.html'
    )


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith('__'):
        raise AttributeError(name)

    def missing(*args: object, **kwargs: object) -> NoReturn:
        _raise_missing(name)

    return missing
