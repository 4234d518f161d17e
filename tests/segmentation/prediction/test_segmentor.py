"""Labels found class by class are those that mmseg finds, to the last pixel."""

import copy
from functools import partial

import pytest
import torch

pytest.importorskip('mmseg')
from helpers import ROOT, TINY_ARCH, randomize_norms
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from casvit_mm.segmentation import LabelSegmentor
from casvit_mm.segmentation.prediction.results import set_limits
from casvit_mm.segmentation.task import configure_outputs
from casvit_mm.task import EvaluationOutputs

CLASSES = 21
SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))
SAME = dict(ori_shape=(64, 96), img_shape=(64, 96), pad_shape=(64, 96))
SIZES = {
    'as the input': SAME,
    'smaller': dict(SAME, ori_shape=(50, 77)),
    'larger': dict(SAME, ori_shape=(200, 301)),
    'padded': dict(SAME, ori_shape=(70, 90), padding_size=[0, 6, 0, 9]),
    'flipped': dict(SAME, ori_shape=(70, 90), flip=True, flip_direction='horizontal'),
}


@pytest.fixture(scope='module')
def models():
    """A segmentor of mmseg and ours, with the same random weights."""
    cfg = Config.fromfile(ROOT / 'configs/segformer_casvit_xs_light.py')
    init_default_scope('mmseg')
    cfg.model.backbone.update(arch=TINY_ARCH, init_cfg=None)
    widths = list(TINY_ARCH['embed_dims'])
    cfg.model.decode_head.update(in_channels=widths, channels=16, num_classes=CLASSES)
    torch.manual_seed(0)
    theirs = MODELS.build(cfg.model)
    randomize_norms(theirs)
    head = theirs.eval().decode_head.conv_seg
    torch.nn.init.normal_(head.weight)
    # Two classes that are always equal: the lower number is the label.
    head.weight.data[7] = head.weight[3]
    with torch.no_grad():  # no class is the best everywhere
        head.bias -= theirs(torch.randn(2, 3, 64, 96)).mean((0, 2, 3))
    configure_outputs(cfg, EvaluationOutputs())
    ours = MODELS.build(cfg.model)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours.eval()


def predicted(model, meta, x):
    samples = [SegDataSample(metainfo=dict(meta)) for _ in range(len(x))]
    return model.predict(x, samples)  # with gradients, as a user's own code may have them


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', SIZES)
def test_the_labels_are_mmsegs(models, size, align_corners):
    for model in models:
        model.align_corners = model.decode_head.align_corners = align_corners
    x = torch.randn(2, 3, 64, 96)
    for expected, found in zip(*(predicted(m, SIZES[size], x) for m in models), strict=True):
        labels = found.pred_sem_seg.data
        assert len(labels.unique()) > 5
        assert labels.dtype == expected.pred_sem_seg.data.dtype
        assert torch.equal(labels, expected.pred_sem_seg.data)
        assert 'seg_logits' not in found


def test_windows_and_channels_last_are_left_to_mmseg(models, monkeypatch):
    x = torch.randn(1, 3, 64, 96).to(memory_format=torch.channels_last)
    last = [copy.deepcopy(m).to(memory_format=torch.channels_last) for m in models]
    (expected,), (found,) = (predicted(model, SAME, x) for model in last)
    assert torch.equal(found.pred_sem_seg.data, expected.pred_sem_seg.data)
    monkeypatch.setattr(models[1], 'test_cfg', Config(SLIDE))
    assert 'seg_logits' in predicted(models[1], SAME, x)[0]


@pytest.mark.parametrize(
    'prepare',
    [
        partial(configure_outputs, outputs=EvaluationOutputs()),
        partial(set_limits, score_thr=None, max_dets=None),
    ],
    ids=['evaluation', 'prediction'],
)
def test_only_mmsegs_own_segmentor_is_replaced(prepare):
    for kind, built in (('EncoderDecoder', 'LabelSegmentor'), ('Other', 'Other')):
        cfg = Config(dict(model=dict(type=kind)))
        prepare(cfg)
        assert cfg.model.type == built
    assert issubclass(LabelSegmentor, MODELS.get('EncoderDecoder'))
