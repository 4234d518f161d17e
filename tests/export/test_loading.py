"""Test pipelines that an exported file can describe, and those that it cannot."""

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from casvit_mm import InputError
from casvit_mm.export import export

PIPELINES = {
    'pipeline': (
        'classification',
        {'test_dataloader.dataset.pipeline.1': dict(type='ResizeEdge', scale=9, edge='long')},
        'cannot describe the step',
    ),
    'grey': (
        'classification',
        {'test_dataloader.dataset.pipeline.0': dict(color_type='grayscale')},
        'reads images itself',
    ),
}


@pytest.mark.parametrize('case', PIPELINES)
def test_a_pipeline_that_cannot_be_described_is_refused(models, tmp_path, case):
    kind, changes, message = PIPELINES[case]
    config, _ = models[kind]
    out = str(tmp_path / 'model.onnx')
    with pytest.raises(InputError, match=message):
        export(config, format='onnx', out=out, cfg_options=changes)


@pytest.mark.parametrize(
    'name', ['detr/detr_r50_8xb2-150e_coco', 'yolo/yolov3_d53_8xb8-320-273e_coco']
)
def test_a_head_without_a_form_is_named_before_anything_else_is_judged(tmp_path, name):
    out = str(tmp_path / 'model.onnx')
    with pytest.raises(InputError, match=r'a head (DETR|YOLOV3)Head cannot be exported'):
        export(f'mmdet::{name}.py', format='onnx', out=out)
