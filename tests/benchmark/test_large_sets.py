"""Sets of any size, and what is measured on them."""

import json

import pytest

pytest.importorskip('mmdet')
from casvit_mm.benchmark.large_sets import LargeSets, write_sets
from casvit_mm.benchmark.set_costs import PROBES
from casvit_mm.datasets.image_scan import scan_headers
from casvit_mm.detection.data.checks import inspect_dataset
from casvit_mm.detection.data.description import read_dataset

SETS = LargeSets(
    30, 200, val_images=10, detections=5, label_files=40, sorted_images=60, masks=20, seed=1
)


@pytest.fixture(scope='module')
def sets(tmp_path_factory):
    return write_sets(tmp_path_factory.mktemp('large') / 'sets', SETS)


def test_sets_are_as_large_as_asked_and_the_same_for_one_seed(sets, tmp_path):
    content = json.loads((sets / 'coco/train.json').read_text())
    assert (len(content['images']), len(content['annotations'])) == (30, 200)
    assert len(json.loads((sets / 'detections.json').read_text())) == 50
    assert len(list((sets / 'yolo/labels').rglob('*.txt'))) == 40
    assert len(list((sets / 'folders').rglob('*.jpg'))) == 60
    assert len(list((sets / 'masks').rglob('*.png'))) == 20
    again = write_sets(tmp_path / 'again', SETS)
    for path in [*sets.rglob('*.json'), *sets.rglob('*.txt')]:
        assert path.read_bytes() == (again / path.relative_to(sets)).read_bytes()


@pytest.mark.parametrize('description', ['coco/dataset.yaml', 'yolo/data.yaml'])
def test_sets_are_sound(sets, description):
    inspection = inspect_dataset(read_dataset(sets / description), True, scan_headers)
    assert inspection.trainable()


@pytest.mark.parametrize('name', ['folders check', 'masks check'])
def test_the_check_that_is_measured_finds_nothing(sets, name, tmp_path, capsys):
    PROBES[name](sets, tmp_path)
    line = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(line.removeprefix('measured: '))['trainable']


def test_measured_programs_find_the_same(sets, tmp_path, capsys):
    told = {}
    for name in ('annotations', 'pycocotools', 'AP', 'faster-coco-eval'):
        PROBES[name](sets, tmp_path / name)
        line = capsys.readouterr().out.splitlines()[-1]
        told[name] = json.loads(line.removeprefix('measured: '))
    assert told['AP']['ap'] == pytest.approx(told['faster-coco-eval']['ap'], abs=1e-12)
    assert told['pycocotools']['objects'] == 200
    assert told['annotations']['images'][1] == 10
