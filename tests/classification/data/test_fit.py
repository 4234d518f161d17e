from types import SimpleNamespace

import numpy as np
import pytest
from helpers import ROOT

pytest.importorskip('mmpretrain')

from casvit_mm.classification.data.fit import classification_fit, read_random_crop, read_view
from casvit_mm.config.reading import read_config

IMAGENET = str(ROOT / 'configs/casvit_xs_imagenet.py')
LIGHT = str(ROOT / 'configs/casvit_xs_light.py')


def fit_of(config, size, counts=(50, 60)):
    """The fit of images of one size; ``counts`` of two classes."""
    inspection = SimpleNamespace(
        classes=('cat', 'dog'),
        scans={'train': [SimpleNamespace(upright=size)] * 3},
        counts=lambda split: np.array(counts),
    )
    return classification_fit(config, read_config(config), inspection)


def test_crops_and_sizes_are_read_from_the_config():
    cfg = read_config(IMAGENET)
    assert read_random_crop(cfg) == (224, 0.08, 1.0)
    assert read_view(cfg) == (256, 224)
    assert read_random_crop(read_config(LIGHT)) == (128, 0.25, 1.0)


def test_images_that_fit_give_no_advice():
    fit = fit_of(IMAGENET, (500, 400))
    assert fit.advice == []
    assert fit.figures['smallest_part'] == round((0.08 * 500 * 400) ** 0.5) == 126
    assert fit.figures['enlarged'] == 256 / 400
    assert fit.figures['shown'] == pytest.approx(224 * 224 / (256 * 320))
    assert 'CASViTClsHead 1000; training makes them 2' in '\n'.join(fit.lines)


def test_small_images_are_told():
    small, large = fit_of(IMAGENET, (64, 64)).advice
    assert 'is 18 px wide' in small
    assert 'to 0.25.' in small
    assert 'enlarged 4.0 times' in large


def test_long_images_are_told():
    (advice,) = fit_of(IMAGENET, (1200, 400)).advice
    assert 'shows 26% of an image' in advice


def test_unbalanced_classes_are_told():
    (unbalanced,) = fit_of(IMAGENET, (500, 400), (3, 90)).advice
    assert '90 of dog and 3 of cat' in unbalanced
