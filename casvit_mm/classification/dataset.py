"""Images of users in classes, whose checks have listed them in a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

__all__ = ['ClassDataset']


@DATASETS.register_module()
class ClassDataset(BaseDataset):
    """mmpretrain's dataset with the images that ``prepare_class_data`` wrote.

    ``ann_file`` is that JSON file, from which ``metainfo`` gets its ``classes``. The other
    arguments are those of the parent.
    """

    def load_data_list(self) -> list[dict]:
        """Return path and label of each image."""
        content = json.loads(Path(self.ann_file).read_text())
        self._metainfo['classes'] = tuple(content['classes'])
        return [dict(img_path=path, gt_label=label) for path, label in content['images']]

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on an image, and tell it the size that the sampler wants, if any.

        Args:
            idx: Position of the image. Samplers that draw a size for each batch yield integers with
                an attribute ``size``: the side of the input in pixels.
        """
        results = self.get_data_info(int(idx))
        size = getattr(idx, 'size', None)
        if size is not None and isinstance(idx, int):  # integers of NumPy have another size
            results['size'] = size
        return self.pipeline(results)
