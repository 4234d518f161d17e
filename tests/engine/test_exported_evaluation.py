"""``tools/test.py`` with an exported file: the same metrics as with its checkpoint."""

import json

import numpy as np
import pytest
from helpers import ROOT, free_port, run_command
from PIL import Image

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from export_models import CLASSES, write_model

from casvit_mm import InputError
from casvit_mm.datasets.shapes import generate_shape_classes, generate_shape_labels, generate_shapes
from casvit_mm.engine import evaluate
from casvit_mm.export import export
from casvit_mm.segmentation import task as segmentation_task

GENERATORS = {
    'classification': generate_shape_classes,
    'segmentation': generate_shape_labels,
    'maskrcnn': generate_shapes,
}
NAMES = {'segmentation': ('ground', *CLASSES)}


@pytest.fixture(
    scope='module',
    params=[
        pytest.param('classification', marks=pytest.mark.slow),
        'segmentation',
        pytest.param('maskrcnn', marks=pytest.mark.slow),
    ],
)
def evaluated(request, tmp_path_factory):
    """Figures and predictions of a checkpoint, and of the file that was exported from it."""
    kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    data = GENERATORS[kind](folder / 'data', sizes=(4, 3, 6), side=64)
    if kind == 'maskrcnn':  # by default own data lets a model keep more objects than this one
        data.write_text(data.read_text() + 'max_dets: 30\n')
    config, checkpoint = write_model(folder, kind, NAMES.get(kind, CLASSES))
    exported = str(folder / 'model.onnx')
    images = next(path.parent for path in (folder / 'data').rglob('test*/**/*.png'))
    export(config, checkpoint, format='onnx', out=exported, images=str(images))
    found = []
    for name, weights in (('torch', checkpoint), ('onnx', exported)):
        where = folder / name
        metrics = evaluate(
            config,
            weights,
            data=str(data),
            work_dir=str(where / 'log'),
            out=str(where / 'metrics.json'),
            out_pred=str(where / ('labels' if kind == 'segmentation' else 'pred.json')),
            analysis=str(where / 'analysis'),
        )
        found.append((metrics, where))
    return kind, found


def test_the_figures_are_those_of_the_checkpoint(evaluated):
    (expected, _), (metrics, where) = evaluated[1]
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=2e-3, nan_ok=True), name
    assert json.loads((where / 'metrics.json').read_text())['checkpoint'].endswith('.onnx')


def test_the_predictions_are_those_of_the_checkpoint(evaluated):
    kind, ((_, torch_folder), (_, folder)) = evaluated
    if kind == 'segmentation':
        files = sorted((torch_folder / 'labels').rglob('*.png'))
        assert len(files) == 6
        maps = [
            np.stack([np.asarray(Image.open(root / 'labels' / file.name)) for file in files])
            for root in (torch_folder, folder)
        ]
        assert len(np.unique(maps[0])) > 1
        assert (maps[0] == maps[1]).mean() > 0.999
        return
    expected, found = (
        json.loads((root / 'pred.json').read_text()) for root in (torch_folder, folder)
    )
    assert len(expected) == len(found) >= 6
    for first, second in zip(expected, found, strict=True):
        assert first.keys() == second.keys()
        for name in first.keys() - {'top'}:
            value = first[name]
            wanted = value if isinstance(value, str) else pytest.approx(value, abs=0.01)
            assert second[name] == wanted, name


@pytest.mark.parametrize('evaluated', ['segmentation'], indirect=True)
@pytest.mark.parametrize('named', [False, True], ids=['by default', 'as --work-dir'])
def test_the_config_in_the_work_dir_of_the_training_stays(evaluated, named):
    folder = evaluated[1][1][1].parent
    config = folder / 'segmentation.py'
    before = config.read_text()
    evaluate(
        str(config),
        str(folder / 'model.onnx'),
        work_dir=str(folder) if named else None,
        data=str(folder / 'data/dataset.yaml'),
        cfg_options=dict(work_dir=str(folder)),
    )
    assert config.read_text() == before
    assert 'ExportedModel' in (folder / 'test/segmentation.py').read_text()


@pytest.mark.slow
@pytest.mark.parametrize('evaluated', ['segmentation'], indirect=True)
def test_two_processes_give_the_figures_of_one(evaluated, tmp_path):
    _, (_, (metrics, where)) = evaluated
    folder = where.parent
    result = run_command(
        'tools/dist_test.sh',
        folder / 'segmentation.py',
        folder / 'model.onnx',
        2,
        '--data',
        folder / 'data/dataset.yaml',
        '--work-dir',
        tmp_path / 'log',
        '--out',
        tmp_path / 'metrics.json',
        OMP_NUM_THREADS='1',
        PORT=free_port(),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    together = json.loads((tmp_path / 'metrics.json').read_text())
    for name, value in metrics.items():
        assert together[name] == pytest.approx(value, abs=1e-6), name


@pytest.fixture(scope='module')
def segmentor(tmp_path_factory):
    """Config and exported file of a segmentor."""
    folder = tmp_path_factory.mktemp('segmentor')
    config, checkpoint = write_model(folder, 'segmentation')
    exported = str(folder / 'model.onnx')
    export(config, checkpoint, format='onnx', out=exported)
    return config, exported


def change_classes(*names):
    return dict(cfg_options={'test_dataloader.dataset.metainfo': dict(classes=names)})


@pytest.mark.parametrize(
    ('config', 'options', 'message'),
    [
        ('casvit_xs_light.py', {}, 'is for segmentation, and .* for classification'),
        (None, dict(tile=16), '--tile 16: the side must be'),
        (None, change_classes('wall', 'sky'), r'knows 3 classes \(circle, .* has 2 \(wall, sky\)'),
    ],
    ids=['task', 'tiles', 'classes'],
)
def test_what_does_not_fit_the_file_is_refused(
    segmentor, tmp_path, monkeypatch, config, options, message
):
    own, exported = segmentor
    config = str(ROOT / 'configs' / config) if config else own
    monkeypatch.setattr(segmentation_task, 'check_datasets', lambda cfg, splits: None)
    with pytest.raises(InputError, match=message):
        evaluate(config, exported, work_dir=str(tmp_path / 'log'), **options)
    assert not list(tmp_path.rglob('*.json'))


def test_a_file_that_could_run_code_is_refused(segmentor, tmp_path):
    (tmp_path / 'model.pt2').touch()
    with pytest.raises(InputError, match=r'model\.pt2 is not opened'):
        evaluate(segmentor[0], str(tmp_path / 'model.pt2'), work_dir=str(tmp_path / 'log'))
