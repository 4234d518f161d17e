"""Predictions on a GPU, and files exported from weights that were saved there."""

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
from export_models import random_image, write_model, write_photos

import casvit_mm
from casvit_mm.export import export

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize('kind', ['classification', 'segmentation', 'maskrcnn', 'retinanet'])
def test_a_gpu_predicts_what_the_cpu_predicts(kind, gpu, tmp_path):
    _, checkpoint = write_model(tmp_path, kind)
    image = random_image(70, 90)
    found, expected = (casvit_mm.load(checkpoint, device=each)(image) for each in (gpu, 'cpu'))
    if kind == 'segmentation':  # where two classes are level, rounding decides
        assert (found.labels == expected.labels).mean() > 0.999
    elif kind == 'classification':
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
    else:
        assert len(expected.scores) > 3
        np.testing.assert_allclose(found.scores[:3], expected.scores[:3], atol=1e-3)
        np.testing.assert_allclose(found.boxes[:3], expected.boxes[:3], atol=0.1)


def test_weights_that_were_saved_on_a_gpu_are_exported(gpu, tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    config, checkpoint = write_model(tmp_path, 'classification')
    content = torch.load(checkpoint, weights_only=True)
    content['state_dict'] = {key: value.to(gpu) for key, value in content['state_dict'].items()}
    torch.save(content, checkpoint)
    (tmp_path / 'photos').mkdir()
    photos = str(write_photos(tmp_path / 'photos'))
    out = str(tmp_path / 'model.onnx')
    # It compares the file with torch, and keeps none that differs.
    assert export(config, checkpoint, format='onnx', out=out, images=photos).path.is_file()
