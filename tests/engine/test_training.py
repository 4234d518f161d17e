"""What a training does with its options, and that bad input ends it before it starts."""

import errno
import os
from pathlib import Path

import pytest
import torch
from helpers import ROOT, official_state_dict, slow_after
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from old_runs import unpack_run

pytest.importorskip('mmdet')
from casvit_mm import InputError
from casvit_mm.engine import Randomness, Speed, Start, TrainOptions, evaluate, train, training
from casvit_mm.engine.hooks import PlainCheckpointHook

COCO = 'configs/maskrcnn_casvit_xs_coco.py'
SCRATCH = Start(from_scratch=True)


@HOOKS.register_module()
class _NeverTrains(Hook):
    """Fails the test if training starts."""

    def before_train(self, runner):
        pytest.fail('training started in spite of bad input')


class _Stop(Exception):
    """Ends a training that is ready to start."""


@HOOKS.register_module()
class _StopBeforeTraining(Hook):
    def before_train(self, runner):
        raise _Stop(runner)


def ready_runner(**arguments):
    """Return the Runner at the moment before its first iteration."""
    cfg_options = {
        'custom_hooks': [dict(type='_StopBeforeTraining')],
        **arguments.pop('cfg_options', {}),
    }
    config = ROOT / arguments.pop('config', COCO)
    with pytest.raises(_Stop) as caught:
        train(str(config), TrainOptions(cfg_options=cfg_options, **arguments))
    return caught.value.args[0]


@pytest.mark.slow
def test_auto_scale_lr_scales_from_the_published_total_batch(shapes, tmp_path):
    common = dict(start=SCRATCH, data=str(shapes), work_dir=str(tmp_path))
    plain = ready_runner(**common)
    scaled = ready_runner(auto_scale_lr=True, **common)
    rates = [r.optim_wrapper.param_groups[0]['initial_lr'] for r in (plain, scaled)]
    assert rates == [2e-4, pytest.approx(2e-4 * 4 / 32)]


def test_from_scratch_unfreezes_the_norms_and_pretrained_keeps_them_frozen(shapes, tmp_path):
    common = dict(data=str(shapes), work_dir=str(tmp_path))
    model = ready_runner(start=SCRATCH, **common).model.train()
    assert model.backbone.stem[1].training
    state = official_state_dict('xs')
    torch.save(dict(model=state), tmp_path / 'w.pth')
    init = {'model.backbone.init_cfg.checkpoint': str(tmp_path / 'w.pth')}
    model = ready_runner(cfg_options=init, **common).model.train()
    assert not model.backbone.stem[1].training
    assert torch.equal(model.backbone.stem[0].weight.cpu(), state['patch_embed.0.weight'])


def test_from_scratch_keeps_another_backbones_own_random_initialisation(shapes, tmp_path):
    config = 'configs/maskrcnn_resnet50_light.py'
    runner = ready_runner(config=config, start=SCRATCH, data=str(shapes), work_dir=str(tmp_path))
    # Kaiming's, by output channels: sqrt(2 / (64 * 7 * 7)); PyTorch's default is twice as wide.
    assert runner.model.backbone.conv1.weight.std().item() == pytest.approx(0.0253, rel=0.05)


def test_from_scratch_takes_a_backbone_that_has_no_norm_eval(shapes, tmp_path):
    config = 'configs/maskrcnn_repvit_m0_9_light.py'
    runner = ready_runner(config=config, start=SCRATCH, data=str(shapes), work_dir=str(tmp_path))
    assert type(runner.model.backbone).__name__ == 'TIMMBackbone'


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(shapes, tmp_path):
    common = dict(start=SCRATCH, data=str(shapes), work_dir=str(tmp_path))
    seeded = [Randomness(seed, deterministic=True) for seed in (3, 3, 4)]
    try:
        stems = [ready_runner(randomness=r, **common).model.backbone.stem[0].weight for r in seeded]
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(stems[0], stems[1])
    assert not torch.equal(stems[0], stems[2])


def bad_training(**arguments):
    """Start training in process; every bad input must end it before it starts."""
    cfg_options = {'custom_hooks': [dict(type='_NeverTrains')], **arguments.pop('cfg_options', {})}
    config = arguments.pop('config', str(ROOT / COCO))
    return train(config, TrainOptions(cfg_options=cfg_options, **arguments))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(), r"'checkpoints/cas-vit-xs\.pth' .*do not exist(?s:.*)--from-scratch"),
        (dict(config='configs/nowhere.py'), r'configs/nowhere\.py does not exist'),
        (
            dict(start=SCRATCH),
            r'instances_train2017\.json (?s:.*)does not exist(?s:.*)train2017\.zip(?s:.*)--data',
        ),
        (
            dict(start=SCRATCH, cfg_options={'model.backbone.drop_path': 0.1}),
            "model.backbone has no argument 'drop_path'; did you mean 'drop_path_rate'",
        ),
        (
            dict(start=SCRATCH, cfg_options={'model.backbone.arch': 'l'}),
            "model.backbone: unknown arch 'l'",
        ),
        (dict(start=SCRATCH, launcher='pytorch'), r'tools/dist_train\.sh'),
    ],
)
def test_bad_input_ends_before_training(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    with pytest.raises(InputError, match=message):
        bad_training(work_dir=str(tmp_path), **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a host without GPU')
def test_amp_without_gpu_is_refused(tmp_path):
    with pytest.raises(InputError, match='--amp needs a GPU'):
        bad_training(start=SCRATCH, speed=Speed(amp=True), work_dir=str(tmp_path))


def test_a_pretrained_file_that_does_not_fit_ends_before_training(shapes, tmp_path):
    torch.save({'stem.0.weight': torch.zeros(24, 3, 3, 3), 'x': torch.zeros(1)}, tmp_path / 'w.pth')
    with pytest.raises(InputError, match=r'w\.pth.* 1/535 keys matched'):
        bad_training(
            data=str(shapes),
            work_dir=str(tmp_path),
            cfg_options={'model.backbone.init_cfg.checkpoint': str(tmp_path / 'w.pth')},
        )


@pytest.mark.parametrize('entry', slow_after(2, ['test', 'resume', 'load_from']))
@pytest.mark.parametrize('damage', ['truncated', 'other model', 'missing'])
def test_a_checkpoint_that_cannot_be_used_is_refused(shapes, tmp_path, entry, damage):
    run = unpack_run('detection', tmp_path / 'run')
    path = tmp_path / 'c.pth'
    if damage == 'truncated':
        path.write_bytes(Path(run.checkpoint).read_bytes()[:100_000])
    elif damage == 'other model':
        content = torch.load(run.checkpoint, weights_only=True)
        content['state_dict'].pop('neck.fpn_convs.0.conv.weight')
        torch.save(content, path)
    message = {
        'truncated': r"c\.pth' \(100000 bytes\) is cut short",
        'other model': r'(?s)\d+/\d+ keys matched.*missing: neck\.fpn_convs\.0\.conv\.weight',
        'missing': r"c\.pth' does not exist",
    }[damage]
    common = dict(config=run.config, data=str(shapes), work_dir=str(tmp_path))
    use = {
        'test': lambda: evaluate(checkpoint=str(path), **common),
        'resume': lambda: bad_training(start=Start(resume=str(path), from_scratch=True), **common),
        'load_from': lambda: bad_training(
            cfg_options={'load_from': str(path), 'model.backbone.init_cfg': None}, **common
        ),
    }[entry]
    with pytest.raises(InputError, match=message):
        use()


def test_a_disk_that_turns_read_only_ends_a_training_with_one_message(tmp_path):
    class Runner:
        work_dir = tmp_path

        def register_hook(self, hook):
            pass

        def train(self):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), 'vis_data/scalars.json')

    with pytest.raises(InputError, match=r'scalars\.json: Read-only file system.*--resume'):
        training._run(Runner())


def test_resuming_never_executes_the_checkpoints_text(tmp_path):
    marker = tmp_path / 'ran'
    checkpoint = dict(state_dict={'weight': torch.zeros(1, 1), 'bias': torch.zeros(1)})
    checkpoint['meta'] = dict(config=f'import os; os.mkdir({str(marker)!r})')
    runner = type('Runner', (), dict(model=torch.nn.Linear(1, 1), _load_from='x.pth'))()
    runner.model.backbone = torch.nn.Identity()
    PlainCheckpointHook().after_load_checkpoint(runner, checkpoint)
    assert 'config' not in checkpoint['meta']
    assert not marker.exists()


@pytest.mark.parametrize('on_gpu', [False, True])
def test_rtmdet_makes_its_norms_synchronised_ones_on_gpus_alone(monkeypatch, on_gpu):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: on_gpu)
    cfg = Config.fromfile(ROOT / 'configs/rtmdet_casvit_xs_light.py')
    training._synchronise_on_gpus_alone(cfg, TrainOptions())
    assert cfg.model.get('use_syncbn', True) == on_gpu
