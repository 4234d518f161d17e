"""Parts of a model that need compiled operators are named before they are called."""

import pytest
from torch import nn

pytest.importorskip('mmcv')
import mmcv.ops
from mmcv.ops import DeformConv2dPack, MultiScaleDeformableAttention, RoIAlign, deform_conv2d, nms

from casvit_mm import InputError
from casvit_mm.ops import needs
from casvit_mm.ops.needs import check_operators, missing_operators


class _Calls(nn.Module):
    """Calls an operator that is lent and one that is not, and only names a third."""

    def forward(self, x):
        nms(x, x, 0.5)
        return deform_conv2d(x, x, x)

    def build(self):
        return MultiScaleDeformableAttention()


class _Suppresses(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.test_cfg = dict(rcnn=dict(nms=dict(type=kind, iou_threshold=0.5)))


def attention():
    return MultiScaleDeformableAttention(embed_dims=8, num_heads=2, num_levels=1)


@pytest.mark.parametrize(
    ('part', 'on_gpu', 'expected'),
    [
        (DeformConv2dPack(2, 2, 3), False, 'DeformConv2dPack'),
        (_Calls(), False, 'deform_conv2d'),
        (attention(), True, 'MultiScaleDeformableAttention'),
        (_Suppresses('soft_nms'), False, 'soft_nms'),
        (attention(), False, None),  # mmcv has it in Python for a CPU
        (_Suppresses('nms'), True, None),
        (RoIAlign(2), True, None),
        (mmcv.ops.CrissCrossAttention(8), True, None),
    ],
)
def test_what_is_neither_compiled_nor_lent_is_found(part, on_gpu, expected):
    model = nn.Sequential(nn.Identity(), part)
    assert missing_operators(model, on_gpu) == ({expected: '1'} if expected else {})


def test_the_message_names_operator_part_and_cure(monkeypatch):
    monkeypatch.setattr(needs, 'operator_source', lambda: 'lent')
    with pytest.raises(InputError, match=r'c\.py: .*\n  DeformConv2dPack \(model\.0\)\nInstall'):
        check_operators(nn.Sequential(DeformConv2dPack(2, 2, 3)), 'c.py', on_gpu=True)
    with pytest.raises(InputError, match=r'operators on a GPU .*(?s:.*)CUDA_VISIBLE_DEVICES=-1'):
        check_operators(nn.Sequential(attention()), 'c.py', on_gpu=True)
    monkeypatch.setattr(needs, 'operator_source', lambda: 'compiled')
    check_operators(nn.Sequential(attention()), 'c.py', on_gpu=True)
