"""A dataset that other processes import by this name, which a test file cannot offer."""

from typing import ClassVar

import numpy as np
from mmengine.dataset import Compose
from mmengine.registry import DATASETS


@DATASETS.register_module()
class NoisyImages:
    metainfo: ClassVar = dict(classes=('dark', 'bright'))

    def __init__(self, pipeline):
        self.pipeline = Compose(pipeline)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        low = 100 * (index % 2)
        image = np.random.RandomState(index).randint(low, low + 150, (64, 96, 3)).astype(np.uint8)
        return self.pipeline(dict(img=image, gt_label=index % 2, ori_shape=(640, 960)))
