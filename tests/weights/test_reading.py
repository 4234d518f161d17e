"""A file of weights is read once, however many parts of a command ask for it."""

import os
from pathlib import Path

import pytest
import torch
from helpers import ROOT, TINY_ARCH
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from safetensors.torch import save_file

from casvit_mm.weights import reading
from casvit_mm.weights.reading import forget_file, load_file


def write(path: Path, value: float, age: float = 60) -> Path:
    """A file of one tensor that was written ``age`` seconds ago."""
    torch.save(dict(state_dict=dict(weight=torch.full((3,), value)), meta=dict(epoch=1)), path)
    return aged(path, age)


def aged(path: Path, age: float = 60) -> Path:
    written = path.stat().st_mtime - age
    os.utime(path, (written, written))
    return path


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The names of the files that torch.load reads, in turn."""
    forget_file()
    names, load = [], torch.load

    def counted(path, *rest, **options):
        names.append(Path(path).name)
        return load(path, *rest, **options)

    monkeypatch.setattr(torch, 'load', counted)
    return names


def weight(path: Path) -> float:
    return load_file(path)['state_dict']['weight'][0].item()


def test_a_file_is_read_once(tmp_path, read):
    path = write(tmp_path / 'w.pth', 1)
    assert [weight(path), weight(str(path))] == [1, 1]
    assert read == ['w.pth']


def test_what_a_caller_does_to_the_content_is_seen_by_no_other(tmp_path, read):
    path = write(tmp_path / 'w.pth', 1)
    for _ in range(2):
        content = load_file(path)
        content['state_dict']['weight'].fill_(7)
        content['meta']['epoch'] = 9
        del content['state_dict']['weight']
    assert weight(path) == 1
    assert load_file(path)['meta'] == dict(epoch=1)
    assert read == ['w.pth']


@pytest.mark.parametrize('age', [59, 60.5])
def test_a_file_that_changed_is_read_again(tmp_path, read, age):
    path = write(tmp_path / 'w.pth', 1)
    assert weight(path) == 1
    write(path, 2, age)
    assert weight(path) == 2


def test_a_file_that_took_the_place_of_another_is_read_although_all_times_are_equal(tmp_path, read):
    path, other = write(tmp_path / 'w.pth', 1), write(tmp_path / 'other.pth', 2)
    for each in (path, other):
        os.utime(each, (1e9, 1e9))
    assert weight(path) == 1
    other.replace(path)
    assert weight(path) == 2


def test_a_file_that_was_just_written_is_read_each_time(tmp_path, read):
    path = write(tmp_path / 'w.pth', 1, age=0)
    assert [weight(path), weight(path)] == [1, 1]
    assert read == ['w.pth', 'w.pth']


def test_only_the_last_file_stays_in_memory(tmp_path, read):
    first, second = write(tmp_path / '1.pth', 1), write(tmp_path / '2.pth', 2)
    assert [weight(path) for path in (first, second, first)] == [1, 2, 1]
    assert read == ['1.pth', '2.pth', '1.pth']
    assert len(reading._last_read) == 1


def test_safetensors_stay_in_memory_too(tmp_path):
    forget_file()
    save_file(dict(weight=torch.ones(3)), tmp_path / 'w.safetensors')
    load_file(aged(tmp_path / 'w.safetensors'))['weight'].fill_(7)
    assert len(reading._last_read) == 1
    assert torch.equal(load_file(tmp_path / 'w.safetensors')['weight'], torch.ones(3))


# Commands


class _Ready(Exception):
    """Ends a training that is ready to start."""


@HOOKS.register_module()
class _EndBeforeTheFirstEpoch(Hook):
    def before_train(self, runner):
        raise _Ready


CONFIG = f"""
_base_ = {str(ROOT / 'configs/maskrcnn_casvit_xs_shapes.py')!r}
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH!r})),
    neck=dict(in_channels={list(TINY_ARCH['embed_dims'])!r}))
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = dict(num_workers=0, persistent_workers=False)
custom_hooks = [dict(type='_EndBeforeTheFirstEpoch')]
"""


@pytest.fixture
def detector(tmp_path) -> tuple[str, str]:
    """A config, and a checkpoint of its model."""
    pytest.importorskip('mmdet')
    from casvit_mm.engine.finetune import class_layers

    (tmp_path / 'tiny.py').write_text(CONFIG)
    cfg = Config.fromfile(tmp_path / 'tiny.py')
    for node in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        node.num_classes = 3
    classes = dict(classes=('circle', 'square', 'triangle'))
    state = class_layers(cfg)[0].state_dict()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=classes)), tmp_path / 'detector.pth')
    return str(tmp_path / 'tiny.py'), str(aged(tmp_path / 'detector.pth'))


def test_a_training_reads_its_checkpoint_once_and_keeps_no_copy(detector, shapes, tmp_path, read):
    from casvit_mm.engine import Start, TrainOptions, train

    config, checkpoint = detector
    start = Start(finetune=checkpoint)
    with pytest.raises(_Ready):
        train(config, TrainOptions(str(shapes), str(tmp_path / 'run'), start))
    assert read == ['detector.pth']
    assert not reading._last_read


def test_an_evaluation_reads_its_checkpoint_once_and_keeps_no_copy(
    detector, shapes, tmp_path, read
):
    from casvit_mm.engine import evaluate

    config, checkpoint = detector
    evaluate(config, checkpoint, data=str(shapes), work_dir=str(tmp_path / 'test'))
    assert read == ['detector.pth']
    assert not reading._last_read


def test_pretrained_weights_are_not_kept_once_the_backbone_has_them(tmp_path, tiny_arch, read):
    from casvit_mm import CASViT

    torch.save(CASViT(tiny_arch).state_dict(), tmp_path / 'w.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(aged(tmp_path / 'w.pth')))
    CASViT(tiny_arch, init_cfg=init_cfg).init_weights()
    assert read == ['w.pth']
    assert not reading._last_read
