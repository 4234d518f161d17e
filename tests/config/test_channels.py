"""A neck or a head that reads other channels than the backbone gives."""

import pytest
from helpers import slow_if_large

from casvit_mm.config.checks import check_backbone
from casvit_mm.config.paths import ROOT
from casvit_mm.config.reading import read_config
from casvit_mm.errors import InputError


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('maskrcnn_casvit_xs_coco', {'arch': 's'}, r'neck.in_channels is \[48, 56, 112, 220\]'),
        ('maskrcnn_casvit_xs_coco', {'out_indices': (1, 2, 3)}, 'the backbone gives .56, 112, 220'),
        ('semfpn_casvit_xs_ade20k', {'arch': 'm'}, r'gives \[64, 96, 192, 384\]'),
        ('upernet_casvit_s_ade20k', {'arch': 'xs'}, r'decode_head.in_channels is \[48, 64, 128'),
        ('upernet_casvit_s_ade20k', {'out_indices': (0, 1)}, r'decode_head.* gives \[48, 64, None'),
        ('casvit_xs_imagenet', {'arch': 's'}, r'head.in_channels is \[220\], .* gives \[256\]'),
    ],
)
def test_channels_that_do_not_fit_are_named(name, change, message):
    cfg = read_config(ROOT / 'configs' / f'{name}.py')
    check_backbone(cfg)
    cfg.model.backbone.update(change)
    with pytest.raises(InputError, match=message):
        check_backbone(cfg)


@pytest.mark.parametrize(
    'path', slow_if_large(sorted((ROOT / 'configs').glob('*.py'))), ids=lambda p: p.stem
)
def test_our_configs_fit(path):
    check_backbone(read_config(path))
