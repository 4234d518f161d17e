"""Weights of any origin under our names."""

import argparse
import sys

import pytest
import torch
from helpers import ROOT, official_state_dict, run_command, run_job
from official_files import RECIPES, official_model, renamed, save_official, write_config
from safetensors.torch import save_file
from torch import nn

from casvit_mm import CASViT, InputError, load_weights
from casvit_mm.weights.matching import read_checkpoint
from casvit_mm.weights.official_keys import rename_official_keys
from casvit_mm.weights.reading import class_names, load_file
from casvit_mm.zoo.convert import convert

ENDINGS = ['.safetensors', '.pth']


class Head(nn.Module):
    def __init__(self, dim, classes):
        super().__init__()
        self.fc = nn.Linear(dim, classes)


class Classifier(nn.Module):
    def __init__(self, arch='xs', classes=1000):
        super().__init__()
        self.backbone = CASViT(arch, out_indices=(3,))
        self.head = Head(self.backbone.out_channels[0], classes)


@pytest.fixture
def classifier(tiny_arch) -> Classifier:
    torch.manual_seed(0)
    return Classifier(tiny_arch, classes=3)


def assert_equal_states(path, expected) -> None:
    state = load_file(path).get('state_dict', load_file(path))
    assert state.keys() == expected.keys()
    assert [key for key in state if not torch.equal(state[key], expected[key])] == []


@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('method', RECIPES)
def test_official_whole_models_are_renamed_and_keep_their_classes(method, ending, tmp_path):
    source = save_official(tmp_path / 'official.pth', official_model(method))
    found = convert(source, tmp_path / f'out{ending}')
    unread = 'backbone.norm0.' if method == 'RetinaNet' else 'nothing'
    state = rename_official_keys(official_model(method))
    assert_equal_states(found.path, {k: v for k, v in state.items() if not k.startswith(unread)})
    assert found.kind == f"the authors' {method}, CAS-ViT-XS"
    assert class_names(load_file(found.path))[-3:] == ('circle', 'square', 'triangle')
    assert set(load_file(found.path)) == {'state_dict', 'meta'}


@pytest.mark.parametrize('two_heads', [True, False])
def test_official_classification_files_become_classifiers(two_heads, tmp_path):
    state = official_state_dict('xs')
    if not two_heads:
        state = {key: value for key, value in state.items() if not key.startswith('dist_head')}
    args = argparse.Namespace(input_size=384, lr=6e-3)
    torch.save(dict(model=state, optimizer={}, epoch=29, args=args), tmp_path / 'cas-vit-xs.pth')
    found = convert(tmp_path / 'cas-vit-xs.pth', tmp_path / 'out.safetensors')
    stored = load_file(found.path)['state_dict']
    assert torch.equal(stored['backbone.norm3.weight'], state['norm.weight'])
    assert torch.equal(stored['head.fc.weight'], state['head.weight'])
    assert ('head.fc_dist.weight' in stored) == two_heads
    assert found.kind == 'classifier of 1000 classes, CAS-ViT-XS'
    assert found.report.dropped == []


def test_a_converted_file_loads_as_its_source_does(tmp_path):
    torch.save(dict(model=official_state_dict('xs')), tmp_path / 'cas-vit-xs.pth')
    convert(tmp_path / 'cas-vit-xs.pth', tmp_path / 'out.safetensors')
    for model, again in ((CASViT('xs'), CASViT('xs')), (Classifier(), Classifier())):
        again.load_state_dict(model.state_dict())
        load_weights(model, tmp_path / 'cas-vit-xs.pth')
        load_weights(again, tmp_path / 'out.safetensors')
        states = model.state_dict(), again.state_dict()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_classifier_of_mmpretrain_comes_as_it_is(classifier, tmp_path):
    state = classifier.state_dict()
    meta = dict(dataset_meta=dict(classes=('a', 'b', 'c')))
    torch.save(dict(state_dict=state, meta=meta), tmp_path / 'm.pth')
    found = convert(tmp_path / 'm.pth', tmp_path / 'out.pth')
    assert_equal_states(found.path, state)
    assert found.classes == ('a', 'b', 'c')


@pytest.mark.parametrize('wrapper', ['', 'module.', '_orig_mod.', 'module._orig_mod.'])
def test_a_port_to_timm_without_prefixes_becomes_a_classifier(classifier, tmp_path, wrapper):
    bare = {k.removeprefix('backbone.'): v for k, v in classifier.state_dict().items()}
    torch.save({f'{wrapper}{key}': value for key, value in bare.items()}, tmp_path / 't.pth')
    found = convert(tmp_path / 't.pth', tmp_path / 'out.pth')
    assert_equal_states(found.path, classifier.state_dict())


def test_timms_average_can_be_asked_for(classifier, tiny_arch, tmp_path):
    other = Classifier(tiny_arch, classes=3).state_dict()
    content = dict(arch='casvit', state_dict=classifier.state_dict(), state_dict_ema=other)
    torch.save(content, tmp_path / 't.pth')
    assert_equal_states(
        convert(tmp_path / 't.pth', tmp_path / 'ema.pth', weights='ema').path, other
    )
    raw = convert(tmp_path / 't.pth', tmp_path / 'raw.pth').path
    assert_equal_states(raw, classifier.state_dict())


def test_a_bare_backbone_and_safetensors_are_sources(tiny_arch, tmp_path):
    state = CASViT(tiny_arch, out_indices=(1, 3)).state_dict()
    save_file(state, tmp_path / 'b.safetensors')
    found = convert(tmp_path / 'b.safetensors', tmp_path / 'out.pth')
    assert_equal_states(found.path, state)
    assert found.kind.startswith('backbone, CAS-ViT with depths (1, 1, 1, 1) and widths (8, 12')


def test_heads_of_others_are_copied_and_the_report_says_so(classifier, tmp_path):
    state = {**classifier.backbone.state_dict(prefix='backbone.'), 'neck.a': torch.ones(2)}
    torch.save(state, tmp_path / 'd.pth')
    found = convert(tmp_path / 'd.pth', tmp_path / 'out.pth')
    assert_equal_states(found.path, state)
    assert 'neck: copied as they are. --config' in str(found)


def test_pixel_means_are_dropped_by_name(classifier, tmp_path):
    state = {**classifier.state_dict(), 'data_preprocessor.mean': torch.zeros(3)}
    torch.save(state, tmp_path / 'c.pth')
    found = convert(tmp_path / 'c.pth', tmp_path / 'out.pth')
    assert found.report.dropped == ['data_preprocessor.mean']
    assert 'which the config holds' in str(found)


@pytest.mark.parametrize(
    'key',
    [
        'backbone.network.2.0.attn.qkv.weight',
        'backbone.patch_embed.3.weight',
        'backbone.norm4.running_mean',
        'bbox_head.retina_cls.bias',
        'neck.fpn_convs.4.conv.weight',
    ],
)
def test_one_renamed_key_is_named_and_nothing_is_written(key, tmp_path):
    state = renamed(official_model('RetinaNet'), key)
    source = save_official(tmp_path / 'official.pth', state)
    ours = next(iter(rename_official_keys({key: torch.zeros(1)}))).removeprefix('backbone.')
    with pytest.raises(InputError, match=ours.replace('.', r'\.')):
        convert(source, tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize('key', ['head.weight', 'head.bias', 'dist_head.bias', 'norm.bias'])
def test_a_renamed_key_of_a_classifier_is_named(key, tmp_path):
    torch.save(dict(model=renamed(official_state_dict('xs'), key)), tmp_path / 'c.pth')
    part = key.rpartition('.')[2]
    with pytest.raises(InputError, match=rf'missing: \S*{part}(?s:.*)unexpected: \S*{part}_x'):
        convert(tmp_path / 'c.pth', tmp_path / 'out.pth')


def test_a_file_of_another_network_is_refused(tmp_path):
    torch.save({'conv1.weight': torch.zeros(1)}, tmp_path / 'resnet.pth')
    with pytest.raises(InputError, match=r'not a whole file of a CAS-ViT.* conv1'):
        convert(tmp_path / 'resnet.pth', tmp_path / 'out.pth')


def test_other_endings_are_refused(classifier, tmp_path):
    torch.save(classifier.state_dict(), tmp_path / 'c.pth')
    with pytest.raises(InputError, match=r'out\.ckpt.* \.safetensors or \.pth'):
        convert(tmp_path / 'c.pth', tmp_path / 'out.ckpt')


def test_a_full_disk_leaves_the_old_file(classifier, tmp_path):
    torch.save(classifier.state_dict(), tmp_path / 'c.pth')
    (tmp_path / 'out.pth').write_text('old')
    (tmp_path / 'out.pth.part').symlink_to('/dev/full')
    with pytest.raises(InputError, match='No space left on device'):
        convert(tmp_path / 'c.pth', tmp_path / 'out.pth')
    assert (tmp_path / 'out.pth').read_text() == 'old'


def test_a_config_compares_the_shapes_of_neck_and_heads(tmp_path):
    pytest.importorskip('mmdet')
    state = official_model('RetinaNet')
    config = write_config(tmp_path, 'RetinaNet')
    source = save_official(tmp_path / 'official.pth', state)
    report = convert(source, tmp_path / 'out.pth', config=config).report
    assert len(report.matched) == len(read_checkpoint(tmp_path / 'out.pth')['state_dict'])
    recipe = str(ROOT / 'configs/retinanet_casvit_xs_coco.py')
    with pytest.raises(InputError, match=r'shape: neck\.lateral_convs\.0'):
        convert(source, tmp_path / 'out.pth', config=recipe)


def test_no_framework_is_needed(tmp_path):
    source = save_official(tmp_path / 'official.pth', official_model('Mask R-CNN'))
    program = (
        'import sys\n'
        'for name in ("mmdet", "mmseg", "mmpretrain", "mmcv"): sys.modules[name] = None\n'
        'from casvit_mm.zoo.convert import convert\n'
        f'print(convert({str(source)!r}, {str(tmp_path / "out.safetensors")!r}))'
    )
    result = run_command(sys.executable, '-c', program)
    assert result.returncode == 0, result.stderr


def test_the_command_prints_matched_missing_and_unexpected_as_a_table(tmp_path):
    source = save_official(tmp_path / 'official.pth', official_model('RetinaNet'))
    result = run_job('convert_weights', source, tmp_path / 'out.safetensors')
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ['matched', '566'] in [row[:2] for row in rows]
    assert ['missing', '0'] in rows
    assert ['unexpected,', 'dropped', '5', 'backbone.norm0:'] in [row[:4] for row in rows]
    assert 'circle, square, triangle' in result.stdout


def test_the_source_is_not_overwritten(classifier, tmp_path):
    path = tmp_path / 'model.pth'
    torch.save(classifier.state_dict(), path)
    before = path.read_bytes()
    with pytest.raises(InputError, match='is the source, which would be lost'):
        convert(path, path)
    assert path.read_bytes() == before
