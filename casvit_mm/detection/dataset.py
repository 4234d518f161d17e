"""Custom datasets in COCO format, whose files may list the same categories in any order."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.dataset import force_full_init
from mmengine.registry import DATASETS

from casvit_mm.datasets.formats.coco_index import IndexedFile, open_indexed

__all__ = ['NamedCoco', 'NamedCocoDataset']


class NamedCoco(COCO):
    """COCO annotations whose category ids come in the order of the names asked for.

    The parent returns them in the order of the file. Labels are positions in that list, so a
    validation file that lists its categories in another order than the training file would
    silently swap classes.
    """

    @classmethod
    def of(cls, content: dict[str, Any]) -> NamedCoco:
        """Return the annotations of content that is in memory already."""
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports on stdout
            api = cls()
            api.dataset = content
            api.createIndex()
        api.img_ann_map, api.cat_img_map = api.imgToAnns, api.catToImgs
        return api

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
    """mmdet's COCO dataset with labels numbered by ``metainfo['classes']``, not by the file.

    A file that :func:`~casvit_mm.datasets.formats.coco_index.write_indexed` wrote is not read as a
    whole: the objects of an image are read with it, and no process holds those of all images. The
    parent's own ``parse_data_info`` and ``filter_data`` make of them what they make of any file.
    """

    COCOAPI = NamedCoco
    _fully_initialized: bool
    _indexed: IndexedFile | None = None
    _rows: np.ndarray  # positions in the file of the images that are left

    def full_init(self) -> None:
        """Read the annotations, or the index of them."""
        if self._fully_initialized:
            return
        plain = self.proposal_file is None and not self.backend_args and self.serialize_data
        self._indexed = open_indexed(self.ann_file) if plain else None
        if self._indexed is None:
            super().full_init()
            return
        self._read_index(self._indexed)
        self._fully_initialized = True

    def _read_index(self, indexed: IndexedFile) -> None:
        api = NamedCoco.of(dict(categories=indexed.categories))
        self.cat_ids = api.get_cat_ids(cat_names=self.metainfo['classes'])
        self.cat2label = {category: label for label, category in enumerate(self.cat_ids)}
        owners = np.repeat(indexed.ids, indexed.counts)
        self.cat_img_map = {
            category['id']: owners[indexed.labels == category['id']].tolist()
            for category in indexed.categories
        }
        self.data_list = [
            dict(img_id=number, width=size[0], height=size[1], row=row)
            for row, (number, size) in enumerate(
                zip(indexed.ids.tolist(), indexed.sizes.tolist(), strict=True)
            )
        ]
        self.data_list = self.filter_data()
        if self._indices is not None:
            self.data_list = self._get_unserialized_subset(self._indices)
        self._rows = np.array([info['row'] for info in self.data_list], dtype=np.int64)
        self.data_list = []
        del self.cat_img_map

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return image and objects as the parent's ``parse_data_info`` makes them of the file."""
        if self._indexed is None:
            return super().get_data_info(idx)
        image, annotations = self._indexed[self._rows[idx]]
        image['img_id'] = image['id']
        info = self.parse_data_info(dict(raw_img_info=image, raw_ann_info=annotations))
        info['sample_idx'] = idx if idx >= 0 else len(self) + idx
        return info

    @force_full_init
    def __len__(self) -> int:
        return super().__len__() if self._indexed is None else len(self._rows)

    @force_full_init
    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep some images, as the parent does."""
        if self._indexed is None:
            super().get_subset_(indices)
        else:
            self._rows = self._some_rows(indices)

    @force_full_init
    def get_subset(self, indices: Sequence[int] | int) -> NamedCocoDataset:
        """Return a dataset of some of the images, as the parent does."""
        if self._indexed is None:
            return super().get_subset(indices)
        other = self._copy_without_annotation()
        other._rows = self._some_rows(indices)
        return other

    def _some_rows(self, indices: Sequence[int] | int) -> np.ndarray:
        if isinstance(indices, int):
            return self._rows[:indices] if indices >= 0 else self._rows[indices:]
        return self._rows[list(indices)]
