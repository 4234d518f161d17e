"""Files of weights in CAS-ViT as a model of timm, and the published numbers that they give."""

import argparse
import copy

import numpy as np
import pytest
import timm
import torch
from helpers import (
    GOLDEN,
    Malicious,
    build_classifier,
    golden_input,
    official_state_dict,
    randomize_norms,
)

from casvit_mm import ARCHS, CASViT, InputError, load_weights

OUTPUTS = np.load(GOLDEN / 'outputs.npz')
PARAMETERS_WITH_ONE_HEAD = {'xs': 2_979_700, 's': 5_507_224, 'm': 12_036_520, 't': 21_250_120}


@pytest.fixture(scope='module')
def official(tmp_path_factory):
    """A published classification file of XS, with what lies beside its weights."""
    path = tmp_path_factory.mktemp('timm') / 'cas-vit-xs.pth'
    content = dict(model=official_state_dict('xs'), epoch=299, args=argparse.Namespace(lr=6e-3))
    torch.save(content, path)
    return path


def create(name: str = 'casvit_xs', file=None, **options):
    """Build a model with the weights of ``file``."""
    overlay = dict(file=str(file)) if file else None
    return timm.create_model(
        name, pretrained=file is not None, pretrained_cfg_overlay=overlay, **options
    ).eval()


def assert_golden(value: torch.Tensor, golden: np.ndarray, largest: float) -> None:
    assert (value - torch.from_numpy(golden)).abs().max() <= 1e-5 * largest


# The published numbers


@pytest.mark.parametrize('arch', ARCHS)
def test_logits_of_the_two_headed_file_are_the_published_ones(arch, tmp_path):
    torch.save(dict(model=official_state_dict(arch)), tmp_path / 'c.pth')
    with torch.no_grad():
        logits = create(f'casvit_{arch}', tmp_path / 'c.pth')(golden_input())
    golden = OUTPUTS[f'{arch}_logits']
    assert_golden(logits, golden, np.abs(golden).max())


@pytest.mark.parametrize('arch', ARCHS)
def test_features_of_the_dense_file_are_the_published_ones(arch, tmp_path):
    state = {f'backbone.{k}': v for k, v in official_state_dict(arch, dense=True).items()}
    torch.save(dict(state_dict=state), tmp_path / 'dense.pth')
    model = create(f'casvit_{arch}', tmp_path / 'dense.pth', features_only=True)
    with torch.no_grad():
        outs = model(golden_input())
    for i, out in enumerate(outs):
        step = 2 if i < 2 else 1
        thinned = out[:, ::8, ::step, ::step] if i < 3 else out
        assert_golden(thinned, OUTPUTS[f'{arch}_feat{i}'], OUTPUTS[f'{arch}_max{i}'])


@pytest.mark.parametrize('arch', ARCHS)
def test_parameters_are_the_published_number_less_one_head(arch):
    model = create(f'casvit_{arch}', device='meta')
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS_WITH_ONE_HEAD[arch]


# Files


def test_features_of_the_classification_file_are_those_of_the_backbone(official):
    backbone = CASViT('xs', out_indices=(1, 3)).eval()
    load_weights(backbone, official)
    model = create(file=official, features_only=True, out_indices=(1, -1))
    with torch.no_grad():
        for out, expected in zip(model(golden_input()), backbone(golden_input()), strict=True):
            torch.testing.assert_close(out, expected)


@pytest.mark.skipif(not hasattr(torch.serialization, 'safe_globals'), reason='torch 2.4')
def test_checkpoint_path_takes_a_published_file(official):
    model = timm.create_model('casvit_xs', checkpoint_path=str(official)).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(golden_input()), create(file=official)(golden_input()))


def test_a_file_of_timm_loads_again(tmp_path):
    model = create()
    randomize_norms(model)
    torch.save(model.state_dict(), tmp_path / 'own.pth')
    for again in (
        create(file=tmp_path / 'own.pth'),
        timm.create_model('casvit_xs', checkpoint_path=str(tmp_path / 'own.pth')).eval(),
    ):
        torch.testing.assert_close(again(golden_input()), model(golden_input()))


def test_the_keys_are_those_of_our_mmpretrain_classifier():
    pytest.importorskip('mmpretrain')
    assert set(create().state_dict()) == set(build_classifier('xs').state_dict())


def test_a_state_dict_in_memory_loads(official):
    state = official_state_dict('xs')
    model = timm.create_model(
        'casvit_xs', pretrained=True, pretrained_cfg_overlay=dict(state_dict=state)
    ).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(golden_input()), create(file=official)(golden_input()))


def test_a_copy_takes_published_keys_into_itself():
    model = create()
    copied = copy.deepcopy(model)
    before = model.backbone.stem[0].weight.clone()
    copied.load_state_dict(official_state_dict('xs'))
    expected = official_state_dict('xs')['patch_embed.0.weight']
    assert torch.equal(copied.backbone.stem[0].weight, expected)
    assert torch.equal(model.backbone.stem[0].weight, before)


def test_one_channel_takes_the_sum_of_the_stem_over_three(official):
    stem = create(file=official, in_chans=1).backbone.stem[0].weight
    expected = official_state_dict('xs')['patch_embed.0.weight'].sum(1, keepdim=True)
    torch.testing.assert_close(stem.detach(), expected)


def test_other_classes_keep_everything_but_the_classifier(official):
    model, full = create(file=official, num_classes=5), create(file=official)
    with torch.no_grad():
        torch.testing.assert_close(
            model.forward_features(golden_input()), full.forward_features(golden_input())
        )
        assert model(golden_input()).shape == (2, 5)


@pytest.mark.parametrize('options', [dict(num_classes=0), dict(num_classes=0, in_chans=1)])
def test_no_classes_take_the_backbone_alone(official, options):
    model = create(file=official, **options)
    assert torch.equal(model.backbone.norm3.weight, official_state_dict('xs')['norm.weight'])


def test_a_file_of_other_classes_needs_to_be_told(tmp_path):
    torch.save(create(num_classes=5).state_dict(), tmp_path / 'five.pth')
    with pytest.raises(InputError, match=r'head\.fc\.weight: file \(5, 220\), model \(1000, 220\)'):
        create(file=tmp_path / 'five.pth')
    overlay = dict(file=str(tmp_path / 'five.pth'), num_classes=5)
    timm.create_model('casvit_xs', pretrained=True, pretrained_cfg_overlay=overlay)


@pytest.mark.parametrize('options', [{}, dict(num_classes=5), dict(in_chans=1)])
def test_a_file_of_another_variant_is_refused_however_the_model_differs(official, options):
    with pytest.raises(InputError, match=r'\d+/\d+ keys matched'):
        create('casvit_s', official, **options)


def test_a_file_without_a_classifier_is_refused_where_one_is_asked_for(tmp_path):
    torch.save(CASViT('xs', out_indices=(3,)).state_dict(), tmp_path / 'bare.pth')
    with pytest.raises(InputError, match=r'holds no classifier; .* num_classes=0'):
        create(file=tmp_path / 'bare.pth')
    create(file=tmp_path / 'bare.pth', num_classes=0)


def test_pretrained_without_a_file_says_where_it_belongs():
    advice = r'(?s)checkpoints/cas-vit-m\.pth.*download-weights cas-vit-m'
    with pytest.raises(InputError, match=advice):
        timm.create_model('casvit_m', pretrained=True)


@pytest.mark.parametrize('way', ['file', 'file for 5 classes', 'features', 'checkpoint_path'])
def test_code_in_a_file_does_not_run(tmp_path, way):
    content = dict(model=official_state_dict('xs'), optimizer=Malicious(tmp_path / 'ran'))
    path = tmp_path / 'evil.pth'
    torch.save(content, path)
    load = {
        'file': lambda: create(file=path),
        'file for 5 classes': lambda: create(file=path, num_classes=5),
        'features': lambda: create(file=path, features_only=True),
        'checkpoint_path': lambda: timm.create_model('casvit_xs', checkpoint_path=str(path)),
    }[way]
    with pytest.raises((InputError, RuntimeError), match=r'posix\.mkdir|weights_only'):
        load()
    assert not (tmp_path / 'ran').exists()
