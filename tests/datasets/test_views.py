import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from casvit_mm.datasets.views import undo_preprocessing


def test_undoing_the_preprocessing_returns_the_image():
    init_default_scope('mmdet')
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    for cfg in (
        dict(mean=[120.0, 110, 100], std=[60.0, 50, 40], bgr_to_rgb=True),
        dict(mean=[120.0, 110, 100], std=[60.0, 50, 40]),
        dict(),
    ):
        preprocessor = MODELS.build(dict(type='DetDataPreprocessor', **cfg))
        batch = preprocessor(dict(inputs=[image], data_samples=None))
        picture = undo_preprocessing(batch['inputs'][0], cfg)
        assert np.array_equal(picture, image.numpy()[::-1].transpose(1, 2, 0))
