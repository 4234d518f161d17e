"""The command line of predictions."""

import json

import cv2
import pytest
from helpers import run_job

pytest.importorskip('mmdet')
from export_models import random_image, write_model


def test_the_command_line_works_as_documented(tmp_path):
    model = write_model(tmp_path, 'maskrcnn')
    cv2.imwrite(str(tmp_path / 'a.png'), random_image(48, 64))
    options = ('--out-dir', tmp_path / 'out', '--score-thr', 0.05, '--device', 'cpu')
    result = run_job('predict', *model, tmp_path / 'a.png', *options)
    assert result.returncode == 0, result.stderr
    (image,) = json.loads((tmp_path / 'out/predictions.json').read_text())['images']
    number = len(image['objects'])
    assert number > 1
    found = f'{number} objects scored 0.05 or more in 1 image:'
    for text in (found, 'img/s on cpu', 'predictions.json'):
        assert text in result.stdout
