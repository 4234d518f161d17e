"""The form of a graph for phones computes the same, in fewer operators."""

import re
from types import SimpleNamespace

import pytest
import torch
from helpers import TINY_ARCH, randomize_norms
from mmengine.config import Config
from torch import nn

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
from dense_detectors import dense_detector
from detector_files import outside_spec_of

from casvit_mm.deploy.spec import Spec
from casvit_mm.export.graphs import Positional, build_graph
from casvit_mm.export.phone_graph import EXACT_PARTS, for_phones
from casvit_mm.models import CASViT

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def graph(rgb, preprocess='inside'):
    model = CASViT(TINY_ARCH, out_indices=(0, 3)).eval()
    randomize_norms(model)
    spec = Spec('backbone', (), (), MEAN, STD, rgb=rgb, preprocess=preprocess, size=(65, 96))
    return Positional(build_graph(Config(), SimpleNamespace(backbone=model), spec)).eval()


@pytest.mark.parametrize('rgb', [True, False])
def test_it_computes_the_same_to_rounding(rgb):
    plain = graph(rgb)
    image = torch.randint(0, 256, (1, 3, 65, 96), dtype=torch.uint8)
    with torch.no_grad():
        for ours, theirs in zip(for_phones(plain)(image), plain(image)):
            torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=0)


def test_what_the_caller_normalises_is_left_to_him():
    plain = graph(True, preprocess='outside')
    names = [type(module).__name__ for module in for_phones(plain).modules()]
    assert '_NormalisingConv' not in names
    assert 'Preprocess' in names


def test_the_normalisation_is_one_convolution_and_the_model_is_not_changed():
    plain = graph(True)
    before = sum(type(module) is nn.Conv2d for module in plain.modules())
    blocks = sum(TINY_ARCH['depths'])
    # One for channels and normalisation; of every block's qkv become three.
    after = sum(type(module) is nn.Conv2d for module in for_phones(plain).modules())
    assert after == before + 1 + 2 * blocks
    assert sum(type(module) is nn.Conv2d for module in plain.modules()) == before
    program = torch.export.export(for_phones(plain), (torch.zeros(1, 3, 65, 96).byte(),))
    named = {str(node.target) for node in program.graph.nodes}
    assert not any('stack' in name or 'chunk' in name for name in named)


@pytest.mark.parametrize(('groups', 'affine'), [(4, True), (1, True), (8, True), (4, False)])
def test_group_normalisation_is_the_same_on_four_axes(groups, affine):
    torch.manual_seed(0)
    norm = nn.GroupNorm(groups, 8, affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), norm).double().eval()
    x = 5 + 3 * torch.rand(2, 3, 9, 7, dtype=torch.float64)
    # Without weights a norm does not tell the precision.
    torch.testing.assert_close(for_phones(plain).double()(x), plain(x), atol=1e-12, rtol=0)
    assert not any(type(module) is nn.GroupNorm for module in for_phones(plain).modules())


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_silu_is_a_product_without_casts(dtype):
    plain = nn.Sequential(nn.SiLU())
    x = torch.randn(1, 3, 5, 7).to(dtype)
    written = for_phones(plain).eval()
    tolerance = dict(atol=2e-3, rtol=2e-3) if dtype is torch.float16 else {}
    torch.testing.assert_close(written(x), plain(x), **tolerance)

    def casts(module):
        program = torch.export.export(module, (x,)).run_decompositions()
        return sum('to_copy' in str(node.target) for node in program.graph.nodes)

    assert casts(written) == 0
    assert casts(plain) == (2 if dtype is torch.float16 else 0)


@pytest.mark.parametrize(
    ('kind', 'outputs'),
    [
        ('rtmdet-ins', {'rtm_cls', 'rtm_reg', 'rtm_kernel'}),
        ('fcos', {'conv_cls', 'conv_reg', 'conv_centerness'}),
        ('yolox', {'multi_level_conv_cls', 'multi_level_conv_reg', 'multi_level_conv_obj'}),
    ],
)
def test_the_last_layers_of_a_detector_are_marked_and_compute_the_same(kind, outputs):
    model = dense_detector(kind).eval()
    plain = build_graph(Config(), model, outside_spec_of(model, size=(96, 160)))
    phones = for_phones(plain)
    marked = {
        name.split('head.')[1].split('.')[0]
        for name, module in phones.named_modules()
        if re.search(EXACT_PARTS, type(module).__name__) and '.head.' in name
    }
    assert marked >= outputs
    assert 'cls_convs' not in marked
    image = torch.randint(0, 256, (1, 3, 96, 160), dtype=torch.uint8)
    with torch.no_grad():
        for ours, theirs in zip(phones(image).values(), plain(image).values(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
