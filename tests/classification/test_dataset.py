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


def test_a_part_of_the_images_can_be_asked_for(folder):
    file = str(prepare(folder)['train'].file)
    whole = ClassDataset(file)
    assert ClassDataset(file, indices=3).get_gt_labels().tolist() == [0, 0, 1]
    part = ClassDataset(file, indices=[4, 1])
    assert [part.get_data_info(i)['img_path'] for i in range(2)] == [
        whole.get_data_info(i)['img_path'] for i in (4, 1)
    ]
    assert whole.get_data_info(-1) == dict(whole.get_data_info(5), sample_idx=5)
    assert len(whole.get_subset(-2)) == 2
