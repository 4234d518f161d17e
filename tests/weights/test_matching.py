import argparse
import pickle

import numpy as np
import pytest
import torch
from helpers import (
    GOLDEN,
    PARAMETERS,
    Malicious,
    golden_input,
    official_state_dict,
    randomize_norms,
    slow_after,
)
from mmengine.analysis import get_model_complexity_info
from safetensors.torch import save_file

from casvit_mm import ARCHS, CASViT, InputError, load_weights
from casvit_mm.weights.matching import check_fit, read_checkpoint

OUTPUTS = np.load(GOLDEN / 'outputs.npz')
PUBLISHED_GFLOPS = {'xs': 0.56, 's': 0.932, 'm': 1.887, 't': 3.597}


def assert_close(value: torch.Tensor, golden: np.ndarray, largest: float) -> None:
    """Compare within 1e-5 of the largest magnitude, the agreement that float32 allows."""
    difference = (value - torch.from_numpy(golden)).abs().max()
    assert difference <= 1e-5 * largest


@pytest.mark.parametrize('variant', ARCHS)
def test_features_equal_the_published_code(variant, tmp_path):
    state = {f'backbone.{k}': v for k, v in official_state_dict(variant, dense=True).items()}
    torch.save(dict(state_dict=state, meta=dict(epoch=12)), tmp_path / 'dense.pth')
    model = CASViT(variant).eval()
    report = load_weights(model, tmp_path / 'dense.pth')
    assert len(report.matched) == len(model.state_dict())
    with torch.no_grad():
        outs = model(golden_input())
    for i, out in enumerate(outs):
        step = 2 if i < 2 else 1
        thinned = out[:, ::8, ::step, ::step] if i < 3 else out
        assert_close(thinned, OUTPUTS[f'{variant}_feat{i}'], OUTPUTS[f'{variant}_max{i}'])


@pytest.mark.parametrize('variant', ARCHS)
def test_logits_equal_the_published_code(variant, tmp_path):
    state = official_state_dict(variant)
    torch.save(dict(model=state, epoch=299, args=argparse.Namespace(lr=6e-3)), tmp_path / 'c.pth')
    model = CASViT(variant, out_indices=(3,)).eval()
    report = load_weights(model, tmp_path / 'c.pth')
    assert sorted(report.dropped) == [
        'dist_head.bias',
        'dist_head.weight',
        'head.bias',
        'head.weight',
    ]
    with torch.no_grad():
        pooled = model(golden_input())[0].mean((2, 3))
    heads = [pooled @ state[f'{h}.weight'].T + state[f'{h}.bias'] for h in ('head', 'dist_head')]
    golden = OUTPUTS[f'{variant}_logits']
    assert_close((heads[0] + heads[1]) / 2, golden, np.abs(golden).max())


@pytest.mark.parametrize('variant', ARCHS)
def test_parameters_with_both_heads_are_the_published_number(variant):
    model = CASViT(variant, out_indices=(3,))
    heads = 2 * (model.out_channels[0] * 1000 + 1000)
    assert sum(p.numel() for p in model.parameters()) + heads == PARAMETERS[variant]


@pytest.mark.parametrize('variant', slow_after(2, ARCHS))
def test_multiply_adds_are_the_published_number(variant):
    model = CASViT(variant, out_indices=(3,)).eval()
    counted = get_model_complexity_info(model, (3, 224, 224), show_table=False, show_arch=False)
    # The heads' own share, as the published count includes them.
    flops = counted['flops'] + 2 * model.out_channels[0] * 1000
    assert flops / 1e9 == pytest.approx(PUBLISHED_GFLOPS[variant], rel=0.015)


def test_classification_form_leaves_the_output_norms_of_a_dense_backbone_alone(tmp_path):
    torch.save(dict(model=official_state_dict('xs')), tmp_path / 'c.pth')
    model = CASViT('xs')
    randomize_norms(model)
    before = model.norm3.weight.clone()
    report = load_weights(model, tmp_path / 'c.pth')
    assert {key.partition('.')[0] for key in report.kept} == {'norm0', 'norm1', 'norm2', 'norm3'}
    assert 'norm.weight' in report.dropped
    assert torch.equal(model.norm3.weight, before)


@pytest.mark.parametrize(
    ('sets', 'weights', 'expected'),
    [
        (('model', 'model_ema'), None, 'model'),
        (('model', 'model_ema'), 'ema', 'model_ema'),
        (('model', 'model_ema'), 'raw', 'model'),
        (('model_ema',), None, 'model_ema'),
    ],
)
def test_either_set_of_an_official_classification_file_loads(sets, weights, expected, tmp_path):
    state = official_state_dict('xs')
    states = {name: {k: v + i for k, v in state.items()} for i, name in enumerate(sets)}
    args = argparse.Namespace(input_size=384, model_ema=True)
    torch.save(dict(states, optimizer=dict(state={}), args=args), tmp_path / 'c.pth')
    model = CASViT('xs')
    load_weights(model, tmp_path / 'c.pth', weights)
    assert torch.equal(model.stem[0].weight, states[expected]['patch_embed.0.weight'])


def test_names_that_other_networks_share_are_left_alone(tmp_path):
    state = {
        'patch_embed.proj.weight': torch.zeros(1),
        'network.0.0.mlp.fc1.weight': torch.zeros(1),
    }
    torch.save(state, tmp_path / 'swin.pth')
    assert set(read_checkpoint(tmp_path / 'swin.pth')['state_dict']) == set(state)


def test_stages_that_were_not_built_are_dropped(tmp_path):
    torch.save(official_state_dict('xs', dense=True), tmp_path / 'bare.pth')
    report = load_weights(CASViT('xs', out_indices=(0, 1)), tmp_path / 'bare.pth')
    assert not report.kept
    assert any(key.startswith('stages.3.') for key in report.dropped)


def test_init_cfg_loads_through_the_same_strict_door(tmp_path):
    torch.save(dict(model=official_state_dict('xs')), tmp_path / 'c.pth')
    model = CASViT('xs', init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth')))
    model.init_weights()
    expected = official_state_dict('xs')['patch_embed.0.weight']
    assert torch.equal(model.stem[0].weight, expected)
    wrong = CASViT('s', init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth')))
    with pytest.raises(InputError, match=r'\d+/\d+ keys matched'):
        wrong.init_weights()


def test_safetensors_and_our_own_keys_load(tiny_arch, tmp_path):
    source, target = CASViT(tiny_arch), CASViT(tiny_arch)
    save_file(source.state_dict(), tmp_path / 'w.safetensors')
    load_weights(target, tmp_path / 'w.safetensors')
    assert all(
        torch.equal(a, b)
        for a, b in zip(source.state_dict().values(), target.state_dict().values())
    )


def test_a_whole_detector_file_fills_the_backbone_alone(tiny_arch, tmp_path):
    source = CASViT(tiny_arch)
    state = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    torch.save(dict(state_dict={**state, 'neck.conv.weight': torch.zeros(1)}), tmp_path / 'd.pth')
    report = load_weights(CASViT(tiny_arch), tmp_path / 'd.pth')
    assert report.dropped == ['neck.conv.weight']


def test_a_whole_model_does_not_keep_an_output_norm_that_its_file_lacks(tiny_arch):
    model = torch.nn.Module()
    model.backbone, model.neck = CASViT(tiny_arch), torch.nn.Linear(2, 2)
    state = model.state_dict()
    assert set(check_fit(model, state, 'whole.pth')) == set(state)
    del state['backbone.norm2.weight']
    with pytest.raises(InputError, match=r'missing: backbone\.norm2\.weight'):
        check_fit(model, state, 'whole.pth')


@pytest.mark.parametrize('deeper', [False, True])
def test_a_misfit_counts_the_matches_and_leaves_the_model_untouched(tiny_arch, tmp_path, deeper):
    arch = (
        dict(tiny_arch, depths=(2, 1, 1, 1))
        if deeper
        else dict(tiny_arch, embed_dims=(8, 12, 16, 24))
    )
    torch.save(CASViT(arch).state_dict(), tmp_path / 'other.pth')
    model = CASViT(tiny_arch)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(InputError, match=rf'\d+/{len(before)} keys matched'):
        load_weights(model, tmp_path / 'other.pth')
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_missing_file_says_where_to_get_it_and_how_to_do_without(tiny_arch):
    with pytest.raises(InputError, match=r'(?s)nowhere\.pth.*download-weights.*--from-scratch'):
        load_weights(CASViT(tiny_arch), 'nowhere.pth')


@pytest.mark.parametrize('size', [0, 100, 5000])
def test_a_truncated_file_is_named(tiny_arch, tmp_path, size):
    torch.save(CASViT(tiny_arch).state_dict(), tmp_path / 'w.pth')
    data = (tmp_path / 'w.pth').read_bytes()
    (tmp_path / 'w.pth').write_bytes(data[:size])
    with pytest.raises(InputError, match=r"w\.pth' \(\d+ bytes\) is cut short"):
        load_weights(CASViT(tiny_arch), tmp_path / 'w.pth')


def test_harmless_training_leftovers_are_accepted(tiny_arch, tmp_path):
    content = dict(
        model=CASViT(tiny_arch).state_dict(),
        args=argparse.Namespace(lr=1.0),
        accuracy=np.float64(78.3),
        history=np.arange(3.0),
    )
    torch.save(content, tmp_path / 'w.pth')
    load_weights(CASViT(tiny_arch), tmp_path / 'w.pth')


@pytest.mark.parametrize('place', ['model', 'optimizer', 'args', 'message_hub'])
def test_code_in_a_file_is_refused_by_name_and_does_not_run(tiny_arch, tmp_path, place):
    content = dict(model=CASViT(tiny_arch).state_dict(), optimizer={}, args={}, message_hub={})
    content[place] = dict(content[place], evil=Malicious(tmp_path / 'ran'))
    torch.save(content, tmp_path / 'w.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'))
    for load in (
        lambda: load_weights(CASViT(tiny_arch), tmp_path / 'w.pth'),
        CASViT(tiny_arch, init_cfg=init_cfg).init_weights,
    ):
        with pytest.raises(InputError, match=r'posix\.mkdir'):
            load()
    assert not (tmp_path / 'ran').exists()


def test_a_bare_pickle_is_refused(tiny_arch, tmp_path):
    (tmp_path / 'w.pth').write_bytes(pickle.dumps(Malicious(tmp_path / 'ran')))
    with pytest.raises(InputError):
        load_weights(CASViT(tiny_arch), tmp_path / 'w.pth')
    assert not (tmp_path / 'ran').exists()
