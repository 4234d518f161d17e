"""What the console shows of a training."""

import logging
import re
from pathlib import Path

import pytest
from tiny_training import train_tiny

from casvit_mm.engine.progress import headline
from casvit_mm.engine.run_log import ConsoleHandler

FAST = {
    'model.seconds': 0.0,
    'train_dataloader.num_workers': 0,
    'val_dataloader.num_workers': 0,
    'train_cfg.max_epochs': 2,
}


def test_a_training_says_a_line_per_epoch_and_validation_and_the_log_file_has_the_rest(
    tmp_path, capsys
):
    runner = train_tiny(tmp_path, **FAST)
    printed = capsys.readouterr().out
    (log,) = Path(runner.log_dir).glob('*.log')
    logged = log.read_text()
    assert len(logged.splitlines()) > 100
    assert len(printed.splitlines()) <= 14
    assert f'training: 2 epochs of 8 iterations; the whole log: {runner.log_dir}' in ' '.join(
        printed.split()
    ).replace('log:\n  ', 'log: ')
    for epoch in (1, 2):
        assert re.search(
            rf'^epoch {epoch}/2  loss \d+\.\d{{3}}  [\d.]+ img/s  \d s$', printed, re.MULTILINE
        )
        assert re.search(rf'^epoch {epoch}/2  mean -?\d\.\d{{3}}  \d s$', printed, re.MULTILINE)
    for noise in ('mmengine', 'Config:', 'Epoch(train)', 'INFO'):
        assert noise not in printed
        assert noise in logged


def test_a_resumed_training_says_where_it_goes_on(tmp_path, capsys):
    train_tiny(tmp_path, **FAST)
    capsys.readouterr()
    train_tiny(tmp_path, resume='auto', **{**FAST, 'train_cfg.max_epochs': 3})
    printed = capsys.readouterr().out
    assert 'goes on at iteration 17 of 24, in epoch 3 of 3' in printed
    assert 'epoch 2/3' not in printed


def test_a_training_by_iterations_says_a_line_per_validation(tmp_path, capsys):
    loop = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=8, val_interval=4)
    train_tiny(tmp_path, **{k: v for k, v in FAST.items() if 'epochs' not in k}, train_cfg=loop)
    printed = capsys.readouterr().out
    assert 'training: 8 iterations' in printed
    lines = re.findall(r'^iter \d/8  \w+', printed, re.MULTILINE)
    assert lines == ['iter 4/8  loss', 'iter 4/8  mean', 'iter 8/8  loss', 'iter 8/8  mean']


@pytest.mark.parametrize(
    ('metrics', 'best', 'line'),
    [
        (
            {'coco/bbox_mAP': 0.3312, 'coco/bbox_mAP_50': 0.6, 'coco/bbox_AP/cat': 0.1},
            0.3312,
            'box AP 0.331 (best)  AP50 0.600',
        ),
        ({'mIoU': 0.5, 'aAcc': 0.9, 'mAcc': 0.6}, None, 'mIoU 0.500  mAcc 0.600  aAcc 0.900'),
        ({'accuracy/top1': 0.5, 'recall': 0.4}, 0.6, 'top-1 0.500'),
        ({'dice': 0.5, 'note': 'x', 'c\nd': 1}, 0.5, 'dice 0.500 (best)  c\\nd 1.000'),
    ],
)
def test_a_validation_is_one_line_of_the_main_metrics(metrics, best, line):
    assert headline(metrics, best) == line


def test_packages_say_errors_alone_and_other_projects_all(capsys):
    import mmengine

    handler = ConsoleHandler()
    for place in (mmengine.__file__, __file__):
        for level in (logging.INFO, logging.WARNING, logging.ERROR):
            record = dict(msg=f'of {Path(place).parent.name}', levelno=level, pathname=place)
            handler.handle(
                logging.makeLogRecord({**record, 'levelname': logging.getLevelName(level)})
            )
    assert capsys.readouterr().out.splitlines() == [
        'error: of mmengine',
        'of engine',
        'warning: of engine',
        'error: of engine',
    ]
