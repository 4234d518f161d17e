"""Augmentation as the published ImageNet training has it, on mmpretrain's BGR images."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.datasets.transforms import RandomResizedCrop
from mmpretrain.registry import TRANSFORMS
from PIL import Image
from timm.data.auto_augment import posterize, rand_augment_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN
from timm.data.transforms import str_to_pil_interp

from casvit_mm.classification.pretraining.sampler import SizedIndex

__all__ = ['MultiScaleRandomResizedCrop', 'TimmRandAugment']


@TRANSFORMS.register_module()
class MultiScaleRandomResizedCrop(RandomResizedCrop):
    """mmpretrain's random resized crop, to the size that the batch has.

    The index that :class:`casvit_mm.classification.MultiScaleBatchSampler` yields, which MMEngine's
    datasets keep as ``sample_idx``, carries the side in pixels; it goes before ``scale``. With any
    other index this is mmpretrain's transform.
    """

    def transform(self, results: dict) -> dict:
        index = results.get('sample_idx')
        if not isinstance(index, SizedIndex):
            return super().transform(results)
        sized = copy.copy(self)
        sized.scale = (index.size, index.size)
        return RandomResizedCrop.transform(sized, results)


@TRANSFORMS.register_module()
class TimmRandAugment(BaseTransform):
    """RandAugment of timm, with what ``timm.data.create_transform`` gives it.

    mmpretrain's own RandAugment has other operations and magnitudes.

    Args:
        policy: timm's name of the policy.
        size: Side of the image in pixels. It bounds shifts by absolute distance, of which the
            ``rand`` policies have none: theirs go by the share of the image.
        mean: Mean colour in RGB from 0 to 1, which fills what a shift or rotation leaves empty.
        interpolation: How rotated and sheared pixels are read, by timm's name.

    Raises:
        ValueError: If ``policy`` is no RandAugment.
    """

    def __init__(
        self,
        policy: str = 'rand-m9-mstd0.5-inc1',
        size: int = 224,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        interpolation: str = 'bicubic',
    ) -> None:
        if policy.partition('-')[0] != 'rand':
            raise ValueError(f"policy must be one of timm's rand-..., got {policy!r}")
        self.augment = rand_augment_transform(
            policy,
            dict(
                translate_const=int(size * 0.45),
                img_mean=tuple(min(255, round(255 * value)) for value in mean),
                interpolation=str_to_pil_interp(interpolation),
            ),
        )
        for operation in self.augment.ops:
            if operation.aug_fn is posterize:
                operation.aug_fn = _posterize

    def transform(self, results: dict) -> dict:
        """Augment ``results['img']``, (H, W, 3) uint8 in BGR."""
        # Some operations treat red, green and blue differently: timm means an RGB image.
        image = Image.fromarray(np.ascontiguousarray(results['img'][..., ::-1]))
        results['img'] = np.ascontiguousarray(np.asarray(self.augment(image))[..., ::-1])
        return results


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """Keep the highest ``bits`` of each colour; timm passes further arguments.

    The strongest magnitude asks for 0 bits: a black image, which Pillow 13 refuses to make.
    """
    return posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)
