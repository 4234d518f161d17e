"""What a labelling tool wrote goes through every command that takes data, in every format.

``python -m pytest -s -m slow tests/engine/test_foreign_sets.py`` does the same with real images.
"""

import os
from pathlib import Path

import pytest
import yaml
from helpers import ROOT

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
from export_models import write_model

from casvit_mm.datasets.description import read_fields
from casvit_mm.datasets.files import find_images
from casvit_mm.datasets.shapes import (
    CLASSES,
    generate_shape_classes,
    generate_shape_labels,
    generate_shapes,
)
from casvit_mm.datasets.writers.registry import WRITERS
from casvit_mm.engine import Start, TrainOptions, evaluate, train
from casvit_mm.engine.browse import browse
from casvit_mm.engine.convert import convert_data
from casvit_mm.engine.cross_validation import cross_validate
from casvit_mm.engine.data_check import check_dataset
from casvit_mm.prediction.files import predict
from casvit_mm.prediction.options import PredictOptions

DATA = Path(os.environ.get('CASVIT_DATA', ROOT.parent / 'shared/data'))
# Kind of model, classes, made-up set, real one, and its classes.
TASKS = {
    'detection': ('retinanet', CLASSES, generate_shapes),
    'instances': ('maskrcnn', CLASSES, generate_shapes),
    'segmentation': ('segformer', ('ground', *CLASSES), generate_shape_labels),
    'classification': ('classification', CLASSES, generate_shape_classes),
}
REAL = {
    'detection': ('bccd', ('Platelets', 'RBC', 'WBC')),
    'instances': ('dsb2018', ('nucleus',)),
    'segmentation': ('dsb2018', ('background', 'nucleus')),
    'classification': (
        'trashnet_small',
        ('cardboard', 'glass', 'metal', 'paper', 'plastic', 'trash'),
    ),
}
SHORT = {
    'train_cfg': dict(by_epoch=True, max_epochs=1, val_interval=1, type='EpochBasedTrainLoop'),
    **{
        f'{split}_dataloader.{key}': value
        for split in ('train', 'val', 'test')
        for key, value in (('batch_size', 2), ('num_workers', 0), ('persistent_workers', False))
    },
}
QUICK = [('detection', 'yolo')]
CASES = [
    (task, to)
    for task in TASKS
    for to, writer in WRITERS.items()
    if (task != 'classification' or writer.classifies or to == 'yolo')
    and (task in ('detection', 'classification') or to != 'voc')
]
EVERY = [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in CASES]


def short(task):
    """Return options of a training of a step or two."""
    options = dict(SHORT)
    if task == 'classification':
        options['train_dataloader.batch_sampler.sizes'] = [32]
        del options['train_dataloader.batch_size']
    if task == 'segmentation':
        options['train_cfg'] = dict(type='IterBasedTrainLoop', max_iters=1, val_interval=1)
    return options


@pytest.mark.parametrize(('task', 'to'), EVERY)
def test_commands_take_what_a_tool_wrote(tmp_path, task, to):
    kind, classes, generate = TASKS[task]
    source = generate(tmp_path / 'source', sizes=(6, 2, 2), side=64, seed=1)
    # Every pixel of a mask has a class, and the regions that a tool holds leave none over.
    fields = dict(background=None, classes=list(classes)) if task == 'segmentation' else {}
    run_all(tmp_path, task, to, source, *write_model(tmp_path, kind, classes), **fields)


def real_set(task, folder):
    """Describe a few images of a real set, as whoever has downloaded it does."""
    name, _ = REAL[task]
    if not (DATA / name).is_dir():
        pytest.skip(f'{DATA / name} is not there')
    lines = {}
    for split, number in (('train', 12), ('val', 6)):
        if name == 'trashnet_small':
            listed = (DATA / name / f'one-indexed-files-notrash_{split}.txt').read_text()
            by_class = {}
            for line in listed.splitlines():
                by_class.setdefault(line.split()[1], []).append(line)
            names = [line for found in by_class.values() for line in found[: number // 3]]
            fields = dict(images='images')
        elif name == 'bccd':
            names = (DATA / name / f'ImageSets/Main/{split}.txt').read_text().split()[:number]
            fields = dict(annotations='Annotations', images='JPEGImages')
        else:
            path = DATA / name / f'derived/instances_{split}.json'
            names = [i['file_name'] for i in yaml.safe_load(path.read_text())['images'][:number]]
            fields = dict(annotations=str(path), images='images')
        (folder / f'{split}.txt').write_text('\n'.join(names))
        lines[split] = dict(fields, list=str(folder / f'{split}.txt'))
    path = folder / 'source.yaml'
    path.write_text(yaml.safe_dump(dict(lines, root=str(DATA / name))))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(('task', 'to'), CASES)
def test_commands_take_real_images(tmp_path, task, to):
    source = real_set(task, tmp_path)
    model = write_model(tmp_path, TASKS[task][0], REAL[task][1])
    run_all(tmp_path, task, to, source, *model)


def run_all(folder, task, to, source, config, checkpoint, **fields):
    """Convert a set, and do with what was written all that can be done with data."""
    made = written = convert_data(source, to, folder / 'written', link=True)
    if fields:
        found = read_fields(made).fields
        if made.is_file():  # its root counts from it
            fields['root'] = str(made.parent / found.get('root', '.'))
        written = folder / 'written.yaml'
        written.write_text(yaml.safe_dump({**found, **fields}))
    expected = scores(task, config, checkpoint, source, folder / 'test')
    found = scores(task, config, checkpoint, written, folder / 'test_written')
    print(f'\n{task} as {to}: {found}; of the source {expected}')
    assert found.keys() == expected.keys()
    assert max(expected.values()) > 0  # else other objects would score the same
    for name, score in expected.items():
        assert found[name] == pytest.approx(score, abs=1e-6, nan_ok=True), name

    assert check_dataset(written, folder / 'checked', read_images=False, config=config)
    report = browse(config, data=str(written), count=1, copies=1, out=str(folder / 'seen'))
    assert len(list((folder / 'seen').iterdir())) == 2
    assert len(report.lines()) > 3
    start = Start(finetune=checkpoint)
    options = TrainOptions(
        data=str(written), work_dir=str(folder / 'run'), start=start, cfg_options=short(task)
    )
    train(config, options)
    assert list((folder / 'run').glob('*.pth'))
    label(folder, to, made, config, checkpoint)
    if (task, to) not in QUICK:  # two trainings in processes of their own
        folds(folder, task, written, config)


def scores(task, config, checkpoint, data, out):
    """Return the metrics over all classes and of each."""
    options = LOADERS | ALL_OVER.get(task, {})
    metrics = evaluate(config, checkpoint, data=str(data), work_dir=str(out), cfg_options=options)
    return {name: value for name, value in metrics.items() if 'time' not in name and value == value}


# Boxes of any score, few of which overlap: an arbitrary model's best lie all in one place.
ALL_OVER = {
    'detection': {
        'model.test_cfg.score_thr': 0.0,
        'model.test_cfg.nms_pre': 1000,
        'model.test_cfg.nms.iou_threshold': 0.3,
    },
    'instances': {
        'model.test_cfg.rpn.nms_pre': 1000,
        'model.test_cfg.rpn.max_per_img': 1000,
        'model.test_cfg.rcnn.score_thr': 0.0,
        'model.test_cfg.rcnn.max_per_img': 100,
        'model.test_cfg.rcnn.nms.iou_threshold': 0.3,
    },
}
LOADERS = {key: value for key, value in SHORT.items() if key.startswith('test_')}


def label(folder, to, written, config, checkpoint):
    """Predict on the images as the tool has them, for the tool."""
    images = written if written.is_dir() else written.parent
    out = folder / 'labels'
    options = PredictOptions(
        config=config, out_dir=str(out), device='cpu', pictures=False, labels=to
    )
    predict(checkpoint, [str(images)], options)
    assert find_images(out / to)


def folds(folder, task, written, config):
    """Join the splits into one set, and train twice without a part of it."""
    fields = read_fields(written).fields
    parts = [fields.pop(split) for split in ('train', 'val', 'test') if split in fields]
    data = [one for part in parts for one in (part if isinstance(part, list) else [part])]
    fields['root'] = str(Path(written).parent / fields.get('root', '.'))  # it counts from the file
    path = folder / 'folds.yaml'
    path.write_text(yaml.safe_dump(dict(fields, data=data, split=dict(folds=2))))
    options = TrainOptions(cfg_options=short(task), start=Start(from_scratch=True))
    cross_validate(config, str(path), 2, work_dir=str(folder / 'folds'), options=options)
    assert (folder / 'folds/summary.json').is_file()
