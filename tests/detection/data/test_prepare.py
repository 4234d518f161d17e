import pytest

pytest.importorskip('mmdet')
from detection_data import edit

from casvit_mm import InputError
from casvit_mm.datasets.description import SPLITS
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.prepare import prepare_dataset


def test_splits_with_other_categories_are_refused(folder):
    edit(folder, lambda content: content['categories'].append(dict(id=4, name='star')), 'val')
    data = read_dataset(folder / 'dataset.yaml')
    with pytest.raises(InputError, match=r"train and val disagree on the categories \['star'\]"):
        prepare_dataset(data, SPLITS, folder / 'prepared', with_masks=True)
