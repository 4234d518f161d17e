"""Image folders of custom datasets, whose checks have listed them in a JSON file."""

from __future__ import annotations

import json
from pathlib import Path

from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

__all__ = ['ClassDataset']


@DATASETS.register_module()
class ClassDataset(BaseDataset):
    """mmpretrain's dataset with the images that ``prepare_dataset`` wrote.

    ``ann_file`` is that JSON file. The arguments are those of the parent.
    """

    def load_data_list(self) -> list[dict]:
        """Return path and label of each image."""
        content = json.loads(Path(self.ann_file).read_text())
        return [dict(img_path=path, gt_label=label) for path, label in content['images']]
