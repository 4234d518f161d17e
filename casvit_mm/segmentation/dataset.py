"""Segmentation masks of custom datasets, whose checks have listed them in a JSON file."""

from __future__ import annotations

import json
from pathlib import Path

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

__all__ = ['LabelDataset']


@DATASETS.register_module()
class LabelDataset(BaseSegDataset):
    """mmseg's dataset with the pairs that ``segmentation.data.prepare`` wrote.

    ``ann_file`` is that JSON file. ``metainfo`` holds ``classes``, ``palette`` and ``ignore``: the
    values in the masks that become 255, as they stand in the files.
    """

    def load_data_list(self) -> list[dict]:
        """Return image, mask and how to read the latter, for each pair."""
        # LoadAnnotations takes 1 off every value before it looks into the map.
        shift = int(self.reduce_zero_label)
        ignored = [v - shift for v in self.metainfo['ignore'] if v >= shift and v != 255]
        label_map = dict.fromkeys(ignored, 255)
        return [
            dict(
                img_path=pair['image'],
                seg_map_path=pair['label'],
                label_map=label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for pair in json.loads(Path(self.ann_file).read_text())['pairs']
        ]
