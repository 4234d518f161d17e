"""What is released: built from sources alone, installed into bare environments, used elsewhere.

Downloads from PyPI: 100 MB of packages, and with ``CASVIT_FULL_INSTALL=1`` the whole stack, 3 GB.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT

from casvit_mm import __version__

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PREDICT = """
import json, sys
import casvit_mm

found = casvit_mm.load(sys.argv[1])(sys.argv[2])
print(json.dumps([casvit_mm.__file__, found.boxes.tolist()]))
"""


def run(*command: object, cwd: Path) -> str:
    # No variable may lead to the checkout.
    env = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'PYTHONHOME')}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def bare_environment(folder: Path) -> Path:
    """Return the folder of the programs of a new environment with pip alone."""
    venv.create(folder, with_pip=True)
    return folder / ('Scripts' if os.name == 'nt' else 'bin')


@pytest.fixture(scope='module')
def released(tmp_path_factory) -> Path:
    """The folder with the source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp('released')
    source = folder / 'source'
    source.mkdir()
    ignore = shutil.ignore_patterns('__pycache__')
    for name in ('casvit_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith('.'):
            shutil.copy(path, source)
    programs = bare_environment(folder / 'builder')
    run(programs / 'python', '-m', 'pip', 'install', 'build', cwd=folder)
    run(programs / 'python', '-m', 'build', source, '--outdir', folder / 'dist', cwd=folder)
    return folder / 'dist'


@pytest.fixture(scope='module')
def wheel(released) -> Path:
    (path,) = released.glob('*.whl')
    return path


def test_sources_and_wheel_bear_the_version(released):
    assert sorted(path.name for path in released.iterdir()) == [
        f'casvit_mm-{__version__}-py3-none-any.whl',
        f'casvit_mm-{__version__}.tar.gz',
    ]


def test_the_sources_hold_what_else_belongs_to_a_release(released):
    with tarfile.open(next(released.glob('*.tar.gz'))) as archive:
        names = {Path(name).relative_to(f'casvit_mm-{__version__}') for name in archive.getnames()}
    files = ('LICENSE', 'README.md', 'CHANGELOG.md', 'CITATION.cff', 'SECURITY.md')
    assert {
        Path(file) for file in (*files, 'constraints.txt', 'constraints-openmmlab.txt')
    } <= names


def test_an_exported_file_predicts_where_there_is_no_torch(wheel, tmp_path):
    pytest.importorskip('mmdet')
    pytest.importorskip('onnx')
    from export_models import export_onnx, write_photos

    from casvit_mm.deploy import load

    photos = write_photos(tmp_path)
    detector = export_onnx('maskrcnn', tmp_path, photos)
    empty = tmp_path / 'empty'
    empty.mkdir()
    programs = bare_environment(tmp_path / 'env')
    packages = ['numpy', 'opencv-python-headless', 'onnxruntime']  # the extra `deploy`
    run(programs / 'python', '-m', 'pip', 'install', *packages, cwd=empty)
    run(programs / 'python', '-m', 'pip', 'install', '--no-deps', wheel, cwd=empty)
    assert run(programs / 'casvit-mm', '--version', cwd=empty).strip() == __version__
    printed = run(programs / 'python', '-c', PREDICT, detector, photos / '1.png', cwd=empty)
    file, boxes = json.loads(printed.splitlines()[-1])
    assert Path(file).is_relative_to(tmp_path / 'env')
    np.testing.assert_allclose(boxes, load(detector)(photos / '1.png').boxes, atol=1e-3)


@pytest.mark.skipif(
    'CASVIT_FULL_INSTALL' not in os.environ, reason='3 GB: CASVIT_FULL_INSTALL=1 runs it'
)
def test_the_whole_stack_trains_evaluates_and_predicts_from_an_empty_folder(wheel, tmp_path):
    programs = bare_environment(tmp_path / 'env')
    pinned = ['install', '-c', ROOT / 'constraints.txt']
    run(programs / 'python', '-m', 'pip', *pinned, f'{wheel}[onedl]', cwd=tmp_path)
    forced = [*pinned, '--force-reinstall', '--no-deps', 'opencv-python-headless']
    run(programs / 'python', '-m', 'pip', *forced, cwd=tmp_path)
    empty = tmp_path / 'empty'
    empty.mkdir()
    shapes = 'from casvit_mm.datasets.shapes import generate_shapes; generate_shapes("data")'
    run(programs / 'python', '-c', shapes, cwd=empty)
    program = programs / 'casvit-mm'
    data = ('--data', 'data/dataset.yaml')
    run(program, 'doctor', cwd=empty)
    run(program, 'check-data', 'data/dataset.yaml', cwd=empty)
    config = 'casvit_mm::maskrcnn_casvit_xs_shapes.py'
    printed = run(program, 'train', config, *data, '--from-scratch', '--epochs', 1, cwd=empty)
    assert 'epoch 1/1  box AP' in printed
    (best,) = empty.rglob('best_*.pth')
    run(program, 'test', best, *data, '--out', 'metrics.json', cwd=empty)
    assert json.loads((empty / 'metrics.json').read_text())['coco/bbox_mAP'] > 0.05
    run(program, 'predict', best, next(empty.glob('data/**/*.png')), cwd=empty)
    assert list(empty.glob('work_dirs/predictions/**/predictions.json'))
    assert sys.prefix not in printed
