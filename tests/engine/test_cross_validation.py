import json
import math
import statistics
from pathlib import Path

import pytest
import yaml

pytest.importorskip('mmdet')
pytest.importorskip('mmpretrain')
pytest.importorskip('mmseg')
from casvit_mm import InputError
from casvit_mm.datasets.shapes import generate_shapes
from casvit_mm.engine import Randomness, Start, TrainOptions, cross_validation
from casvit_mm.engine.cross_validation import cross_validate
from casvit_mm.weights.reading import load_file

SHAPES = 'configs/maskrcnn_casvit_xs_shapes.py'
QUICK = {
    'train_cfg.max_epochs': 1,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
}


@pytest.mark.slow
def test_every_image_is_validated_once_and_the_figures_are_summarised(tmp_path):
    folder = generate_shapes(tmp_path / 'set', sizes=(6, 2, 2), side=64, seed=2).parent
    data = folder / 'folds.yaml'
    data.write_text('data: {annotations: train.json, images: train}\nsplit: {folds: 2}\n')
    options = TrainOptions(
        start=Start(from_scratch=True), randomness=Randomness(seed=0), cfg_options=QUICK
    )
    where = str(tmp_path / 'run')
    summary = cross_validate(SHAPES, str(data), 2, work_dir=where, options=options)

    folds = [tmp_path / f'run/fold_{i}' for i in range(2)]
    validated = [
        image['file_name']
        for fold in folds
        for image in json.loads((fold / 'annotations/val.json').read_text())['images']
    ]
    assert validated == [f'{i:04d}.png' for i in range(1, 7)]
    values = [json.loads((fold / 'metrics.json').read_text())['coco/bbox_mAP'] for fold in folds]
    assert summary['coco/bbox_mAP'] == {
        'mean': pytest.approx(statistics.fmean(values)),
        'std': pytest.approx(statistics.stdev(values)),
    }
    weights = [load_file(fold / 'epoch_1.pth')['state_dict'] for fold in folds]
    assert any((weights[0][key] != weights[1][key]).any() for key in weights[0])

    # Done once, it is not done again.
    (folds[0] / 'epoch_1.pth').unlink()
    again = cross_validate(SHAPES, str(data), 2, work_dir=where, options=options)
    assert again == summary
    assert not Path(folds[0] / 'epoch_1.pth').exists()


FOLDS = {
    'detection': (
        SHAPES,
        'data: {annotations: a.json, images: i}',
        ('coco/bbox_mAP', 'coco/bbox_AP/dog', 'coco/bbox_AR@100', 'coco/objects/dog'),
    ),
    'segmentation': (
        'configs/semfpn_casvit_xs_light.py',
        'data: {images: i, labels: l}\nclasses: [cat, dog]',
        ('mIoU', 'IoU/dog', 'Acc/dog', 'pixels/dog'),
    ),
    'classification': (
        'configs/casvit_xs_light.py',
        'data: {images: i}',
        ('accuracy/top1', 'recall/dog', 'precision/dog', 'images/dog'),
    ),
}


@pytest.mark.parametrize('task', FOLDS)
def test_the_summary_has_the_metrics_of_the_task(tmp_path, monkeypatch, capsys, task):
    config, source, (overall, of_class, detail, count) = FOLDS[task]
    folds = [
        {overall: 0.5, of_class: 0.25, detail: 0.1, count: 3, 'seconds': 7, 'checkpoint': 'e'},
        {overall: 0.7, detail: None, count: 5, 'seconds': 7, 'checkpoint': 'f'},
    ]
    monkeypatch.setattr(cross_validation, 'run_once', lambda *_: folds.pop(0))
    data = tmp_path / 'data.yaml'
    data.write_text(source + '\nsplit: {folds: 2, group: folder}\n')

    summary = cross_validate(config, str(data), 2, work_dir=str(tmp_path / 'run'))

    fold = yaml.safe_load((tmp_path / 'run/fold_1/dataset.yaml').read_text())
    assert fold['split'] == {'folds': 2, 'fold': 1, 'group': 'folder'}
    assert summary[overall] == {'mean': 0.6, 'std': pytest.approx(0.141, abs=1e-3)}
    assert summary[of_class] == {'mean': 0.25, 'std': pytest.approx(math.nan, nan_ok=True)}
    assert summary[detail]['mean'] == 0.1
    assert set(summary) == {overall, of_class, detail}
    printed = capsys.readouterr().out
    assert overall in printed
    assert of_class in printed
    assert detail not in printed


def test_a_description_with_given_splits_is_refused(shapes, tmp_path):
    with pytest.raises(InputError, match='names train and val'):
        cross_validate(SHAPES, str(shapes), 2, work_dir=str(tmp_path))


def test_data_of_another_task_than_the_config_are_refused(shapes, tmp_path):
    with pytest.raises(InputError, match='describes detection data'):
        cross_validate('configs/casvit_xs_light.py', str(shapes), 2, work_dir=str(tmp_path))


@pytest.mark.parametrize('folds', [1, 0, -3])
def test_fewer_than_two_folds_are_refused(tmp_path, folds):
    with pytest.raises(InputError, match=f'--folds must be 2 or more, got {folds}'):
        cross_validate('config.py', 'data.yaml', folds, work_dir=str(tmp_path))
