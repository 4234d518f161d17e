"""Where the time of a whole model goes."""

from functools import partial

import pytest
import torch
from benchmark_models import Clock, quick
from torch import nn

from casvit_mm.benchmark import benchmark, forms
from casvit_mm.benchmark.parts import REST, time_parts
from casvit_mm.errors import InputError


class Detector(nn.Module):
    """Something with the parts of a segmentor, each of which takes its time."""

    def __init__(self, clock):
        super().__init__()
        self.backbone, self.neck, self.decode_head = (nn.Identity() for _ in range(3))
        self.clock = clock
        for module, seconds in ((self.backbone, 4.0), (self.neck, 2.0), (self.decode_head, 1.0)):
            module.register_forward_hook(lambda *_: None)
            module.forward = clock.passing(seconds)

    def forward(self, x):
        self.neck(self.backbone(x))
        self.decode_head.forward(x)  # past the hooks, as mmseg does
        self.clock.now += 0.5


def test_the_time_of_each_part_is_told_and_the_rest_is_post_processing():
    clock = Clock()
    model = Detector(clock)
    found = time_parts(model, lambda: model(0), 2, 'cpu', clock)
    assert found == {
        'backbone': [4.0] * 2,
        'neck': [2.0] * 2,
        'head': [1.0] * 2,
        REST: [0.5] * 2,
    }


def test_a_model_is_left_as_it_was_after_its_parts_are_timed():
    model = nn.ModuleDict(dict(backbone=nn.Conv2d(3, 3, 1)))
    time_parts(model, lambda: model.backbone(torch.rand(1, 3, 4, 4)), 1, 'cpu')
    assert 'forward' not in vars(model.backbone)


@pytest.mark.parametrize(
    ('kind', 'parts'),
    [
        ('detector', ['backbone', 'neck', 'RPN head', 'box head', 'mask head', REST]),
        ('segmentor', ['backbone', 'neck', 'head', REST]),
    ],
)
def test_a_whole_model_is_timed_by_part(configs, kind, parts):
    pytest.importorskip(dict(detector='mmdet', segmentor='mmseg')[kind])
    result = benchmark(quick(models=[configs[kind]], size=['96x64'], by_part=True))
    (row,) = result['parts']
    assert list(row['ms']) == parts
    assert row['ms']['backbone'] > 0
    assert all(row['ms'][part] > 0 for part in parts if part != 'mask head')


def test_a_compiled_model_is_timed_by_part(configs, monkeypatch):
    pytest.importorskip('mmseg')
    monkeypatch.setattr(forms, 'check_compiler', lambda: None)
    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend='eager'))
    options = dict(models=[configs['segmentor']], size=['64'], forms=['compile'])
    (row,) = benchmark(quick(**options, by_part=True))['parts']
    assert row['ms']['backbone'] > 0
    assert row['ms']['neck'] > 0


def test_parts_of_a_classifier_are_refused(configs):
    with pytest.raises(InputError, match='--by-part is for whole'):
        benchmark(quick(models=[configs['classifier']], size=['32'], by_part=True))
