"""The scripts of examples/ run as their first lines say."""

import json
import runpy
import sys
from importlib.util import find_spec

import pytest
from helpers import ROOT

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from export_models import CLASSES, export_onnx, write_model, write_photos
from prediction_runs import write_video

LINES = 16


@pytest.fixture
def run(monkeypatch, capsys):
    """Run an example with arguments, and return what it prints."""

    def run(name, *arguments):
        path = str(ROOT / 'examples' / f'{name}.py')
        monkeypatch.setattr(sys, 'argv', [path, *map(str, arguments)])
        capsys.readouterr()
        runpy.run_path(path, run_name='__main__')
        return capsys.readouterr().out

    return run


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    return write_photos(folder)


def test_examples_of_a_detector(run, photos, tmp_path):
    _, checkpoint = write_model(tmp_path, 'retinanet')
    printed = run('predict_image', checkpoint, photos / '0.png', tmp_path / 'out')
    assert "'score'" in printed
    assert (tmp_path / 'out/0.png').is_file()
    printed = run('count_objects', checkpoint, photos)
    assert [line.split()[0] for line in printed.splitlines()] == ['0.png', '1.png', '2.png']
    run('label_with_model', checkpoint, photos, tmp_path / 'coco.json')
    assert len(json.loads((tmp_path / 'coco.json').read_text())['images']) == 3
    video = write_video(tmp_path / 'clip.avi', 11)
    printed = run('watch_video', checkpoint, video)
    assert [line[:5] for line in printed.splitlines()] == ['0.0 s', '0.5 s', '1.0 s']
    if find_spec('trackers'):
        assert run('count_tracks', checkpoint, video).startswith('{')


def test_an_example_of_an_exported_segmentor(run, photos, tmp_path):
    path = export_onnx('segmentation', tmp_path, photos)
    lines = [run('measure_shares', path, name, photos / '1.png') for name in CLASSES]
    shares = [float(line.split()[1].rstrip('%\n')) for line in lines]
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_examples_are_short_and_all_of_them_are_run():
    found = sorted((ROOT / 'examples').glob('*.py'))
    text = (ROOT / 'tests/prediction/test_examples.py').read_text()
    assert len(found) == 6
    for path in found:
        assert f"'{path.stem}'" in text
        assert len(path.read_text().splitlines()) <= LINES
