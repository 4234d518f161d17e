"""Augmentation as timm's, at the size of the batch."""

import random

import numpy as np
import pytest
from mmpretrain.datasets.transforms import RandomResizedCrop
from PIL import Image, ImageOps
from timm.data import create_transform

from casvit_mm.classification import (
    MultiScaleRandomResizedCrop,
    TimmRandAugment,
)
from casvit_mm.classification.pretraining.sampler import SizedIndex


def picture(height: int = 50, width: int = 70) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize('size', [None, 48])
def test_the_crop_is_that_of_mmpretrain_at_the_size_of_the_batch(size):
    options = dict(interpolation='bicubic', backend='pillow')
    index = 7 if size is None else SizedIndex(7, size)
    results = dict(img=picture(), sample_idx=index)
    np.random.seed(2)
    ours = MultiScaleRandomResizedCrop(32, **options)(results)['img']
    np.random.seed(2)
    theirs = RandomResizedCrop(size or 32, **options)(dict(img=picture()))['img']
    np.testing.assert_array_equal(ours, theirs)


def posterize_to_any_depth(image, bits):
    """What Pillow did before it refused 0 bits."""
    return image.point([value & ~(2 ** (8 - bits) - 1) for value in range(256)] * 3)


def test_augmentation_is_that_of_timms_transform_for_training(monkeypatch):
    monkeypatch.setattr(ImageOps, 'posterize', posterize_to_any_depth)
    whole = create_transform(
        64, is_training=True, auto_augment='rand-m9-mstd0.5-inc1', interpolation='bicubic'
    )
    theirs = next(t for t in whole.transforms if type(t).__name__ == 'RandAugment')
    ours = TimmRandAugment(size=64)
    changed = 0
    for seed in range(40):
        image = Image.fromarray(picture())
        random.seed(seed)
        np.random.seed(seed)
        expected = np.asarray(theirs(image))
        random.seed(seed)
        np.random.seed(seed)
        augmented = ours(dict(img=picture()[..., ::-1]))['img']
        np.testing.assert_array_equal(augmented[..., ::-1], expected)
        changed += not np.array_equal(expected, picture())
    assert changed > 20


def test_the_strongest_posterisation_gives_black_with_any_pillow():
    transform = TimmRandAugment('rand-m10-p1-n1-inc1')
    (posterize,) = [op for op in transform.augment.ops if op.name == 'PosterizeIncreasing']
    assert not np.asarray(posterize(Image.fromarray(picture()))).any()


def test_red_is_treated_as_red():
    transform = TimmRandAugment()
    # Grey of a colour weighs green most and blue least: an operation that tells them apart.
    transform.augment = lambda image: ImageOps.grayscale(image).convert('RGB')
    blue = np.zeros((2, 2, 3), np.uint8)
    blue[..., 0] = 255  # BGR
    assert transform(dict(img=blue))['img'].max() == 29  # 0.114 of 255; red would give 76


def test_another_policy_than_randaugment_is_refused():
    with pytest.raises(ValueError, match=r"timm's rand-\.\.\., got 'augmix-m5'"):
        TimmRandAugment('augmix-m5')
