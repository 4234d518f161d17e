"""The C++ program of examples/ncnn finds what `predict` finds."""

import shutil
import subprocess

import cv2
import numpy as np
import pytest
from helpers import ROOT

pytest.importorskip('mmdet')
pytest.importorskip('pnnx')
pytest.importorskip('ncnn')
from dense_detectors import dense_detector
from detector_files import outside_spec_of, write_outside
from export_models import random_image

from casvit_mm.deploy import load


@pytest.fixture(scope='module')
def program(tmp_path_factory):
    """The program, built; CMake finds ncnn by itself, or by CMAKE_PREFIX_PATH."""
    if shutil.which('cmake') is None or shutil.which('c++') is None:
        pytest.skip('no CMake or compiler')
    folder = tmp_path_factory.mktemp('build')
    configure = ['cmake', '-S', str(ROOT / 'examples/ncnn'), '-B', str(folder)]
    done = subprocess.run(configure, capture_output=True, text=True, check=False)
    if 'ncnnConfig.cmake' in done.stderr:
        pytest.skip('no library of ncnn; CMAKE_PREFIX_PATH names one')
    assert done.returncode == 0, done.stderr
    built = subprocess.run(
        ['cmake', '--build', str(folder)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / 'detect'


@pytest.mark.parametrize('size', [(96, 160), (72, 100)])
def test_the_program_finds_what_predict_finds(program, tmp_path, size):
    model = dense_detector('rtmdet-ins')
    spec = outside_spec_of(model, size=(96, 160), score_thr=0.3)
    path = write_outside(model, spec, 'ncnn', tmp_path)
    image = random_image(*size)
    cv2.imwrite(str(tmp_path / 'photo.ppm'), image)
    expected = load(path)(image)
    command = [program, path, tmp_path / 'photo.ppm', tmp_path / 'mask']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [line.split() for line in done.stdout.splitlines()]
    assert len(found) == len(expected.scores) > 5
    # OpenCV rounds what it scales in another way, by a grey level.
    exact = size == spec.size
    places = []
    for number, (name, score, *box) in enumerate(found):
        box = np.array(box, float)
        # A place may be of several classes, with one box.
        of_class = np.array([each == name for each in expected.names])
        place = int(np.where(of_class, np.abs(expected.boxes - box).max(1), np.inf).argmin())
        places.append(place)
        np.testing.assert_allclose(box, expected.boxes[place], atol=0.01 if exact else 1)
        assert abs(float(score) - expected.scores[place]) < (1e-4 if exact else 0.02)
        assert name == expected.names[place]
        mask = cv2.imread(str(tmp_path / f'mask-{number}.pgm'), cv2.IMREAD_GRAYSCALE) > 0
        assert (mask == expected.masks[place]).mean() > (0.999 if exact else 0.98)
    assert len(set(places)) == len(places)


def test_the_program_says_what_is_wrong(program, tmp_path):
    done = subprocess.run(
        [program, tmp_path / 'no.ncnn.param', 'photo.ppm'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert 'no.ncnn.json cannot be read' in done.stderr
