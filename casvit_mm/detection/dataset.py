"""Custom datasets in COCO format, whose files may list the same categories in any order."""

from __future__ import annotations

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.registry import DATASETS

__all__ = ['NamedCoco', 'NamedCocoDataset']


class NamedCoco(COCO):
    """COCO annotations whose category ids come in the order of the names asked for.

    The parent returns them in the order of the file. Labels are positions in that list, so a
    validation file that lists its categories in another order than the training file would
    silently swap classes.
    """

    def get_cat_ids(
        self,
        cat_names: list[str] | tuple[str, ...] = (),
        sup_names: list[str] | tuple[str, ...] = (),
        cat_ids: list[int] | tuple[int, ...] = (),
    ) -> list[int]:
        """Return the ids of the categories that match, in the order of ``cat_names``."""
        names = list(cat_names)
        ids = self.getCatIds(names, list(sup_names), list(cat_ids))
        return sorted(ids, key=lambda i: names.index(self.cats[i]['name'])) if names else ids


@DATASETS.register_module()
class NamedCocoDataset(CocoDataset):
    """mmdet's COCO dataset with labels numbered by ``metainfo['classes']``, not by the file."""

    COCOAPI = NamedCoco
