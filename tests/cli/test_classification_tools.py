"""The command lines on folders of classes, end to end, on a few generated images."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, free_port, run_command
from PIL import Image

pytest.importorskip('mmpretrain')
from casvit_mm import InputError, load_weights
from casvit_mm.datasets.shapes import generate_shape_classes
from casvit_mm.engine import Start, TrainOptions, evaluate, train
from casvit_mm.models import CASViT
from casvit_mm.plotting.training_curves import draw_loss_curve, read_scalars
from casvit_mm.weights.reading import load_file

LIGHT = 'configs/casvit_xs_light.py'
# Two epochs of small images.
SHORT = {
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 1,
    'train_dataloader.batch_size': 4,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'train_dataloader.batch_sampler.sizes': [32, 48],
    'train_dataloader.batch_sampler.base_size': 48,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
    'default_hooks.logger.interval': 1,
    'custom_hooks.0.evaluate_on_origin': True,
}


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> Path:
    """The dataset.yaml of a very small generated set."""
    return generate_shape_classes(
        tmp_path_factory.mktemp('classes'), sizes=(24, 9, 7), side=64, seed=1
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory, folders):
    """A work dir after two-process training through the launcher, and what it printed."""
    if torch.cuda.is_available() and torch.cuda.device_count() < 2:
        pytest.skip('two processes need two GPUs or none')
    port = free_port()
    work_dir = tmp_path_factory.mktemp('run') / 'work dir'
    options = [f'{key}={value}' for key, value in SHORT.items()]
    result = run_command(
        *('tools/dist_train.sh', LIGHT, 2, '--data', folders, '--work-dir', work_dir),
        *('--seed', 0, '--cfg-options', *options),
        PORT=port,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return work_dir, result.stdout + result.stderr


def test_two_processes_train_and_say_what_they_did(trained):
    printed = ' '.join(trained[1].split())  # whose lines are wrapped
    assert '24 train images' in printed
    assert '3 classes: circle, square, triangle' in printed
    assert 'learning rate 0.001 -> 0.00025: 8 images per step of the optimizer' in printed


def test_the_lines_of_single_parameters_are_in_the_log_file_alone(trained):
    work_dir, printed = trained
    line = 'paramwise_options -- backbone.stem.0.bias:weight_decay=0.0'
    assert any(line in log.read_text() for log in work_dir.glob('*/*.log'))
    assert line not in printed


def test_the_loss_curve_shows_the_accuracy(trained, tmp_path):
    assert any('accuracy/top1' in entry for entry in read_scalars(trained[0]))
    picture = draw_loss_curve(trained[0], tmp_path / 'curve.png')
    assert Image.open(picture).width > 500


def test_the_weights_as_they_are_are_validated_beside_their_average(trained):
    validated = [entry for entry in read_scalars(trained[0]) if 'accuracy/top1' in entry]
    assert len(validated) == 2
    assert all('accuracy/top1_origin' in entry for entry in validated)


def test_a_checkpoint_holds_plain_values_and_both_sets_of_weights(trained):
    content = load_file(trained[0] / 'epoch_2.pth')
    averaged, raw = content['state_dict'], content['ema_state_dict']
    key = 'backbone.stem.0.weight'
    assert not torch.equal(averaged[key], raw[f'module.{key}'])
    assert content['meta']['dataset_meta']['classes'] == ('circle', 'square', 'triangle')


@pytest.fixture(scope='module')
def evaluated(trained, folders, tmp_path_factory):
    """What an evaluation with every option returned, and the folder that it wrote to."""
    out = tmp_path_factory.mktemp('evaluated')
    metrics = evaluate(
        str(ROOT / LIGHT),
        str(trained[0] / 'epoch_2.pth'),
        work_dir=str(out / 'log'),
        data=str(folders),
        out=str(out / 'metrics.json'),
        out_pred=str(out / 'predictions.json'),
        analysis=str(out / 'analysis'),
        show_dir=str(out / 'pictures'),
    )
    return metrics, out


def test_every_image_has_a_picture_under_its_own_path(evaluated):
    found = sorted((evaluated[1] / 'pictures').rglob('*.png'))
    assert len(found) == 7
    assert {path.parent.name for path in found} == {'circle', 'square', 'triangle'}
    assert all(Image.open(path).height > 400 for path in found)


def test_a_third_party_recomputes_the_accuracy_from_the_written_predictions(evaluated):
    metrics, out = evaluated
    records = json.loads((out / 'predictions.json').read_text())
    assert len(records) == 7
    for record in records:
        assert Path(record['img_path']).parent.name == record['truth']
    right = np.mean([record['truth'] == record['predicted'] for record in records])
    assert metrics['accuracy/top1'] == pytest.approx(right, abs=1e-12)


def test_every_option_of_the_evaluation_leaves_its_files(evaluated):
    metrics, out = evaluated
    written = json.loads((out / 'metrics.json').read_text())
    assert written['accuracy/top1'] == metrics['accuracy/top1']
    assert {'recall/circle', 'precision/square', 'images/triangle'} <= set(written)
    assert {'analysis.json', 'confusion_matrix.png'} <= {
        path.name for path in (out / 'analysis').iterdir()
    }


def test_the_average_is_what_is_evaluated(trained, evaluated, folders, tmp_path):
    content = load_file(trained[0] / 'epoch_2.pth')
    torch.save(
        dict(state_dict=content['state_dict'], meta=content['meta']), tmp_path / 'average.pth'
    )
    metrics = evaluate(
        str(ROOT / LIGHT),
        str(tmp_path / 'average.pth'),
        work_dir=str(tmp_path / 'log'),
        data=str(folders),
        out_pred=str(tmp_path / 'predictions.json'),
    )
    assert metrics == evaluated[0]
    whole = (evaluated[1] / 'predictions.json').read_text()
    assert (tmp_path / 'predictions.json').read_text() == whole


@pytest.mark.parametrize('weights', ['ema', 'raw'])
def test_a_detector_starts_from_either_set_and_the_log_counts_the_keys(trained, weights, caplog):
    path = trained[0] / 'epoch_2.pth'
    backbone = CASViT('xs', out_indices=(1, 2, 3))
    report = load_weights(backbone, path, weights)
    kept = {key.partition('.')[0] for key in report.kept}
    assert kept == {'norm1', 'norm2', 'norm3'}
    assert len(report.matched) + len(report.kept) == len(backbone.state_dict())
    content = load_file(path)
    state = content['state_dict'] if weights == 'ema' else content['ema_state_dict']
    prefix = 'backbone.' if weights == 'ema' else 'module.backbone.'
    key = 'stages.2.0.mlp.fc1.weight'
    assert torch.equal(backbone.state_dict()[key], state[prefix + key])


@pytest.mark.slow
def test_other_classes_get_a_new_head_and_the_log_says_so(trained, folders, tmp_path):
    root = tmp_path / 'two'
    shutil.copytree(folders.parent, root)
    for split in ('train', 'val', 'test'):
        shutil.rmtree(root / split / 'circle')
    options = TrainOptions(
        data=str(root / 'dataset.yaml'),
        work_dir=str(tmp_path / 'run'),
        start=Start(finetune=str(trained[0] / 'epoch_2.pth')),
        cfg_options={**SHORT, 'train_cfg.max_epochs': 1},
    )
    runner = train(str(ROOT / LIGHT), options)
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert '2 made anew' in log
    assert 'head.fc.weight (3, 220) -> (2, 220)' in log
    assert runner.model.head.fc.weight.shape == (2, 220)


def test_options_of_other_tasks_are_refused(trained, folders, tmp_path):
    given = dict(
        config=str(ROOT / LIGHT),
        checkpoint=str(trained[0] / 'epoch_2.pth'),
        work_dir=str(tmp_path),
        data=str(folders),
    )
    with pytest.raises(InputError, match='--tile is not for classification'):
        evaluate(**given, tile=64)


def test_imagenet_that_is_not_there_is_described(tmp_path):
    with pytest.raises(InputError, match=r'(?s)data/imagenet/train .*does not exist.*IMAGENET'):
        train(str(ROOT / 'configs/casvit_xs_imagenet.py'), TrainOptions(work_dir=str(tmp_path)))


def test_two_places_to_start_from_are_refused():
    with pytest.raises(InputError, match=r'--pretrained a\.pth and --finetune b\.pth name two'):
        Start(pretrained='a.pth', finetune='b.pth')
