"""Names that whoever made the data has chosen are shown as they are, and give no orders."""

import io
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')

import casvit_mm.classification.task as classification
import casvit_mm.detection.task as detection
import casvit_mm.segmentation.task as segmentation
from casvit_mm.cli import cli
from casvit_mm.datasets import report
from casvit_mm.datasets.fit import Fit
from casvit_mm.datasets.issues import Issue, IssueKind
from casvit_mm.deploy.drawing import draw_objects
from casvit_mm.engine import evaluation, run_log
from casvit_mm.errors import InputError, escaped, first_names, plain_name
from casvit_mm.plotting.confusion import draw_confusion_matrix
from casvit_mm.plotting.figures import legend_name
from casvit_mm.segmentation.prediction.drawing import draw_segmentation
from casvit_mm.task import CheckOptions

TASKS = dict(detection=detection, segmentation=segmentation, classification=classification)
NAMES = ('[/x]', '[red]fish', ':dog:', '\x1b[31mX', '$\\frac$ $', '_a\nb')
SHOWN = ('[/x]', '[red]fish', ':dog:', '\\x1b[31mX', '$\\frac$ $', '_a\\nb')
KEYS = dict(
    detection=('coco/bbox_AP', 'coco/objects'),
    segmentation=('IoU', 'Acc', 'pixels'),
    classification=('images', 'recall', 'precision', 'f1'),
)


def metrics_of(task: str) -> dict[str, float]:
    means = {'coco/bbox_mAP': 0.5} if task == 'detection' else {}
    return {**means, **{f'{key}/{name}': 0.25 for key in KEYS[task] for name in NAMES}}


@pytest.mark.parametrize('task', TASKS)
def test_tables_of_metrics_show_them_as_they_are(task, capsys):
    TASKS[task].print_metrics(metrics_of(task), 'epoch_1.pth on [/data]/\x1b[2Jset')
    out = capsys.readouterr().out
    for name in (*SHOWN, 'epoch_1.pth on [/data]/\\x1b[2Jset'):
        assert name in out
    assert '\x1b' not in out


def test_tables_of_a_check_show_them_as_they_are(capsys):
    kinds = {'rare class': IssueKind(effect='hardly learnt')}
    found = {'train': [Issue('rare class', name, f'{name} is rare', True) for name in NAMES[:3]]}
    classes = report.class_table('Classes', ['class'], [[name] for name in NAMES], [1] * 6)
    report.Report('d.yaml', CheckOptions(), kinds, found, {}, Fit('c.py')).show({}, classes)
    out = capsys.readouterr().out
    assert ', '.join(SHOWN[:3]) in out
    assert all(name in out for name in SHOWN)
    assert '\x1b' not in out


@pytest.mark.parametrize('task', TASKS)
def test_results_are_written_before_anything_is_printed(task, tmp_path, monkeypatch):
    def fail(*args):
        assert json.loads((tmp_path / 'metrics.json').read_text())['config'] == 'c.py'
        raise UnicodeEncodeError('ascii', 'ö', 0, 1, 'ordinal not in range(128)')

    monkeypatch.setattr(TASKS[task], 'print_metrics', fail)
    runner = SimpleNamespace(
        test_evaluator=SimpleNamespace(metrics=[]),
        test_dataloader=SimpleNamespace(dataset=[]),
        cfg={},
        hooks=[],
    )
    monkeypatch.setattr(detection, 'metric_configs', lambda cfg, split: [])
    outputs = TASKS[task].EvaluationOutputs(out=str(tmp_path / 'metrics.json'))
    with pytest.raises(UnicodeEncodeError):
        TASKS[task].report(runner, {}, dict(config='c.py', checkpoint='c.pth'), outputs)
    assert (tmp_path / 'metrics.json').is_file()


def test_errors_of_a_command_line_give_no_orders_and_have_no_endless_lines(capsys):
    def fail():
        raise InputError('class \x1b]0;title\x07\n' + 'y' * 5000)

    with pytest.raises(SystemExit):
        cli(fail)
    first, second = capsys.readouterr().err.strip().split('\n')
    assert first == 'error: class \\x1b]0;title\\x07'
    assert len(second) == 2000


def test_logs_give_no_orders():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(run_log._escape)
    logger = logging.Logger('names')
    logger.addHandler(handler)
    logger.info('class %s\nsecond line', NAMES[3])
    assert stream.getvalue() == 'class \\x1b[31mX\nsecond line\n'


def test_figures_take_no_name_for_a_formula(tmp_path):
    matrix = np.eye(6, dtype=int)
    assert draw_confusion_matrix(matrix, NAMES, tmp_path / 'a.png', '$\\frac$').is_file()


def test_pictures_have_each_name_on_one_line():
    image = np.zeros((32, 32, 3), np.uint8)
    draw_objects(image, np.array([[4, 4, 24, 24]]), np.array([0.5]), NAMES[5:6], None, NAMES)
    labels = np.full((32, 32), 5)
    draw_segmentation(image, labels, labels, NAMES, 'a\nb.png')


def test_a_legend_has_names_that_begin_with_an_underscore():
    assert legend_name('_a').endswith('_a')
    assert not legend_name('_a').startswith('_')


def test_long_names_are_cut_in_the_middle():
    assert plain_name('a' * 500 + 'end', 30) == 'a' * 19 + '…' + 'a' * 7 + 'end'
    assert len(first_names(['a' * 10_000] * 9, 2)) < 350


def test_what_turns_the_order_of_letters_or_is_half_a_letter_is_escaped():
    assert escaped('a\u202eb\udcff\x9bm\u200d') == 'a\\u202eb\\udcff\\x9bm\u200d'


def test_what_an_evaluator_returns_beside_numbers_does_not_end_an_evaluation():
    found = {'a': np.float32(0.5), 'b': [1, 2], 'c': 'text', 'd': torch.ones(3), 'e': torch.ones(1)}
    assert evaluation._numbers(found) == (
        {'a': 0.5, 'e': 1.0},
        {'b': '[1, 2]', 'c': 'text', 'd': 'tensor([1., 1., 1.])'},
    )
