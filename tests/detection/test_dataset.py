import pytest

pytest.importorskip('mmdet')
from detection_data import edit
from mmdet.registry import DATASETS

import casvit_mm.detection  # noqa: F401  registers the dataset
from casvit_mm.datasets.shapes import CLASSES, generate_shapes


def test_labels_do_not_depend_on_the_order_of_categories_in_the_file(tmp_path):
    folder = generate_shapes(tmp_path, sizes=(4, 3, 2), side=64, seed=3).parent

    def labels():
        dataset = DATASETS.build(
            dict(
                type='NamedCocoDataset',
                ann_file=str(folder / 'val.json'),
                data_prefix=dict(img=str(folder / 'val')),
                metainfo=dict(classes=CLASSES),
                test_mode=True,
            )
        )
        return [[i['bbox_label'] for i in dataset.get_data_info(n)['instances']] for n in range(3)]

    before = labels()
    edit(folder, lambda content: content['categories'].reverse(), 'val')
    assert labels() == before
    assert len({label for image in before for label in image}) > 1
