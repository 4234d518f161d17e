"""The operators of detectors on a GPU give what they give on the CPU, in half precision too."""

import pytest
import torch

mmcv_ops = pytest.importorskip('mmcv.ops')
losses = pytest.importorskip('mmdet.models.losses')

pytestmark = pytest.mark.gpu


def draw(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def boxes_and_scores(number=200):
    corners = 40 * draw(number, 2)
    boxes = torch.cat([corners, corners + 1 + 30 * draw(number, 2, seed=1)], 1)
    order = torch.randperm(number, generator=torch.Generator().manual_seed(2))
    return boxes, order / number


@pytest.mark.parametrize('half', [False, True])
def test_nms_keeps_the_same_boxes(gpu, half):
    boxes, scores = boxes_and_scores()
    if half:  # both get the same rounded boxes
        boxes = boxes.half().float()
    labels = torch.arange(len(boxes)) % 3
    cfg = dict(type='nms', iou_threshold=0.5)
    _, expected = mmcv_ops.batched_nms(boxes, scores, labels, cfg)
    on_gpu = boxes.to(gpu, torch.float16 if half else torch.float32)
    _, found = mmcv_ops.nms(on_gpu, scores.to(gpu), 0.5)
    _, alone = mmcv_ops.nms(boxes, scores, 0.5)
    assert 1 < len(expected) < len(boxes)
    assert found.tolist() == alone.tolist()
    _, found = mmcv_ops.batched_nms(boxes.to(gpu), scores.to(gpu), labels.to(gpu), cfg)
    assert found.tolist() == expected.tolist()


def test_the_focal_loss_and_its_gradient_are_the_same(gpu):
    logits, targets = 6 * draw(64, 5) - 3, torch.arange(64) % 6  # 5 is background
    found = []
    for device in ('cpu', gpu):
        x = logits.clone().to(device).requires_grad_()
        loss = losses.FocalLoss()(x, targets.to(device), avg_factor=7.0)
        loss.backward()
        found.append((loss.detach().cpu(), x.grad.cpu()))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


def test_the_operator_of_the_focal_loss_is_its_definition(gpu):
    logits, targets = 6 * draw(64, 5) - 3, torch.arange(64) % 6
    found = mmcv_ops.sigmoid_focal_loss(logits.to(gpu), targets.to(gpu), 2.0, 0.25, None, 'none')
    p, truth = logits.double().sigmoid(), torch.nn.functional.one_hot(targets, 6)[:, :5].double()
    expected = -0.25 * truth * (1 - p) ** 2 * p.log() - 0.75 * (1 - truth) * p**2 * (1 - p).log()
    torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-4, atol=1e-6)


def test_roi_align_and_its_gradient_are_the_same(gpu):
    maps, (boxes, _) = draw(2, 4, 20, 24), boxes_and_scores(12)
    rois = torch.cat([(torch.arange(12) % 2)[:, None].float(), boxes], 1)
    found = []
    for device in ('cpu', gpu):
        x = maps.clone().to(device).requires_grad_()
        pooled = mmcv_ops.roi_align(x, rois.to(device), 7, 0.25, 0, 'avg', True)
        pooled.square().sum().backward()
        found.append((pooled.detach().cpu(), x.grad.cpu()))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
