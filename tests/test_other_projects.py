"""The examples of docs/howto/other_projects.md as they stand there, in a folder of their own."""

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from helpers import ROOT, official_state_dict, user_environment
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope

from casvit_mm import CASViT
from casvit_mm.datasets.shapes import (
    generate_shape_classes,
    generate_shape_labels,
    generate_shapes,
)
from casvit_mm.models import TimmCASViT

PAGE = (ROOT / 'docs/howto/other_projects.md').read_text()
EXAMPLES = dict(re.findall(r'```python\n# (\w+)\n(.+?)```', PAGE, re.DOTALL))
SCRIPTS = ('timm', 'smp', 'transformers')
CONFIGS = {name: text for name, text in EXAMPLES.items() if name not in SCRIPTS}


def detection_inputs() -> dict:
    from mmdet.testing import demo_mm_inputs

    return demo_mm_inputs(2, (3, 64, 96), num_classes=3)


def segmentation_inputs() -> dict:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(img_shape=(64, 96)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 4, (1, 64, 96)))
        samples.append(sample)
    images = [torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8) for _ in range(2)]
    return dict(inputs=images, data_samples=samples)


def classification_inputs() -> dict:
    from mmpretrain.structures import DataSample

    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    return dict(inputs=images, data_samples=[DataSample().set_gt_label(i) for i in range(2)])


def pose_inputs() -> dict:
    from mmpose.testing import get_packed_inputs

    return get_packed_inputs(2)


def action_inputs() -> dict:
    from mmaction.structures import ActionDataSample

    clips = [torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    return dict(inputs=clips, data_samples=[ActionDataSample().set_gt_labels(i) for i in range(2)])


def text_inputs() -> dict:
    import numpy as np
    from mmengine.structures import InstanceData
    from mmocr.structures import TextDetDataSample

    word = np.array([8, 8, 56, 8, 56, 24, 8, 24], dtype=np.float32)
    samples = []
    for _ in range(2):
        sample = TextDetDataSample(metainfo=dict(img_shape=(64, 64)))
        sample.gt_instances = InstanceData(
            polygons=[word], ignored=torch.zeros(1, dtype=torch.bool)
        )
        samples.append(sample)
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    return dict(inputs=images, data_samples=samples)


def rotated_inputs() -> dict:
    from mmrotate.testing import demo_mm_inputs

    return demo_mm_inputs(2, (3, 128, 128), use_box_type=True)


INPUTS: dict[str, Callable[[], dict]] = {
    'mmdet': detection_inputs,
    'mmseg': segmentation_inputs,
    'mmpretrain': classification_inputs,
    'mmpose': pose_inputs,
    'mmaction': action_inputs,
    'mmocr': text_inputs,
    'mmrotate': rotated_inputs,
}


def load(project: str, folder: Path) -> Config:
    """Read a config of the page, with the weights left out."""
    (folder / f'{project}.py').write_text(CONFIGS[project])
    cfg = Config.fromfile(folder / f'{project}.py')
    for key in ('init_cfg', 'pretrained', 'pretrained_cfg_overlay'):
        cfg.model.backbone.pop(key, None)
    return cfg


def test_every_example_of_the_page_is_run():
    assert set(CONFIGS) == set(INPUTS)
    assert set(EXAMPLES) == {*INPUTS, *SCRIPTS}


# The slow tests below train mmseg's config as a whole.
STEPS = [pytest.param(n, marks=pytest.mark.slow) if n == 'mmseg' else n for n in INPUTS]


@pytest.mark.parametrize('project', STEPS)
def test_a_training_step_has_finite_losses(project, tmp_path):
    pytest.importorskip(project)
    cfg = load(project, tmp_path)
    with DefaultScope.overwrite_default_scope(project):
        importlib.import_module(f'{project}.models')
        model = importlib.import_module(f'{project}.registry').MODELS.build(cfg.model).train()
        assert isinstance(model.backbone, (CASViT, TimmCASViT))
        optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
        losses = model.train_step(INPUTS[project](), optimizer)
    assert torch.isfinite(losses['loss'])
    assert losses['loss'] > 0


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A project of one's own: data, the published weights, and nothing of this repository."""
    folder = tmp_path_factory.mktemp('project')
    sizes = (8, 4, 4)
    generate_shapes(folder / 'data/shapes', sizes)
    generate_shape_labels(folder / 'data/shape_labels', sizes)
    generate_shape_classes(folder / 'data/shape_classes', sizes)
    (folder / 'checkpoints').mkdir()
    torch.save({'model': official_state_dict('s')}, folder / 'checkpoints/cas-vit-s.pth')
    return folder


def run_in(folder: Path, *command: object) -> str:
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=user_environment(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


SMALL = {
    'mmdet': [
        'train_cfg.max_epochs=1',
        'train_dataloader.dataset.pipeline.2.scale=(96,96)',
        'val_dataloader.dataset.pipeline.1.scale=(96,96)',
        'train_dataloader.batch_size=2',
        'model.test_cfg.score_thr=0.0',  # a metric without detections is none
    ],
    'mmseg': [
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'default_hooks.checkpoint.interval=2',
        'model.data_preprocessor.size=(64,64)',
        'train_dataloader.dataset.pipeline.3.crop_size=(64,64)',
        'train_dataloader.batch_size=2',
    ],
    'mmpretrain': [
        'train_cfg.max_epochs=1',
        'train_dataloader.dataset.pipeline.1.scale=64',
        'train_dataloader.batch_size=2',
    ],
}


def find_tool(name: str) -> list[object]:
    """The framework's own tool; ours where theirs cannot resolve the name of its own configs."""
    try:
        distribution(dict(mmseg='mmsegmentation').get(name, name))
    except PackageNotFoundError:
        if name == 'mmseg':
            return ['-m', 'casvit_mm', 'train']
    tool = Path(find_spec(name).origin).parent / '.mim/tools/train.py'
    if not tool.is_file():
        pytest.skip(f'this {name} was installed without its tools')
    return [tool]


@pytest.mark.slow
@pytest.mark.parametrize('name', SMALL)
def test_the_whole_config_trains_and_evaluates(name, project):
    pytest.importorskip(name)
    tool = find_tool(name)
    (project / f'{name}_own.py').write_text(CONFIGS[name])
    workers = [f'{split}_dataloader.num_workers=0' for split in ('train', 'val', 'test')]
    workers += [
        f'{split}_dataloader.persistent_workers=False' for split in ('train', 'val', 'test')
    ]
    log = run_in(project, *tool, f'{name}_own.py', '--cfg-options', *SMALL[name], *workers)
    score = {'mmdet': 'coco/bbox_mAP', 'mmseg': 'mIoU', 'mmpretrain': 'accuracy/top1'}[name]
    assert re.search(rf'{score}: [\d.]+', log), log[-2000:]
    assert list((project / f'work_dirs/{name}_own').glob('*.pth'))


@pytest.mark.slow
@pytest.mark.parametrize('name', SCRIPTS)
def test_a_script_of_the_page_runs(name, project):
    pytest.importorskip({'smp': 'segmentation_models_pytorch'}.get(name, name))
    (project / f'{name}_own.py').write_text(EXAMPLES[name])
    run_in(project, f'{name}_own.py')
