"""The models to visualize."""

import pytest
import timm
import torch
from export_models import CLASSES

from casvit_mm.visualization.models import load_config_model, load_named_model


def test_a_timm_model_takes_weights_and_its_number_of_classes_from_a_file(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model('mobilenetv3_small_050', num_classes=5)
    torch.save(model.state_dict(), tmp_path / 'w.pth')
    visualized = load_named_model(f'mobilenetv3_small_050:{tmp_path / "w.pth"}', CLASSES, 'cpu')
    assert visualized.spec.classes[4] == 'class 4'
    torch.testing.assert_close(visualized.model.state_dict(), model.state_dict())


def test_a_config_of_mmpretrain_is_found_by_name():
    pytest.importorskip('mmpretrain')
    visualized = load_config_model('mmpretrain::resnet/resnet18_8xb32_in1k.py', None, 'cpu')
    assert len(visualized.spec.classes) == 1000
