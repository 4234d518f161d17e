import pytest

pytest.importorskip('mmdet')
from detection_data import RETINA, add_image, edit

from casvit_mm import InputError
from casvit_mm.datasets.description import SPLITS
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.prepare import prepare_dataset
from casvit_mm.detection.data.report import check_dataset
from casvit_mm.task import CheckOptions


def test_splits_with_other_categories_are_refused(folder):
    edit(folder, lambda content: content['categories'].append(dict(id=4, name='star')), 'val')
    data = read_dataset(folder / 'dataset.yaml')
    with pytest.raises(InputError, match=r"train and val disagree on the categories \['star'\]"):
        prepare_dataset(data, SPLITS, folder / 'prepared', with_masks=True)


def test_images_that_the_config_finds_too_small_are_told_or_refused(folder):
    add_image(folder, 'small.png', size=(24, 40))
    data = read_dataset(folder / 'dataset.yaml')

    def prepare(least_side):
        return prepare_dataset(data, SPLITS, folder / 'out', True, least_side=least_side)

    assert prepare(24)['train'].notes == ()
    (note,) = prepare(32)['train'].notes
    assert note.startswith('small.png has 24 x 40 pixels, and the config leaves images')
    with pytest.raises(InputError, match=r'every image of train that has objects .* below 65'):
        prepare(65)


def test_the_check_judges_sizes_by_its_config(folder):
    options = CheckOptions(config=str(RETINA), read_images=False)
    assert check_dataset(folder / 'dataset.yaml', folder / 'out', options)

    def shrink(content):
        for image in content['images']:
            image.update(width=31)

    edit(folder, shrink)
    assert not check_dataset(folder / 'dataset.yaml', folder / 'out', options)
