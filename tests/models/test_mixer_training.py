"""Every token mixer, and FViT, learns in the quickstart's detector."""

import pytest
import torch
from helpers import ROOT, TINY_ARCH, slow_after
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

from casvit_mm import TOKEN_MIXERS

pytest.importorskip('mmdet')
from mmdet.registry import DATASETS, MODELS

import casvit_mm.detection  # noqa: F401  registers the dataset
from casvit_mm.detection.data.apply import apply_splits
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.prepare import prepare_dataset

FVIT = dict(patch_size=16, embed_dim=24, depth=2, num_heads=4, mlp_dim=32)
BACKBONES = {
    name: (
        dict(type='CASViT', arch=TINY_ARCH, token_mixer=dict(type=name)),
        dict(type='FPN', in_channels=list(TINY_ARCH['embed_dims']), out_channels=64, num_outs=5),
    )
    for name in TOKEN_MIXERS.module_dict
}
BACKBONES['FViT'] = (
    dict(type='FViT', arch=FVIT, img_size=128),
    dict(type='SimpleFeaturePyramid', in_channels=24, in_stride=16, out_channels=64, num_outs=5),
)


@pytest.fixture(scope='module')
def recipe(shapes) -> Config:
    """The quickstart's config on a very small generated set."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs/maskrcnn_casvit_xs_shapes.py')
    data = read_dataset(shapes)
    prepared = prepare_dataset(data, ('train', 'val', 'test'), shapes.parent / 'prepared', True)
    apply_splits(cfg, data, prepared)
    return cfg


@pytest.mark.parametrize('name', slow_after(2, BACKBONES))
def test_the_loss_of_the_quickstarts_detector_falls(recipe, name):
    set_random_seed(0)
    dataset = DATASETS.build(recipe.train_dataloader.dataset)
    batch = pseudo_collate([dataset[i] for i in range(2)])
    parts = dict(zip(('backbone', 'neck'), BACKBONES[name]))
    model = MODELS.build(ConfigDict({**recipe.model, **parts})).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss, _ = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # Single losses scatter, with the regions that are drawn and with the machine's rounding.
    assert sum(losses[-3:]) / 3 < 0.8 * losses[0]
