"""Effective receptive fields."""

import numpy as np
import pytest
import torch
from torch import nn

from casvit_mm.visualization.models import VisualizedModel
from casvit_mm.visualization.receptive_fields import (
    central_crops,
    effective_receptive_fields,
    smallest_square,
)
from casvit_mm.visualization.stages import Stage


class Convs(nn.Sequential):
    """3x3 convolutions with equal weights."""

    def __init__(self, number: int) -> None:
        super().__init__(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(number)))
        for conv in self:
            nn.init.ones_(conv.weight)


@pytest.mark.parametrize(('number', 'side'), [(1, 3), (2, 5), (4, 9)])
def test_the_whole_receptive_field_of_3x3_convolutions_has_their_side(number, side):
    model = Convs(number)
    visualized = VisualizedModel('convs', model, model, None)
    inputs = [torch.rand(1, 3, 20, 30), torch.rand(1, 3, 20, 30)]
    (field,) = effective_receptive_fields(visualized, [Stage(1, 1, (model,))], inputs)
    rows, columns = np.nonzero(field.gradient)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (side, side)
    assert smallest_square(field.gradient, 1.0) == side


def test_the_effective_field_of_many_convolutions_is_smaller_than_the_whole():
    model = Convs(6)
    visualized = VisualizedModel('convs', model, model, None)
    (field,) = effective_receptive_fields(
        visualized, [Stage(1, 1, (model,))], [torch.rand(1, 3, 32, 32)]
    )
    assert field.sides[0.5] < field.sides[0.9] < 13


@pytest.mark.parametrize('corner', [(0, 0), (9, 3), (19, 29)])
def test_the_smallest_square_is_found_wherever_it_lies(corner):
    gradient = np.full((20, 30), 1e-3)
    gradient[corner] = 100
    assert smallest_square(gradient, 0.99) == 1


def test_images_of_different_size_are_cut_to_the_middle_that_all_have():
    marked = torch.zeros(1, 3, 100, 130)
    marked[:, :, 50, 65] = 1
    crops = central_crops([marked, torch.zeros(1, 3, 140, 70)])
    assert {tuple(crop.shape) for crop in crops} == {(1, 3, 96, 64)}
    assert crops[0][0, 0, 48, 32] == 1
