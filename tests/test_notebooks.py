"""The notebooks of examples/notebooks, executed in a folder of their own with less data."""

import json
import re

import pytest
from helpers import ROOT, user_environment

NOTEBOOKS = sorted((ROOT / 'examples/notebooks').glob('*.ipynb'))
SHORTER = {
    'IMAGES, EPOCHS = 256, 3': 'IMAGES, EPOCHS = 16, 1',
    'sizes=(IMAGES, 16, 64)': 'sizes=(IMAGES, 4, 4)',
}


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    cells = json.loads(path.read_text())['cells']
    assert not any(cell.get('outputs') or cell.get('execution_count') for cell in cells)


def execute(name, folder, monkeypatch):
    """Return the code cells of a notebook after they have run in a folder, and all they printed."""
    nbformat = pytest.importorskip('nbformat')
    nbclient = pytest.importorskip('nbclient')
    pytest.importorskip('ipykernel')
    monkeypatch.setenv('PYTHONPATH', user_environment()['PYTHONPATH'])
    text = (ROOT / f'examples/notebooks/{name}.ipynb').read_text()
    for whole, part in SHORTER.items():
        text = text.replace(whole, part)
    notebook = nbformat.reads(text, as_version=4)
    resources = dict(metadata=dict(path=folder))
    nbclient.NotebookClient(notebook, timeout=3000, resources=resources).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
    said = '\n'.join(o.get('text', '') for cell in cells for o in cell.outputs)
    # A command that fails after "!" stops no cell.
    assert not re.search(r'^(error:|Traceback)', said, re.MULTILINE), said[-3000:]
    return cells, said


def value(cells, word):
    """Return what the cell that holds a word ends with."""
    (cell,) = [cell for cell in cells if word in cell.source]
    return next(o.data['text/plain'] for o in cell.outputs if o.output_type == 'execute_result')


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_notebook_of_own_detector_runs(tmp_path, monkeypatch):
    pytest.importorskip('mmdet')
    cells, said = execute('own_detector', tmp_path, monkeypatch)
    assert 'YES: training can start' in said
    assert 'coco/bbox_mAP' in value(cells, 'metrics[name]')
    assert (tmp_path / 'model.onnx').is_file()


@pytest.mark.slow
def test_the_notebook_of_the_backbone_in_ones_own_project_runs(tmp_path, monkeypatch):
    cells, _ = execute('backbone_in_your_project', tmp_path, monkeypatch)
    difference, norms = json.loads(value(cells, 'difference =').replace('(', '[').replace(')', ']'))
    assert difference < 1e-4
    assert norms[1] < norms[0]
    assert float(value(cells, 'accuracy =')) > 0.5  # of three classes
