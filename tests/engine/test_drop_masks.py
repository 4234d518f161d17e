"""What is dropped of an image, whatever the number of processes that share a batch."""

import copy

import pytest
import torch
from timm.layers import DropPath
from torch import nn
from torch.utils.checkpoint import checkpoint

from casvit_mm.engine.drop_masks import BatchPart, drop_by_part


def of_part(module, first, step):
    """A model of one module, in training, that draws for a part of the images."""
    model = nn.Sequential(copy.deepcopy(module)).train()
    drop_by_part(model, BatchPart(first, step))
    return model


def run(model, images):
    torch.manual_seed(7)
    return model(images)


@pytest.mark.parametrize('step', [2, 4])
@pytest.mark.parametrize(
    'module', [DropPath(0.4), DropPath(0.4, scale_by_keep=False), nn.Dropout2d(0.4)], ids=repr
)
def test_parts_drop_what_a_whole_batch_drops(module, step):
    images = torch.rand(8, 5, 3, 2) + 1
    whole = run(nn.Sequential(module).train(), images)
    assert 0 < (whole == 0).sum() < whole.numel()
    for first in range(step):
        dropped = run(of_part(module, first, step), images[first::step])
        torch.testing.assert_close(dropped, whole[first::step])


def test_parts_drop_single_numbers_differently_and_again_alike():
    """Gradient checkpointing computes twice: what it drops must be the same."""
    images = torch.ones(2, 500, requires_grad=True)
    first, second = (run(of_part(nn.Dropout(0.2), part, 2), images) for part in (0, 1))
    assert set(first.unique().tolist()) == {0, 1.25}
    assert 0.1 < (first == 0).float().mean() < 0.3
    assert not torch.equal(first, second)
    model = of_part(nn.Dropout(0.2), 0, 2)
    dropped = checkpoint(lambda x: model(x) * x, images, use_reentrant=False)
    (gradient,) = torch.autograd.grad(dropped.sum(), images)
    torch.testing.assert_close(gradient, 2 * dropped)


def test_what_sees_all_images_and_what_is_evaluated_is_left_alone():
    model = nn.Sequential(DropPath(0.4), nn.Dropout(0.4), nn.Dropout2d(0.4))
    kinds = [type(module) for module in model]
    drop_by_part(model, BatchPart(0, 1))
    assert [type(module) for module in model] == kinds
    drop_by_part(model.eval(), BatchPart(0, 2))
    images = torch.rand(2, 3, 4, 5)
    assert model(images) is images
