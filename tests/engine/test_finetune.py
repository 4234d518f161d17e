"""Fine-tuning from a trained detector to other classes."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from helpers import ROOT, TINY_ARCH, official_state_dict
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

pytest.importorskip('mmdet')
from casvit_mm import InputError
from casvit_mm.engine import Randomness, Start, TrainOptions, train
from casvit_mm.engine.finetune import FinetuneHook, class_layers
from casvit_mm.weights.reading import load_file

CONFIG = f"""
_base_ = {str(ROOT / 'configs/maskrcnn_casvit_xs_shapes.py')!r}
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH!r})),
    neck=dict(in_channels={list(TINY_ARCH['embed_dims'])!r}))
train_cfg = dict(max_epochs=1)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
custom_hooks = []
"""
OTHER = ('disc', 'box')
# The heads whose shape depends on the classes; boxes are regressed for each class apart.
CLASS_LAYERS = [
    f'roi_head.{layer}.{part}'
    for layer in ('bbox_head.fc_cls', 'bbox_head.fc_reg', 'mask_head.conv_logits')
    for part in ('weight', 'bias')
]


class _Ready(Exception):
    """Ends a training that is ready to start."""


@HOOKS.register_module()
class _EndWhenReady(Hook):
    def before_train(self, runner):
        raise _Ready(runner)


@HOOKS.register_module()
class _StopAfterTwo(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 1:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture(scope='module')
def named_data(shapes, tmp_path_factory):
    """Return a function that copies the shapes with their categories under other names."""

    def write(*names) -> str:
        folder = tmp_path_factory.mktemp('renamed') / 'data'
        shutil.copytree(shapes.parent, folder)
        for path in folder.glob('*.json'):
            content = json.loads(path.read_text())
            content['categories'] = [dict(id=i, name=n) for i, n in enumerate(names, 1)]
            content['annotations'] = [
                a for a in content['annotations'] if a['category_id'] <= len(names)
            ]
            path.write_text(json.dumps(content))
        return str(folder / 'dataset.yaml')

    return write


@pytest.fixture(scope='module')
def other_data(named_data) -> str:
    return named_data(*OTHER)


@pytest.fixture(scope='module')
def state(config) -> dict:
    """The weights of a detector of the three shapes."""
    cfg = Config.fromfile(config)
    for node in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        node.num_classes = 3
    torch.manual_seed(7)
    model, _ = class_layers(cfg)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.rand_like(value), alpha=0.01)
    return model.state_dict()


@pytest.fixture(scope='module')
def trained(state, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('trained') / 'detector.pth'
    save(path, state)
    return path


def save(path: Path, state: dict, classes=('circle', 'square', 'triangle')) -> None:
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=classes))), path)


def finetuned(config, path, data, work_dir) -> tuple[dict, str]:
    """Return the model's weights before the first iteration, and the log."""
    options = {'custom_hooks': [dict(type='_EndWhenReady')]}
    with pytest.raises(_Ready) as ready:
        train(
            config,
            TrainOptions(
                data=data,
                work_dir=str(work_dir),
                start=Start(finetune=str(path)),
                cfg_options=options,
            ),
        )
    runner = ready.value.args[0]
    return runner.model.state_dict(), next(Path(runner.log_dir).glob('*.log')).read_text()


@pytest.mark.parametrize(
    ('config_name', 'expected'),
    [
        ('maskrcnn_casvit_xs_coco', CLASS_LAYERS),
        ('retinanet_casvit_xs_coco', ['bbox_head.retina_cls.weight', 'bbox_head.retina_cls.bias']),
    ],
)
def test_class_layers_are_those_whose_shape_follows_the_number_of_classes(config_name, expected):
    _, layers = class_layers(Config.fromfile(ROOT / f'configs/{config_name}.py'))
    assert sorted(layers) == sorted(expected)


def test_all_but_the_class_layers_is_kept_and_the_log_lists_both(
    config, trained, state, other_data, tmp_path
):
    new, log = finetuned(config, trained, other_data, tmp_path)
    assert sorted(key for key in new if not torch.equal(new[key].cpu(), state[key])) == sorted(
        CLASS_LAYERS
    )
    assert f'{len(new) - 6} entries kept, 6 made anew, since it knows 3 class' in log
    assert 'roi_head.bbox_head.fc_cls.weight (4, 256) -> (3, 256)' in log


def test_a_detector_of_the_same_classes_is_kept_whole(config, trained, state, shapes, tmp_path):
    new, log = finetuned(config, trained, str(shapes), tmp_path)
    assert all(torch.equal(new[key].cpu(), state[key]) for key in state)
    assert f'all {len(state)} entries kept' in log


@pytest.mark.parametrize(
    ('names', 'reason'),
    [
        (('a', 'b', 'c'), 'it knows 3 class(es) and this data has 3, 0 in common'),
        (('square', 'circle', 'triangle'), 'the same classes in another order'),
    ],
)
def test_as_many_classes_of_other_names_or_order_are_learnt_anew(
    config, trained, state, named_data, tmp_path, names, reason
):
    new, log = finetuned(config, trained, named_data(*names), tmp_path)
    assert not any(torch.equal(new[key].cpu(), state[key]) for key in CLASS_LAYERS)
    assert reason in log


@pytest.mark.slow
def test_an_official_detector_is_a_start_too(other_data, tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/maskrcnn_casvit_xs_coco.py')
    model, _ = class_layers(cfg)
    rest = {k: v for k, v in model.state_dict().items() if not k.startswith('backbone.')}
    official = {f'backbone.{k}': v for k, v in official_state_dict('xs', dense=True).items()}
    torch.save(dict(state_dict={**official, **rest}, meta={}), tmp_path / 'official.pth')

    new, log = finetuned(
        str(ROOT / 'configs/maskrcnn_casvit_xs_coco.py'),
        tmp_path / 'official.pth',
        other_data,
        tmp_path / 'run',
    )
    stem = official['backbone.patch_embed.0.weight']
    assert torch.equal(new['backbone.stem.0.weight'].cpu(), stem)
    assert 'it does not name its classes' in log
    assert 'roi_head.bbox_head.fc_cls.weight (81, 1024) -> (3, 1024)' in log


@pytest.mark.parametrize('damage', ['missing', 'unexpected', 'shape'])
def test_any_other_misfit_ends_before_training(config, state, other_data, tmp_path, damage):
    state, key = dict(state), 'neck.fpn_convs.0.conv.weight'
    if damage == 'missing':
        del state[key]
    elif damage == 'unexpected':
        key = 'neck.extra.weight'
        state[key] = torch.zeros(1)
    else:
        state[key] = torch.zeros(1, 2, 3, 4)
    save(tmp_path / 'bad.pth', state)
    with pytest.raises(InputError, match=rf'bad\.pth.* does not fit(?s:.*){damage}: {key}'):
        train(
            config,
            TrainOptions(
                data=other_data,
                work_dir=str(tmp_path / 'run'),
                start=Start(finetune=str(tmp_path / 'bad.pth')),
            ),
        )
    assert not list((tmp_path / 'run').rglob('*.log'))  # the Runner was not built


@pytest.mark.parametrize('other', [dict(from_scratch=True), dict(resume='epoch_1.pth')])
def test_two_places_to_start_from_are_refused(other):
    option = '--' + next(iter(other)).replace('_', '-')
    with pytest.raises(InputError, match=f'--finetune a.pth and {option}'):
        Start(finetune='a.pth', **other)


@pytest.mark.slow
def test_an_interrupted_fine_tuning_goes_on_by_the_same_command(
    config, trained, other_data, tmp_path
):
    def start(work_dir, **arguments):
        options = TrainOptions(
            data=other_data,
            work_dir=str(tmp_path / work_dir),
            start=Start(finetune=str(trained), resume='auto'),
            randomness=Randomness(seed=1),
            **arguments,
        )
        train(config, options)

    start('whole')
    with pytest.raises(SystemExit):
        start('broken', cfg_options={'custom_hooks': [dict(type='_StopAfterTwo')]})
    start('broken')
    whole, broken = (
        load_file(tmp_path / name / 'epoch_1.pth')['state_dict'] for name in ('whole', 'broken')
    )
    assert all(torch.equal(whole[key], broken[key]) for key in whole)


def test_outside_training_every_checkpoint_is_loaded_whole(state):
    runner = type('Runner', (), dict(optim_wrapper=None, model=None))()
    checkpoint = dict(state_dict=state)
    FinetuneHook(OTHER, CLASS_LAYERS).after_load_checkpoint(runner, checkpoint)
    assert checkpoint['state_dict'] is state
