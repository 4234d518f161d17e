"""The configs of docs/howto/other_projects.md as they stand there, trained for one step."""

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope

from casvit_mm import CASViT
from casvit_mm.models import TimmCASViT

PAGE = (ROOT / 'docs/howto/other_projects.md').read_text()
CONFIGS = dict(re.findall(r'```python\n# (\w+)\n(.+?)```', PAGE, re.DOTALL))


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


def test_every_config_of_the_page_is_run():
    assert set(CONFIGS) == set(INPUTS)


@pytest.mark.parametrize('project', INPUTS)
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
