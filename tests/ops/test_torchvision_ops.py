"""The operators lent to mmcv equal their definitions, and mmcv's own where it has them."""

import sys

import pytest
import torch

from casvit_mm import ops
from casvit_mm.ops import torchvision_ops

pytest.importorskip('torchvision')
mmcv_ops = pytest.importorskip('mmcv.ops')


@pytest.fixture(autouse=True)
def our_operators(request, monkeypatch):
    """Let mmcv's functions call ours, also where compiled ones are installed."""
    if request.cls is None:
        for name in ('nms', 'roi_align', 'focal_loss'):
            module = sys.modules[f'mmcv.ops.{name}']
            monkeypatch.setattr(module, 'ext_module', torchvision_ops)


def random_boxes(n: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    corner = torch.rand(n, 2, generator=generator) * 40
    size = torch.rand(n, 2, generator=generator) * 30 + 1
    scores = torch.randperm(n, generator=generator) / n
    return torch.cat([corner, corner + size], 1).to(dtype), scores.to(dtype)


def plain_nms(
    boxes: torch.Tensor, scores: torch.Tensor, threshold: float, offset: int
) -> list[int]:
    """Greedy suppression by its definition, in float64."""
    boxes = boxes.double()
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        overlaps = []
        for j in kept:
            size = torch.minimum(boxes[i, 2:], boxes[j, 2:]) - torch.maximum(
                boxes[i, :2], boxes[j, :2]
            )
            inter = (size + offset).clamp(min=0).prod()
            areas = [(boxes[k, 2:] - boxes[k, :2] + offset).prod() for k in (i, j)]
            overlaps.append(inter / (areas[0] + areas[1] - inter))
        if all(overlap <= threshold for overlap in overlaps):
            kept.append(i)
    return kept


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.3, 0.5])
def test_nms_equals_its_definition(dtype, offset, threshold):
    boxes, scores = random_boxes(90, dtype)
    dets, kept = mmcv_ops.nms(boxes, scores, threshold, offset=offset)
    expected = plain_nms(boxes, scores, threshold, offset)
    assert 1 < len(expected) < 90
    assert kept.tolist() == expected
    assert dets.shape == (len(expected), 5)


def test_nms_offset_changes_the_outcome():
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 2]])  # IoU 1/2 without, 4/6 with the offset
    scores = torch.tensor([0.9, 0.8])
    assert mmcv_ops.nms(boxes, scores, 0.6, offset=0)[1].tolist() == [0, 1]
    assert mmcv_ops.nms(boxes, scores, 0.6, offset=1)[1].tolist() == [0]


def test_batched_nms_suppresses_within_a_class_only():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 11]])
    scores, classes = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 0])
    _, kept = mmcv_ops.batched_nms(boxes, scores, classes, dict(type='nms', iou_threshold=0.5))
    assert kept.tolist() == [0, 1]


def test_empty_inputs_give_empty_outputs():
    dets, kept = mmcv_ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5)
    assert kept.shape == (0,)
    features = torch.rand(1, 3, 8, 8, requires_grad=True)
    out = mmcv_ops.roi_align(features, torch.zeros(0, 5), 7, 0.5, 0, 'avg', True)
    out.sum().backward()
    assert out.shape == (0, 3, 7, 7)
    assert features.grad.abs().sum() == 0


def plain_roi_align(
    x: torch.Tensor, rois: torch.Tensor, size: int, scale: float, ratio: int, aligned: bool
) -> torch.Tensor:
    """RoIAlign by its definition: the mean of bilinear samples on a regular grid per bin."""
    channels, height, width = x.shape[1:]
    out = x.new_zeros(len(rois), channels, size, size)
    for n, (index, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (c * scale - (0.5 if aligned else 0.0) for c in corners)
        w, h = x2 - x1, y2 - y1
        if not aligned:
            w, h = max(w, 1.0), max(h, 1.0)
        per_y = ratio if ratio > 0 else -int(-h // size)
        per_x = ratio if ratio > 0 else -int(-w // size)
        for i in range(size):
            for j in range(size):
                for a in range(per_y):
                    for b in range(per_x):
                        sy = y1 + (i + (a + 0.5) / per_y) * h / size
                        sx = x1 + (j + (b + 0.5) / per_x) * w / size
                        if -1 <= sy <= height and -1 <= sx <= width:
                            sy, sx = (min(max(v, 0), m - 1) for v, m in ((sy, height), (sx, width)))
                            y, z = min(int(sy), height - 2), min(int(sx), width - 2)
                            fy, fx = sy - y, sx - z
                            image = x[int(index)]
                            out[n, :, i, j] += (
                                (1 - fy) * (1 - fx) * image[:, y, z]
                                + (1 - fy) * fx * image[:, y, z + 1]
                                + fy * (1 - fx) * image[:, y + 1, z]
                                + fy * fx * image[:, y + 1, z + 1]
                            )
                out[n, :, i, j] /= max(per_y * per_x, 1)
    return out


ROIS = torch.tensor(
    [[0, 2.3, 1.1, 21.7, 25.2], [1, 0, 0, 8, 5], [1, 20, 18, 37, 30], [0, 5, 5, 5.3, 5.2]]
)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_roi_align_and_its_gradient_equal_the_definition(aligned, ratio):
    torch.manual_seed(0)
    rois = ROIS.double()
    features = torch.rand(2, 3, 16, 17, dtype=torch.float64)
    results = []
    for function in (
        lambda x: mmcv_ops.roi_align(x, rois, 4, 0.5, ratio, 'avg', aligned),
        lambda x: plain_roi_align(x, rois, 4, 0.5, ratio, aligned),
    ):
        x = features.clone().requires_grad_()
        out = function(x)
        (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
        results.append((out.detach(), x.grad))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_roi_align_in_half_precision_is_near_full_precision():
    features = torch.rand(2, 3, 16, 17)
    full = mmcv_ops.roi_align(features, ROIS, 4, 0.5, 0, 'avg', True)
    x = features.half().requires_grad_()
    half = mmcv_ops.roi_align(x, ROIS.half(), 4, 0.5, 0, 'avg', True)
    half.sum().backward()
    assert half.dtype == x.grad.dtype == torch.float16
    torch.testing.assert_close(half.float(), full, atol=2e-2, rtol=1e-2)


def plain_focal_loss(logits, target, weight, gamma, alpha):
    p = logits.sigmoid()
    loss = torch.zeros_like(p)
    for row, label in enumerate(target.tolist()):
        for column in range(p.size(1)):
            q = p[row, column]
            if label == column:
                loss[row, column] = -alpha * (1 - q) ** gamma * q.log()
            else:
                loss[row, column] = -(1 - alpha) * q**gamma * (1 - q).log()
            if weight is not None:
                loss[row, column] = loss[row, column] * weight[label]
    return loss


@pytest.mark.parametrize('weighted', [False, True])
def test_sigmoid_focal_loss_and_its_gradient_equal_the_definition(weighted):
    torch.manual_seed(0)
    logits = torch.randn(6, 4, dtype=torch.float64) * 3
    target = torch.tensor([0, 3, 1, 2, 2, 0] if weighted else [0, 3, 4, 2, 4, 0])  # 4: background
    weight = torch.rand(4, dtype=torch.float64) if weighted else None
    results = []
    for function in (
        lambda x: mmcv_ops.sigmoid_focal_loss(x, target, 2.0, 0.25, weight, 'sum'),
        lambda x: plain_focal_loss(x, target, weight, 2.0, 0.25).sum(),
    ):
        x = logits.clone().requires_grad_()
        loss = function(x)
        loss.backward()
        results.append((loss.detach(), x.grad))
    torch.testing.assert_close(results[0], results[1])


def test_an_operator_that_is_not_lent_names_itself_and_the_fix():
    with pytest.raises(NotImplementedError, match=r"'softnms'.*install compiled mmcv"):
        mmcv_ops.soft_nms(*random_boxes(4))
    with pytest.raises(NotImplementedError, match="pool_mode='max'"):
        mmcv_ops.roi_align(torch.rand(1, 1, 4, 4), ROIS[:1], 2, 1.0, 0, 'max', True)


@pytest.mark.skipif(ops.operator_source() != 'compiled', reason='needs an mmcv with compiled ops')
class TestAgainstCompiled:
    """Ours, called directly, against mmcv's own kernels."""

    @pytest.mark.parametrize('offset', [0, 1])
    def test_nms(self, offset):
        boxes, scores = random_boxes(300)
        expected = mmcv_ops.nms(boxes, scores, 0.5, offset=offset)[1]
        assert torch.equal(torchvision_ops.nms(boxes, scores, 0.5, offset), expected)

    @pytest.mark.parametrize('aligned', [True, False])
    @pytest.mark.parametrize('ratio', [0, 2])
    def test_roi_align(self, aligned, ratio):
        x = torch.rand(2, 3, 16, 17, requires_grad=True)
        expected = mmcv_ops.roi_align(x, ROIS, 4, 0.5, ratio, 'avg', aligned)
        expected.square().sum().backward()
        arguments = (4, 4, 0.5, ratio, 1, aligned)
        empty = torch.zeros(0)
        output, grad = torch.zeros(4, 3, 4, 4), torch.zeros(2, 3, 16, 17)
        torchvision_ops.roi_align_forward(x.detach(), ROIS, output, empty, empty, *arguments)
        torch.testing.assert_close(output, expected.detach())
        torchvision_ops.roi_align_backward(2 * output, ROIS, empty, empty, grad, *arguments)
        torch.testing.assert_close(grad, x.grad)
