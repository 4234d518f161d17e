"""Image folders of custom datasets, whose checks have listed them in a JSON file."""

from __future__ import annotations

from typing import Any

from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from casvit_mm.classification.data.image_table import ImageTable, read_table

__all__ = ['ClassDataset']


@DATASETS.register_module()
class ClassDataset(BaseDataset):
    """mmpretrain's dataset with the images that ``prepare_dataset`` wrote.

    ``ann_file`` is that JSON file. The arguments are those of the parent; what it would serialize
    is packed already.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **dict(kwargs, serialize_data=False))

    def load_data_list(self) -> ImageTable:
        """Return path and label of each image."""
        return read_table(self.ann_file)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return path, label and position of an image."""
        self.full_init()
        path, label = self.data_list[idx]
        position = idx if idx >= 0 else len(self) + idx
        return dict(img_path=path, gt_label=label, sample_idx=position)
