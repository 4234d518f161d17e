"""The search for the largest batch, by a made-up memory and by a real one."""

import json

import pytest

from casvit_mm import InputError
from casvit_mm.engine import Recipe, Start, TrainOptions, train
from casvit_mm.engine.batch_size import _profile, largest_batch


def search(first, room, most, fixed=100, per_image=10):
    tried = []

    def measure(batch):
        tried.append(batch)
        return fixed + per_image * batch

    return *largest_batch(measure, first, room, lambda: most), tried


def test_two_batches_tell_the_largest_and_a_third_confirms_it():
    assert search(first=4, room=1000, most=1000) == (90, 1000, [4, 8, 90])


def test_a_small_data_set_bounds_the_batch():
    assert search(first=4, room=1000, most=12)[0] == 12


def test_a_small_data_set_leaves_the_batch_of_the_recipe():
    assert search(first=4, room=1000, most=3) == (4, 140, [4])
    assert search(first=4, room=1000, most=0) == (4, 140, [4])


def test_the_batch_of_the_recipe_may_be_too_large():
    batch, taken, _ = search(first=16, room=150, most=1000)
    assert (batch, taken) == (4, 140)


def test_a_guess_that_does_not_fit_is_lowered():
    def measure(batch):  # grows faster than its first two batches tell
        return None if batch > 20 else 10 * batch

    batch, _ = largest_batch(measure, 4, 1000, lambda: 1000)
    assert 8 <= batch <= 20


def test_not_even_one_image():
    with pytest.raises(InputError, match='not even one image fits'):
        search(first=4, room=50, most=10)


def without_memory(config, options):
    """Raise what a training raises whose first step does not fit."""
    try:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    except RuntimeError as error:
        raise InputError('the first step failed') from error


def broken(config, options):
    raise InputError('no such data')


def test_a_batch_that_does_not_fit_is_told_from_a_training_that_cannot_begin(tmp_path):
    options = TrainOptions(work_dir=str(tmp_path / 'run'))
    _profile(without_memory, 'config.py', options)
    assert json.loads((tmp_path / 'run/profile/profile.json').read_text())['total_bytes'] is None
    with pytest.raises(InputError, match='no such data'):
        _profile(broken, 'config.py', TrainOptions(work_dir=str(tmp_path / 'other')))


@pytest.mark.slow
def test_a_training_takes_the_largest_batch_that_its_data_allow(shapes, tmp_path, capfd):
    pytest.importorskip('mmdet')
    options = TrainOptions(
        data=str(shapes),
        work_dir=str(tmp_path / 'run'),
        start=Start(from_scratch=True),
        recipe=Recipe(epochs=1, batch='auto'),
        cfg_options={'train_dataloader.num_workers': 0, 'val_dataloader.num_workers': 0}
        | {f'{split}_dataloader.persistent_workers': False for split in ('train', 'val')},
    )
    runner = train('configs/retinanet_casvit_xs_light.py', options)
    assert runner.train_dataloader.batch_sampler.batch_size == 4  # the config's, of few images
    assert '--batch auto: 4 images per step' in capfd.readouterr().out
