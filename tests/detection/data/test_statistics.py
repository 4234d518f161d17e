import json

import pytest

pytest.importorskip('mmdet')

from casvit_mm.detection.data.objects import read_objects
from casvit_mm.detection.data.statistics import describe_split


def test_figures_count_what_is_learnt(folder):
    content = json.loads((folder / 'train.json').read_text())
    total = len(content['annotations'])
    content['annotations'][0].update(iscrowd=1)
    content['annotations'][1].update(bbox=[10, 10, 0.5, 9])
    figures = describe_split(read_objects(content), ())
    assert figures['objects'] == sum(figures['objects_per_class'].values()) == total - 2
    assert (figures['crowds'], figures['not_learnt']) == (1, 1)
    assert figures['objects_per_image']['mean'] == pytest.approx((total - 2) / 24)
    learnt = content['annotations'][2:]
    pairs = {(a['image_id'], a['category_id']) for a in learnt}
    assert sum(figures['images_per_class'].values()) == len(pairs) < len(learnt)
