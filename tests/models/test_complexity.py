"""Multiply-adds."""

import pytest
import torch
from torch import nn

from casvit_mm.models import CASViT
from casvit_mm.models.complexity import multiply_adds
from casvit_mm.models.token_mixers import MultiHeadTokenMixer


def test_multiply_adds_are_near_the_published_number():
    # 0.56 G, which counts norms and pooling as well.
    counted = multiply_adds(CASViT('xs', out_indices=(3,)).eval(), torch.rand(1, 3, 224, 224))
    assert counted / 1e9 == pytest.approx(0.56, rel=0.03)


def test_attention_is_counted_though_it_is_one_operator():
    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    # Two products of 16 x 16 tokens, 8 channels each.
    assert multiply_adds(Attention(), torch.rand(1, 1, 16, 8)) == 2 * 16 * 16 * 8


def test_multiply_adds_are_counted_without_computing():
    # With the scores of all pairs, this would take a terabyte.
    mixer = MultiHeadTokenMixer(8).to('meta')
    assert multiply_adds(mixer, torch.rand(1, 8, 700, 700, device='meta')) > 2 * 700**4 * 8
