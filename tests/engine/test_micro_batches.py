"""Processes that take the images of those that are not there, of elastic runs."""

import pytest
import torch
from mmengine.config import Config
from tiny_training import train_tiny

from casvit_mm import InputError
from casvit_mm.distributed.group import ALL_PROCESSES, RESUME
from casvit_mm.engine import Start, TrainOptions
from casvit_mm.engine.micro_batches import keep_images_per_step, split_batch
from casvit_mm.engine.resume import find_checkpoint, set_resume

FAST = {
    'model.seconds': 0,
    'train_cfg.max_epochs': 2,
    'train_dataloader.num_workers': 0,
    'model.drop': 0.5,
    'train_dataloader.dataset.size': 14,  # the last batch is smaller
}


@pytest.mark.parametrize('accumulated', [1, 2])
def test_two_micro_batches_are_the_batch_of_two_processes(tmp_path, monkeypatch, accumulated):
    changes = {**FAST, 'optim_wrapper.accumulative_counts': accumulated}
    whole = train_tiny(tmp_path / 'whole', **changes, **{'train_dataloader.batch_size': 4})
    monkeypatch.setenv(ALL_PROCESSES, '2')
    parts = train_tiny(tmp_path / 'parts', **changes)
    assert parts.iter == whole.iter == 8
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, rtol=1e-5, atol=1e-7)
    # Runs that start in one second share the file.
    log = ''.join(path.read_text() for path in tmp_path.rglob('*.log'))
    assert '1 of at most 2 processes are there; each takes 2 x 2 images' in log


def test_a_run_may_go_on_with_other_processes_inside_an_epoch(tmp_path, monkeypatch):
    whole = train_tiny(tmp_path / 'whole', **FAST, **{'train_dataloader.batch_size': 4})
    monkeypatch.setenv(ALL_PROCESSES, '2')
    monkeypatch.setenv(RESUME, 'auto')
    fail = {'custom_hooks.0.rank': 0, 'custom_hooks.0.fail': 'lost'}  # in the fourth iteration
    with pytest.raises(RuntimeError, match='lost'):
        train_tiny(tmp_path / 'run', save_minutes=1e-9, **FAST, **fail)
    assert find_checkpoint('auto', str(tmp_path / 'run'))[0].endswith('interrupted.pth')
    monkeypatch.delenv(ALL_PROCESSES)  # as if both were there: a batch of four
    run = train_tiny(tmp_path / 'run', **FAST, **{'train_dataloader.batch_size': 4})
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], value, rtol=1e-5, atol=1e-7)


def config(**more):
    return Config(
        dict(
            train_dataloader=dict(batch_size=2),
            train_cfg=dict(type='ResumableEpochLoop'),
            optim_wrapper=dict(optimizer=dict(lr=0.03)),
            **more,
        )
    )


def test_the_rate_follows_the_images_where_processes_cannot_be_shared_out(monkeypatch):
    monkeypatch.setenv(ALL_PROCESSES, '3')
    monkeypatch.setattr('casvit_mm.engine.micro_batches.get_world_size', lambda: 2)
    cfg = config()
    notes = keep_images_per_step(cfg, TrainOptions())
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.02)
    assert cfg.train_dataloader.batch_size == 2
    assert 'an iteration has 4 images instead of 6' in notes[0]
    assert notes[1] == 'learning rate 0.03 -> 0.02, in proportion'
    # What scales it anyway does so alone.
    cfg = config(auto_scale_lr=dict(enable=True, base_batch_size=6))
    keep_images_per_step(cfg, TrainOptions())
    assert cfg.optim_wrapper.optimizer.lr == 0.03


def test_what_is_not_elastic_stays_as_it_is(monkeypatch):
    monkeypatch.delenv(ALL_PROCESSES, raising=False)
    assert keep_images_per_step(config(), TrainOptions()) == []
    monkeypatch.setenv(ALL_PROCESSES, '1')
    assert keep_images_per_step(config(), TrainOptions()) == []


def test_the_config_of_a_run_with_fewer_processes_is_read_as_it_was_meant(monkeypatch):
    monkeypatch.setenv(ALL_PROCESSES, '4')
    cfg = config()
    cfg.train_dataloader.batch_size, cfg.train_cfg.micro_batches = 8, 4
    keep_images_per_step(cfg, TrainOptions())
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.micro_batches) == (8, 4)
    monkeypatch.setattr('casvit_mm.engine.micro_batches.get_world_size', lambda: 4)
    keep_images_per_step(cfg, TrainOptions())
    assert cfg.train_dataloader.batch_size == 2
    assert 'micro_batches' not in cfg.train_cfg


@pytest.mark.parametrize(('number', 'sizes'), [(6, [2, 2, 2]), (4, [2, 1, 1]), (2, [1, 1, 1])])
def test_every_batch_has_as_many_parts(number, sizes):
    batch = dict(inputs=torch.arange(number), data_samples=list(range(number)))
    parts = list(split_batch(batch, 3))
    assert [len(part['inputs']) for part in parts] == sizes
    assert all(part['inputs'].tolist() == part['data_samples'] for part in parts)
    assert {x for part in parts for x in part['data_samples']} == set(range(number))


def test_a_file_to_resume_from_is_refused_where_the_run_starts_more_than_once(monkeypatch):
    monkeypatch.setenv(RESUME, 'auto')
    cfg = Config(dict(work_dir='runs'))
    with pytest.raises(InputError, match=r'--resume runs/epoch_3\.pth: .* --work-dir runs'):
        set_resume(cfg, TrainOptions(start=Start(resume='runs/epoch_3.pth')))
