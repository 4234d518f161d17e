"""Prediction in a process that has only NumPy, OpenCV and the engine."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from export_models import export_onnx, write_photos

from casvit_mm.deploy import load

_BLOCKED = """
import sys
for name in ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'timm',
             'rich', 'matplotlib', 'PIL', 'scipy', 'yaml'):
    sys.modules[name] = None
import json
import casvit_mm
found = casvit_mm.load(sys.argv[1])(sys.argv[2])
print(json.dumps([found.boxes.tolist(), found.scores.tolist(), int(found.masks.sum())]))
"""


def test_it_runs_where_only_numpy_opencv_and_the_engine_are(tmp_path):
    photos = write_photos(tmp_path)
    detector = export_onnx('maskrcnn', tmp_path, photos)
    image = str(photos / '1.png')
    command = [sys.executable, '-c', _BLOCKED, str(detector), image]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    found = load(detector)(image)
    boxes, scores, pixels = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(boxes, found.boxes, atol=1e-3)
    np.testing.assert_allclose(scores, found.scores, atol=1e-6)
    assert pixels == found.masks.sum()
