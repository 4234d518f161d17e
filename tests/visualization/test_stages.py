"""The stages of any backbone."""

import pytest
import timm
import torch

from casvit_mm.visualization.models import load_config_model
from casvit_mm.visualization.stages import as_map, find_stages


@pytest.mark.parametrize('shape', [(1, 5, 6, 8), (1, 6, 8, 5), (1, 48, 5), (1, 49, 5)])
def test_maps_and_tokens_become_one_layout(shape):
    assert as_map(torch.rand(shape), torch.rand(1, 3, 96, 128), 16).shape == (1, 5, 6, 8)


def test_the_stages_of_another_backbone_end_where_its_stride_changes():
    model = timm.create_model('resnet10t').eval()
    stages = find_stages(model, torch.rand(1, 3, 64, 96))
    ends = [model.layer1, model.layer2, model.layer3, model.layer4]
    assert [stage.end for stage in stages] == ends
    assert [stage.stride for stage in stages] == [4, 8, 16, 32]


def test_the_stages_of_cas_vit_end_with_their_last_blocks(written):
    backbone = load_config_model(*written['classification'], 'cpu').backbone
    stages = find_stages(backbone, torch.rand(1, 3, 64, 96))
    assert [stage.end for stage in stages] == [stage[-1] for stage in backbone.stages]
