"""Files that a wrapper or another project has saved are read, and it is said what was taken off."""

import copy

import pytest
import torch
from torch import nn

from casvit_mm import CASViT, InputError, fuse, load_weights
from casvit_mm.weights.matching import check_fit, read_checkpoint
from casvit_mm.weights.prefixes import fitting_prefix, strip_prefix


class Whole(nn.Module):
    """A backbone with something behind it."""

    def __init__(self, arch):
        super().__init__()
        self.backbone, self.neck = CASViT(arch), nn.Linear(2, 2)


@pytest.fixture
def state(tiny_arch):
    return CASViT(tiny_arch).state_dict()


@pytest.fixture
def load(tiny_arch, tmp_path):
    """Save a content, load it into a new backbone, and compare every value."""

    def load_saved(content, expected):
        torch.save(content, tmp_path / 'a.pth')
        model = CASViT(tiny_arch)
        report = load_weights(model, tmp_path / 'a.pth')
        assert all(torch.equal(v, expected[key]) for key, v in model.state_dict().items())
        return report

    return load_saved


def under(prefix, state):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    'prefix',
    [
        'model.',
        'module.',
        'net.',
        'encoder.',
        'timm_model.',
        'model.model.',
        'backbone.net.',
        'a.b.',
    ],
)
def test_any_common_prefix_is_taken_off_and_reported(prefix, state, load):
    report = load(under(prefix, state), state)
    assert f"the prefix '{prefix}' was taken off" in report.summary
    assert f"the prefix '{prefix}' was taken off" in str(report)


@pytest.mark.parametrize(
    ('wrap', 'place'),
    [
        *((lambda s, key=key: {key: s}, key) for key in ('model_state_dict', 'weights', 'net')),
        (lambda s: {'params_ema': s, 'iter': 4}, 'params_ema'),
        (lambda s: {'model': {'state_dict': s}}, 'model.state_dict'),
        (
            lambda s: {'anything': s, 'optimizer': {'state': {0: {'step': torch.ones(1)}}}},
            'anything',
        ),
    ],
)
def test_any_container_is_opened_and_reported(wrap, place, state, load):
    assert f"the weights were found under '{place}'" in load(wrap(state), state).summary


def test_usual_files_say_nothing_of_it(state, load):
    for content in (state, dict(state_dict=state), dict(model=state), under('backbone.', state)):
        assert load(content, state).stripped == ''


def test_parts_beside_the_backbone_are_left_out_by_name(state, load):
    lightning = {**under('model.', state), 'criterion.weight': torch.ones(1)}
    report = load(dict(state_dict=lightning), state)
    assert report.dropped == ['criterion.weight']
    assert "'model.' was read as the backbone" in report.summary


def test_what_torch_compile_has_added_inside_is_taken_off(tiny_arch):
    whole = Whole(tiny_arch)
    compiled = {
        key.replace('backbone.', 'backbone._orig_mod.'): v for key, v in whole.state_dict().items()
    }
    assert strip_prefix(compiled, 'a.pth').state.keys() == whole.state_dict().keys()


def test_a_whole_model_is_read_under_a_prefix_too(tiny_arch, tmp_path):
    whole = Whole(tiny_arch)
    extra = {'loss.weight': torch.ones(1)}
    torch.save(
        dict(state_dict={**under('model.', whole.state_dict()), **extra}), tmp_path / 'a.pth'
    )
    content = read_checkpoint(tmp_path / 'a.pth')
    assert '1 outside it were left out (loss.weight)' in content['stripped']
    assert check_fit(whole, content['state_dict'], 'a.pth').keys() == whole.state_dict().keys()


def test_a_model_without_a_casvit_is_found_under_its_prefix():
    own = ['conv.weight', 'conv.bias']
    assert fitting_prefix(['net.conv.weight', 'net.conv.bias', 'head.bias'], own) == 'net.'
    assert fitting_prefix(['net.conv.weight', 'head.conv.bias'], own) == ''


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (
            lambda s: {**under('student.', s), **under('teacher.', s)},
            r'2 networks, under student\.',
        ),
        (lambda s: dict(generator=s, critic=s), 'several sets of weights: generator, critic'),
        (lambda s: under('net.', {f'{key}_g': v for key, v in s.items()}), "prefix 'net.' was"),
        (lambda s: under('net.', {f'x{k}': v for k, v in s.items()}), "keys begin with 'net.'"),
    ],
)
def test_what_cannot_be_told_apart_or_does_not_fit_is_named(content, message, state, load):
    with pytest.raises(InputError, match=message):
        load(content(state), state)


@pytest.mark.parametrize('form', [lambda model: model, fuse], ids=['plain', 'fused'])
def test_a_model_is_copied_fused_and_saved_whole_after_a_training_step(
    form, tiny_arch, tmp_path, monkeypatch
):
    # A tool that ran before in this process forbids it.
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    model = CASViT(tiny_arch).train()
    sum(out.sum() for out in model(torch.rand(2, 3, 64, 64))).backward()
    model = form(copy.deepcopy(model).eval())
    torch.save(model, tmp_path / 'model.pth')
    saved = torch.load(tmp_path / 'model.pth', weights_only=False)
    image = torch.rand(1, 3, 64, 96)
    assert all(map(torch.equal, saved(image), model(image)))
    with pytest.raises(InputError, match=r'CASViT.*\n(?s:.*)content\.state_dict\(\)'):
        load_weights(CASViT(tiny_arch), tmp_path / 'model.pth')
