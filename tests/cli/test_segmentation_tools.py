"""The command lines on segmentation masks, end to end, on a few generated images."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, free_port, run_command
from PIL import Image

pytest.importorskip('mmseg')
from casvit_mm import InputError
from casvit_mm.config.reading import read_config
from casvit_mm.datasets.shapes import generate_shape_labels
from casvit_mm.engine import Start, TrainOptions, evaluate, train
from casvit_mm.plotting.training_curves import draw_loss_curve, read_scalars
from casvit_mm.segmentation import task

SHAPES = 'configs/semfpn_casvit_xs_shapes.py'
ADE = 'configs/semfpn_casvit_xs_ade20k.py'
# A run of four iterations.
SHORT = {
    'train_cfg.max_iters': 4,
    'train_cfg.val_interval': 2,
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.interval': 2,
}


@pytest.fixture(scope='module')
def labels(tmp_path_factory) -> Path:
    """The dataset.yaml of a very small generated set."""
    folder = tmp_path_factory.mktemp('labels')
    return generate_shape_labels(folder, sizes=(8, 3, 5), side=64, seed=1)


@pytest.fixture(scope='module')
def trained(tmp_path_factory, labels):
    """A work dir after two-process training through the launcher, and what it printed."""
    if torch.cuda.is_available() and torch.cuda.device_count() < 2:
        pytest.skip('two processes need two GPUs or none')
    port = free_port()
    work_dir = tmp_path_factory.mktemp('run') / 'work dir'
    options = [f'{key}={value}' for key, value in SHORT.items()]
    result = run_command(
        *('tools/dist_train.sh', SHAPES, 2, '--from-scratch', '--data', labels),
        *('--work-dir', work_dir, '--seed', 0, '--auto-scale-lr', '--cfg-options', *options),
        PORT=port,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return work_dir, result.stdout + result.stderr


def test_two_processes_train_and_keep_the_last_two_and_the_best_checkpoint(trained):
    best, *last = sorted(path.name for path in trained[0].glob('*.pth'))
    assert last == ['iter_2.pth', 'iter_4.pth']
    assert best.startswith('best_mIoU_iter_')


def test_the_schedule_follows_the_number_of_iterations(trained):
    work_dir, printed = trained
    rates = [entry['lr'] for entry in read_scalars(work_dir) if 'loss' in entry]
    # Two images in each of two processes, where the config reckons with 8; two warm-up steps.
    assert rates[0] == pytest.approx(1.5e-3 * 4 / 8 * 1e-3)
    assert rates[1] > 1e-4
    assert 'the schedule of 200 iterations is rescaled to 4' in ' '.join(printed.split())
    assert re.search(r'^iter 4/4  mIoU [\d.]+', printed, re.MULTILINE)


def test_the_loss_curve_shows_miou(trained, tmp_path):
    picture = draw_loss_curve(trained[0], tmp_path / 'curve.png')
    assert Image.open(picture).width > 500


def test_running_statistics_of_the_heads_are_averaged_over_the_processes(trained):
    assert 'AverageBuffersHook' in (trained[0] / Path(SHAPES).name).read_text()


@pytest.fixture(scope='module')
def evaluated(trained, labels, tmp_path_factory):
    """What an evaluation with every option returned, and the folder that it wrote to."""
    out = tmp_path_factory.mktemp('evaluated')
    metrics = evaluate(
        str(ROOT / SHAPES),
        str(trained[0] / 'iter_4.pth'),
        work_dir=str(out / 'log'),
        data=str(labels),
        out=str(out / 'metrics.json'),
        out_pred=str(out / 'labels'),
        show_dir=str(out / 'pictures'),
        analysis=str(out / 'analysis'),
    )
    return metrics, out


def test_a_third_party_recomputes_miou_from_the_written_masks(evaluated, labels):
    metrics, out = evaluated
    intersection, union = np.zeros(4), np.zeros(4)
    truths = sorted((labels.parent / 'test_labels').glob('*.png'))
    assert len(truths) == 5
    for path in truths:
        truth, predicted = (
            np.array(Image.open(path)),
            np.array(Image.open(out / 'labels' / path.name)),
        )
        assert predicted.dtype == np.uint8
        for value in range(4):
            inside = (predicted == value) & (truth != 255)
            intersection[value] += (inside & (truth == value)).sum()
            union[value] += (inside | (truth == value)).sum()
    occurs = union > 0
    assert metrics['mIoU'] == pytest.approx(
        (intersection[occurs] / union[occurs]).mean(), abs=1e-12
    )


def test_every_option_of_the_evaluation_leaves_its_files(evaluated):
    metrics, out = evaluated
    written = json.loads((out / 'metrics.json').read_text())
    assert written['mIoU'] == metrics['mIoU']
    assert {'mAcc', 'aAcc', 'IoU/ground', 'Acc/circle', 'pixels/triangle'} <= set(written)
    assert sorted(p.name for p in (out / 'pictures').iterdir()) == [
        f'000{i}.png' for i in range(1, 6)
    ]
    assert {'analysis.json', 'confusion_matrix.png', 'worst_01.png'} <= {
        path.name for path in (out / 'analysis').iterdir()
    }


def test_a_tile_as_large_as_the_image_gives_the_same_metrics(trained, labels, evaluated, tmp_path):
    options = dict(work_dir=str(tmp_path), data=str(labels), tile=64)
    metrics = evaluate(str(ROOT / SHAPES), str(trained[0] / 'iter_4.pth'), **options)
    assert metrics == evaluated[0]


def test_data_of_another_task_is_named(labels, tmp_path):
    data = tmp_path / 'dataset.yaml'
    data.write_text('train: {images: train}\nval: {images: val}\n')
    options = TrainOptions(data=str(data), work_dir=str(tmp_path), start=Start(from_scratch=True))
    with pytest.raises(InputError, match='describes classification data'):
        train(str(ROOT / SHAPES), options)
    with pytest.raises(InputError, match='describes segmentation data'):
        train(
            str(ROOT / 'configs/maskrcnn_casvit_xs_shapes.py'),
            TrainOptions(data=str(labels), work_dir=str(tmp_path), start=Start(from_scratch=True)),
        )


def test_classes_other_than_the_checkpoints_are_refused(trained, labels, tmp_path):
    other = tmp_path / 'other.yaml'
    text = labels.read_text().replace('circle', 'disc')
    other.write_text(f'root: {labels.parent}\n{text}')
    with pytest.raises(InputError, match=r"only the data has \['disc'\]"):
        evaluate(
            str(ROOT / SHAPES),
            str(trained[0] / 'iter_4.pth'),
            data=str(other),
            work_dir=str(tmp_path),
        )


def test_ade20k_that_is_not_there_is_told_with_the_cure(tmp_path):
    cfg = read_config(ROOT / ADE)
    cfg.train_dataloader.dataset.data_root = str(tmp_path)
    with pytest.raises(InputError, match=r'images/training .* does not exist[\s\S]*ADEChallenge'):
        task.check_datasets(cfg, ('train',))


def test_an_image_without_mask_in_the_data_of_a_config_is_counted_and_named(tmp_path):
    cfg = read_config(ROOT / ADE)
    cfg.train_dataloader.dataset.data_root = str(tmp_path)
    for folder, suffix, names in (('images', 'jpg', 'ab'), ('annotations', 'png', 'a')):
        (tmp_path / folder / 'training').mkdir(parents=True)
        for name in names:
            (tmp_path / folder / 'training' / f'{name}.{suffix}').touch()
    with pytest.raises(InputError, match=r'1 of 2 images .*: b\.jpg'):
        task.check_datasets(cfg, ('train',))
    (tmp_path / 'annotations/training/b.png').touch()
    task.check_datasets(cfg, ('train',))
