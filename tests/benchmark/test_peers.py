"""Models of timm beside ours."""

import pytest
import torch
from helpers import randomize_norms
from timm import is_model
from timm.layers import BatchNormAct2d
from torch import nn

from casvit_mm.benchmark.peers import OURS, PEERS, count_norms, fold_norms, peers_of


@pytest.mark.parametrize('name', PEERS)
def test_timm_has_every_peer(name):
    assert is_model(name)


def test_every_peer_belongs_to_one_of_ours():
    assert sorted(name for ours in OURS for name in peers_of([ours])) == sorted(PEERS)


class Branching(nn.Module):
    """What torch.fx cannot follow, around what it can."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), BatchNormAct2d(4), nn.Conv2d(4, 4, 1))
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.body(x)
        return self.norm(x) if x.sum() < 1e9 else x


def test_norms_are_folded_where_the_forward_can_be_followed():
    model = Branching().double().eval()
    randomize_norms(model)
    folded = fold_norms(model)
    x = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(folded(x), model(x))
    assert (count_norms(model), count_norms(folded)) == (2, 1)
