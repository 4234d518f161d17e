"""Pre-processing inside and outside of the graph, and models that have no graph."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from helpers import TINY_ARCH, slow_after
from torch.nn.modules.batchnorm import _BatchNorm

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from casvit_mm import InputError, deploy
from casvit_mm.export import build_graph, export
from casvit_mm.export.loading import load_model

load = partial(deploy.load, trusted=True)


@pytest.mark.parametrize('kind', slow_after(2, ['segmentation', 'retinanet', 'classification']))
def test_preprocessing_outside_gives_the_same_results(written, kind, photos):
    inside, _ = written(kind, 'onnx')
    found = load(inside)(photos / '0.png')
    outside, _ = written(kind, 'onnx', preprocess='outside')
    same = load(outside)(photos / '0.png')
    for name in vars(found):
        value = getattr(found, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(getattr(same, name), value, atol=1e-3)


CHANGES = {
    'windows': (
        'segmentation',
        {'model.test_cfg': dict(mode='slide', crop_size=(64, 64), stride=(32, 32))},
        'reads images by windows',
    ),
    'soft nms': (
        'retinanet',
        {'model.test_cfg.nms': dict(type='soft_nms', iou_threshold=0.5)},
        'plain nms',
    ),
    'softmax': (
        'retinanet',
        {'model.bbox_head.loss_cls': dict(_delete_=True, type='CrossEntropyLoss')},
        'a head RetinaHead cannot be exported',
    ),
}


@pytest.mark.parametrize('case', CHANGES)
def test_a_model_that_cannot_be_expressed_is_refused(models, tmp_path, case):
    kind, changes, message = CHANGES[case]
    config, _ = models[kind]
    out = str(tmp_path / 'model.onnx')
    with pytest.raises(InputError, match=message):
        export(config, format='onnx', out=out, cfg_options=changes)


@pytest.mark.parametrize(
    ('kind', 'message'),
    [('maskrcnn', 'the second stage of a MaskRCNN'), ('segmentation', 'no suppression')],
)
def test_a_model_whose_choice_cannot_be_left_out_is_refused(write, kind, message):
    with pytest.raises(InputError, match=message):
        write(kind, 'onnx', nms='outside')


def test_a_detector_that_leaves_the_choice_to_deploy_agrees_with_pytorch(write):
    _, exported = write('retinanet', 'onnx', nms='outside')
    levels = (8, 16, 32, 64, 128)  # the strides of the head's maps
    maps = [f'{name}{stride}' for name in ('logits', 'codes') for stride in levels]
    assert exported.outputs == tuple(maps)
    assert exported.comparison.agreement > 0.999
    assert exported.comparison.objects > 3


@pytest.mark.parametrize(
    ('precision', 'norms'),
    [
        ('fp32', 1),  # the output norm, before the pooling
        ('int8', 1 + 2 * sum(TINY_ARCH['depths'])),
    ],
)
def test_norms_before_mixers_and_mlps_are_folded_but_in_int8(models, precision, norms):
    loaded = load_model(*models['classification'], None)
    spec = replace(loaded.spec, precision=precision)
    graph = build_graph(loaded.cfg, loaded.model, spec)
    kinds = [name for name, module in graph.named_modules() if isinstance(module, _BatchNorm)]
    assert len([name for name in kinds if re.search(r'(^|\.)norm\d$', name)]) == norms
