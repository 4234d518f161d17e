"""From a config and a checkpoint to a model."""

import pytest
import torch
from helpers import TINY_ARCH, build_classifier, official_state_dict

pytest.importorskip('mmpretrain')
from casvit_mm.config.building import build_model, check_device, read_model_config
from casvit_mm.errors import InputError

CONFIG = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['casvit_mm.classification'])
data_preprocessor = dict(mean=[1, 2, 3], std=[4, 5, 6], to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='CASViT', arch={arch!r}, out_indices=(3,),
        init_cfg=dict(type='Pretrained', checkpoint='nowhere.pth')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='CASViTClsHead', num_classes=7, in_channels={channels}))
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.format(arch=TINY_ARCH, channels=20))
    return path


def test_the_pretrained_weights_of_the_config_need_not_be_there(config):
    assert read_model_config(config).model.backbone.init_cfg is None


def test_the_heads_follow_the_classes_of_the_checkpoint(config, tmp_path):
    state = build_classifier(TINY_ARCH, num_classes=2).state_dict()
    meta = dict(dataset_meta=dict(classes=('cat', 'dog')))
    torch.save(dict(state_dict=state, meta=meta), tmp_path / 'two.pth')
    built = build_model(read_model_config(config), tmp_path / 'two.pth')
    assert built.classes == ('cat', 'dog')
    assert built.note == ''
    assert torch.equal(built.model.head.fc.weight, state['head.fc.weight'])
    assert not built.model.training


def test_without_class_names_the_config_keeps_its_own_number(config):
    built = build_model(read_model_config(config), need_classes=False)
    assert built.classes == ()
    assert built.model.head.fc.out_features == 7


def test_a_data_preprocessor_beside_the_model_is_taken(config):
    built = build_model(read_model_config(config), need_classes=False)
    assert built.model.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]


def test_a_key_of_an_official_file_that_does_not_fit_is_told_by_its_own_name(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.format(arch='xs', channels=220))
    state = official_state_dict('xs')
    state['network.0.0.extra.weight'] = torch.zeros(1)
    torch.save(dict(model=state), tmp_path / 'official.pth')
    with pytest.raises(InputError, match=r'unexpected: .*network\.0\.0\.extra\.weight in the file'):
        build_model(read_model_config(path), tmp_path / 'official.pth', need_classes=False)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert check_device(None) == 'cpu'
    with pytest.raises(InputError, match=r'--device cuda:3: torch finds 0 GPU'):
        check_device('cuda:3')


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="--device 'gpu' is unknown; known are cpu, cuda"):
        check_device('gpu')
