"""Slim files of weights, named after their content."""

import hashlib
import json

import pytest
import torch
from helpers import run_command
from safetensors import safe_open
from torch import nn

from casvit_mm import CASViT, InputError, load_weights
from casvit_mm.weights.matching import read_checkpoint
from casvit_mm.weights.reading import class_names, load_file
from casvit_mm.zoo.publish import publish

CLASSES = ('paper', 'glass')


class Detector(nn.Module):
    """A backbone and something behind it."""

    def __init__(self, arch):
        super().__init__()
        self.backbone, self.head = CASViT(arch), nn.Linear(2, 2)


@pytest.fixture
def checkpoint(tiny_arch, tmp_path):
    """What a training run with averaging leaves: averaged weights in front, raw ones behind."""
    torch.manual_seed(0)
    averaged, raw = Detector(tiny_arch), Detector(tiny_arch)
    path = tmp_path / 'epoch_3.pth'
    torch.save(
        dict(
            state_dict={**averaged.state_dict(), 'data_preprocessor.mean': torch.zeros(3)},
            ema_state_dict={
                'steps': torch.tensor(9),
                **{f'module.{key}': value for key, value in raw.state_dict().items()},
            },
            optimizer=dict(state={0: torch.zeros(10**5)}),
            message_hub={},
            meta=dict(
                epoch=3, iter=9, cfg='work_dir = "/home/me"', dataset_meta=dict(classes=CLASSES)
            ),
        ),
        path,
    )
    return path, averaged, raw


def assert_equal_weights(path, model):
    state = read_checkpoint(path)['state_dict']
    expected = model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], value) for key, value in expected.items())


@pytest.mark.parametrize('file_format', ['safetensors', 'pth'])
@pytest.mark.parametrize('weights', [None, 'ema', 'raw'])
def test_a_published_file_gives_back_the_very_weights_and_classes(
    checkpoint, weights, file_format, tmp_path
):
    path, averaged, raw = checkpoint
    found = publish(path, tmp_path / 'out', weights, file_format)
    assert_equal_weights(found.path, raw if weights == 'raw' else averaged)
    assert class_names(load_file(found.path)) == CLASSES
    assert found.weights == (weights or 'ema')


@pytest.mark.parametrize('file_format', ['safetensors', 'pth'])
def test_nothing_but_weights_classes_and_progress_is_in_the_file(checkpoint, file_format, tmp_path):
    found = publish(checkpoint[0], tmp_path / 'out', file_format=file_format)
    assert found.path.stat().st_size < checkpoint[0].stat().st_size / 2
    content = load_file(found.path)
    assert set(content) == {'state_dict', 'meta'}
    assert content['meta'] == dict(
        dataset_meta=dict(classes=list(CLASSES)), epoch=3, iter=9, weights='ema'
    )
    assert b'/home/me' not in found.path.read_bytes()


@pytest.mark.parametrize('file_format', ['safetensors', 'pth'])
def test_the_name_ends_in_the_hash_and_equal_weights_get_equal_names(
    checkpoint, file_format, tmp_path
):
    found = publish(checkpoint[0], tmp_path / 'xs', file_format=file_format)
    digest = hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert found.sha256 == digest
    assert found.path.name == f'xs-{digest[:8]}.{file_format}'
    again = publish(checkpoint[0], tmp_path / 'xs', file_format=file_format)
    assert (again.path, again.new, found.new) == (found.path, False, True)
    assert 'was there already' in str(again)


def test_the_command_writes_the_file_that_any_other_process_writes(checkpoint, tmp_path):
    # The order in which safetensors writes several entries of metadata changes from run to run.
    result = run_command('tools/publish_weights.py', checkpoint[0], tmp_path / 'a')
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob('a-*')
    assert path.read_bytes() == publish(checkpoint[0], tmp_path / 'b').path.read_bytes()
    assert f'--pretrained {path}' in result.stdout
    assert 'averaged (EMA) weights' in result.stdout


def test_other_content_under_that_name_is_not_replaced(checkpoint, tmp_path):
    path = publish(checkpoint[0], tmp_path / 'xs').path
    path.write_bytes(b'cut short')
    with pytest.raises(InputError, match='its content is not what its name says'):
        publish(checkpoint[0], tmp_path / 'xs')
    assert path.read_bytes() == b'cut short'


@pytest.mark.parametrize(
    ('out', 'expected'),
    [(None, 'epoch_3'), ('there/', 'there/epoch_3'), ('a/v1.0', 'a/v1.0'), ('b/x.pth', 'b/x')],
)
def test_the_place_is_that_of_the_checkpoint_a_folder_or_a_stem(
    checkpoint, out, expected, tmp_path
):
    found = publish(checkpoint[0], None if out is None else f'{tmp_path}/{out}')
    assert found.path == tmp_path / f'{expected}-{found.sha256[:8]}.safetensors'


def test_of_one_set_of_weights_neither_kind_can_be_asked_for(tiny_arch, tmp_path):
    torch.save(dict(state_dict=CASViT(tiny_arch).state_dict()), tmp_path / 'w.pth')
    for weights in ('ema', 'raw'):
        with pytest.raises(InputError, match=r'one set of weights.*\n?.*without --weights'):
            publish(tmp_path / 'w.pth', weights=weights)
    assert publish(tmp_path / 'w.pth').weights is None


def test_both_sets_of_an_official_file_can_be_published(tiny_arch, tmp_path):
    raw, averaged = CASViT(tiny_arch), CASViT(tiny_arch)
    torch.save(dict(model=raw.state_dict(), model_ema=averaged.state_dict()), tmp_path / 'w.pth')
    assert_equal_weights(publish(tmp_path / 'w.pth').path, raw)
    assert_equal_weights(publish(tmp_path / 'w.pth', weights='ema').path, averaged)


def test_views_and_other_memory_orders_are_stored_plainly(tiny_arch, tmp_path):
    model = CASViT(tiny_arch).to(memory_format=torch.channels_last)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    whole = torch.randn(10**6)
    state['stem.0.bias'], state['stem.1.bias'] = whole[:4], whole[2:6]
    torch.save(state, tmp_path / 'w.pth')
    for file_format in ('safetensors', 'pth'):
        found = publish(tmp_path / 'w.pth', file_format=file_format)
        assert found.path.stat().st_size < 10**6
        stored = read_checkpoint(found.path)['state_dict']
        assert all(torch.equal(stored[key], value) for key, value in state.items())


def test_a_published_file_starts_a_backbone(checkpoint, tiny_arch):
    model = CASViT(tiny_arch)
    load_weights(model, publish(checkpoint[0]).path)
    assert torch.equal(model.stem[0].weight, checkpoint[1].backbone.stem[0].weight)


def test_classes_are_json_in_the_metadata(checkpoint):
    with safe_open(publish(checkpoint[0]).path, 'pt') as file:
        (meta,) = file.metadata().values()
    assert json.loads(meta)['dataset_meta'] == dict(classes=list(CLASSES))


def test_metadata_of_others_is_passed_over(tiny_arch, tmp_path):
    from safetensors.torch import save_file

    model = CASViT(tiny_arch)
    save_file(model.state_dict(), tmp_path / 'w.safetensors', dict(format='pt', meta='no JSON'))
    content = load_file(tmp_path / 'w.safetensors')
    assert class_names(content) is None
    load_weights(CASViT(tiny_arch), tmp_path / 'w.safetensors')


def test_a_full_disk_leaves_no_half_file(checkpoint, tmp_path):
    digest = publish(checkpoint[0], tmp_path / 'a').sha256
    (tmp_path / f'b-{digest[:8]}.safetensors.part').symlink_to('/dev/full')
    with pytest.raises(InputError, match='No space left on device'):
        publish(checkpoint[0], tmp_path / 'b')
    assert not list(tmp_path.glob('b-*'))
