import pytest

pytest.importorskip('mmpretrain')
from classification_data import prepare

from casvit_mm.classification import ClassDataset


class SizedIndex(int):
    """As a sampler that draws a size for each batch yields it."""

    size = 96


def test_the_size_that_a_sampler_asks_for_reaches_the_pipeline(folder):
    dataset = ClassDataset(str(prepare(folder)['train'].file), pipeline=[dict])
    assert dataset[SizedIndex(2)]['sample_idx'].size == 96
    assert dataset[SizedIndex(2)]['img_path'] == dataset[2]['img_path']


def test_labels_can_be_asked_for_without_reading_images(folder):
    dataset = ClassDataset(str(prepare(folder)['train'].file))
    assert [dataset.get_cat_ids(i) for i in range(6)] == [[0], [0], [1], [1], [2], [2]]
