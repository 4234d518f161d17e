"""The checkpoint that a run goes on from, whatever has happened to the others."""

import os

import pytest
import torch
from mmengine.config import Config

from casvit_mm import InputError
from casvit_mm.engine.options import Start, TrainOptions
from casvit_mm.engine.resume import find_checkpoint, set_resume


@pytest.fixture
def run(tmp_path):
    """A work dir with the checkpoints of two epochs."""
    for epoch in (9, 10):
        state = dict(weight=torch.arange(5000.0) + epoch)
        torch.save(dict(state_dict=state, meta=dict(epoch=epoch)), tmp_path / f'epoch_{epoch}.pth')
    (tmp_path / 'last_checkpoint').write_text(f'{tmp_path}/epoch_10.pth')
    return tmp_path


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(99.0)[50:60].add(10).numpy().tobytes())] ^= 1
    path.write_bytes(content)


DAMAGES = {
    'a flipped bit': flip_a_bit,
    'cut short': lambda path: os.truncate(path, 900),
    'empty': lambda path: path.write_bytes(b''),
    'zeroed': lambda path: path.write_bytes(bytes(path.stat().st_size)),
    'the end zeroed': lambda path: path.write_bytes(
        path.read_bytes()[:9000] + bytes(path.stat().st_size - 9000)
    ),
    'text': lambda path: path.write_text('<html>404</html>'),
    'removed': lambda path: path.unlink(),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_the_one_before_a_damaged_checkpoint_is_taken_and_said(run, damage):
    DAMAGES[damage](run / 'epoch_10.pth')
    found, notes = find_checkpoint('auto', str(run))
    assert found == str(run / 'epoch_9.pth')
    assert 'epoch_10.pth' in notes[0]
    assert notes[-1] == f'--resume: so training goes on from {found}'


@pytest.mark.parametrize(
    ('content', 'problem'),
    [(b'', 'is empty'), (b'\x00\xff\x80\x01', 'is damaged'), (b'a' * 5000, 'is damaged')],
)
def test_without_a_legible_last_checkpoint_the_newest_is_taken(run, content, problem):
    (run / 'last_checkpoint').write_bytes(content)
    found, notes = find_checkpoint('auto', str(run))
    assert found == str(run / 'epoch_10.pth')
    assert problem in notes[0]


def test_a_missing_last_checkpoint_does_not_start_the_run_anew(run):
    (run / 'last_checkpoint').unlink()
    (run / 'best_epoch_11.pth').touch()  # weights alone
    found, notes = find_checkpoint('auto', str(run))
    assert found == str(run / 'epoch_10.pth')
    assert 'last_checkpoint is missing' in notes[0]
    torch.save(dict(meta={}), run / 'interrupted.pth')
    assert find_checkpoint('auto', str(run))[0] == str(run / 'interrupted.pth')


def test_a_whole_run_is_resumed_without_a_word(run):
    assert find_checkpoint('auto', str(run)) == (str(run / 'epoch_10.pth'), [])
    assert find_checkpoint('auto', str(run / 'new')) == (None, [])
    assert find_checkpoint(None, str(run)) == (None, [])


def test_if_none_can_be_read_all_are_named(run):
    for name in ('epoch_9.pth', 'epoch_10.pth'):
        (run / name).write_bytes(b'')
    with pytest.raises(InputError, match=r'(?s)epoch_10.pth.*epoch_9.pth.*start anew') as caught:
        find_checkpoint('auto', str(run))
    assert 'no other checkpoint' in str(caught.value)
    for name in ('epoch_9.pth', 'epoch_10.pth'):
        (run / name).unlink()
    with pytest.raises(InputError, match=r'names .*epoch_10\.pth, which does not exist'):
        find_checkpoint('auto', str(run))


def test_a_checkpoint_that_was_saved_without_checksums_is_read(run):
    set_checksums = getattr(torch.serialization, 'set_crc32_options', None)
    if set_checksums is None:
        pytest.skip('torch always writes them')
    set_checksums(False)
    try:
        torch.save(dict(meta={}), run / 'epoch_10.pth')
    finally:
        set_checksums(True)
    assert find_checkpoint('auto', str(run)) == (str(run / 'epoch_10.pth'), [])


@pytest.mark.parametrize('epoch', [7, 8])
def test_images_kept_to_mix_with_are_said_to_be_lost_as_long_as_they_are_mixed(tmp_path, epoch):
    content = dict(meta=dict(epoch=epoch), optimizer={}, message_hub={})
    torch.save(content, tmp_path / 'epoch.pth')
    mixed = [dict(type='mmdet.CachedMosaic'), dict(type='RandomFlip'), dict(type='CachedMixUp')]
    cfg = Config(
        dict(
            model=dict(),
            randomness=dict(),
            work_dir=str(tmp_path),
            train_cfg=dict(max_epochs=10),
            train_dataloader=dict(dataset=dict(pipeline=mixed)),
            custom_hooks=[dict(type='PipelineSwitchHook', switch_epoch=8, switch_pipeline=[])],
        )
    )
    notes = set_resume(cfg, TrainOptions(start=Start(resume=str(tmp_path / 'epoch.pth'))))
    said = [note for note in notes if 'CachedMixUp and CachedMosaic mix images' in note]
    assert len(said) == (epoch < 8)
