"""CAS-ViT as a classifier with one head or two."""

import numpy as np
import pytest
import torch
from helpers import (
    GOLDEN,
    build_classifier,
    golden_input,
    official_state_dict,
    randomize_norms,
    slow_after,
)
from torch import nn

from casvit_mm import ARCHS, CASViT, InputError, load_weights

pytest.importorskip('mmpretrain')
from mmpretrain.structures import DataSample

import casvit_mm.classification  # noqa: F401

OUTPUTS = np.load(GOLDEN / 'outputs.npz')


def samples(labels: list[int]) -> list[DataSample]:
    return [DataSample().set_gt_label(label) for label in labels]


@pytest.mark.parametrize('distilled', [True, False])
@pytest.mark.parametrize('variant', slow_after(2, ARCHS))
def test_official_files_give_the_published_logits_with_two_heads_or_their_mean(
    variant, distilled, tmp_path
):
    torch.save(dict(model=official_state_dict(variant)), tmp_path / 'c.pth')
    model = build_classifier(variant, distilled=distilled).eval()
    report = load_weights(model, tmp_path / 'c.pth')
    assert sorted(report.matched) == sorted(model.state_dict())
    with torch.no_grad():
        logits = model(golden_input())
    golden = OUTPUTS[f'{variant}_logits']
    assert (logits - torch.from_numpy(golden)).abs().max() <= 1e-5 * np.abs(golden).max()


def test_official_files_with_one_head_load(tmp_path):
    state = official_state_dict('xs')
    one = {key: value for key, value in state.items() if not key.startswith('dist_head')}
    torch.save(dict(model=one), tmp_path / 'c.pth')
    model = build_classifier('xs')
    load_weights(model, tmp_path / 'c.pth')
    assert torch.equal(model.head.fc.weight, state['head.weight'])


def test_a_second_head_that_the_file_lacks_is_refused(tmp_path):
    state = official_state_dict('xs')
    one = {key: value for key, value in state.items() if not key.startswith('dist_head')}
    torch.save(dict(model=one), tmp_path / 'c.pth')
    with pytest.raises(InputError, match=r'missing: head\.fc_dist\.weight'):
        load_weights(build_classifier('xs', distilled=True), tmp_path / 'c.pth')


@pytest.mark.parametrize('weights', ['ema', 'raw'])
def test_either_set_of_weights_of_an_official_file_can_be_asked_for(weights, tmp_path):
    raw = official_state_dict('xs')
    ema = {key: value + 1 if value.is_floating_point() else value for key, value in raw.items()}
    torch.save(dict(model=raw, model_ema=ema), tmp_path / 'c.pth')
    model = CASViT('xs', out_indices=(3,))
    load_weights(model, tmp_path / 'c.pth', weights=weights)
    expected = dict(ema=ema, raw=raw)[weights]['patch_embed.0.weight']
    assert torch.equal(model.stem[0].weight, expected)


def test_averaged_weights_that_are_not_there_are_refused(tiny_arch, tmp_path):
    torch.save(dict(state_dict=CASViT(tiny_arch).state_dict()), tmp_path / 'c.pth')
    with pytest.raises(InputError, match=r'holds no averaged \(EMA\) weights'):
        load_weights(CASViT(tiny_arch), tmp_path / 'c.pth', weights='ema')


def trained(tiny_arch, path) -> nn.Module:
    """Save a classifier as a training with a moving average does, and return the average."""
    averaged, raw = build_classifier(tiny_arch, 5), build_classifier(tiny_arch, 5)
    randomize_norms(averaged)
    content = dict(
        state_dict=averaged.state_dict(),
        ema_state_dict={
            'steps': torch.tensor(7),
            **{f'module.{k}': v for k, v in raw.state_dict().items()},
        },
    )
    torch.save(content, path)
    return averaged, raw


@pytest.mark.parametrize('weights', [None, 'ema', 'raw'])
def test_a_backbone_starts_from_either_set_of_a_training_of_ours(tiny_arch, tmp_path, weights):
    averaged, raw = trained(tiny_arch, tmp_path / 'epoch_1.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'epoch_1.pth'))
    model = CASViT(tiny_arch, init_cfg={**init_cfg, 'weights': weights})
    model.init_weights()
    source = raw if weights == 'raw' else averaged
    for key, value in source.backbone.state_dict().items():
        if not key.startswith('norm'):
            assert torch.equal(model.state_dict()[key], value), key


def test_the_norm_of_a_classifier_is_no_output_norm_of_a_detector(tiny_arch, tmp_path):
    trained(tiny_arch, tmp_path / 'epoch_1.pth')
    report = load_weights(CASViT(tiny_arch, out_indices=(1, 2, 3)), tmp_path / 'epoch_1.pth')
    assert 'norm3.weight' in report.dropped
    assert {key.partition('.')[0] for key in report.kept} == {'norm1', 'norm2', 'norm3'}


def test_each_head_learns_from_the_labels_without_a_teacher(tiny_arch):
    model = build_classifier(tiny_arch, 4, distilled=True)
    loss = model.head.loss((torch.rand(3, 20),), samples([0, 1, 3]))['loss']
    loss.backward()
    assert model.head.fc.weight.grad.abs().sum() > 0
    assert model.head.fc_dist.weight.grad.abs().sum() > 0


def test_a_head_without_classes_is_refused(tiny_arch):
    with pytest.raises(ValueError, match='num_classes must be positive'):
        build_classifier(tiny_arch, 0)
