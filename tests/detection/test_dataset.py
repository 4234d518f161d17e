import json
import pickle
import tracemalloc

import pytest

pytest.importorskip('mmdet')
from detection_data import edit
from mmdet.registry import DATASETS

from casvit_mm.datasets.formats.coco_index import write_indexed
from casvit_mm.datasets.formats.packed import pack_outlines
from casvit_mm.datasets.shapes import CLASSES, generate_shapes
from casvit_mm.detection import NamedCocoDataset


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


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """A file with an index: polygons, crowds, objects that are left out, images without any."""
    folder = tmp_path_factory.mktemp('indexed')
    source = generate_shapes(folder / 'shapes', sizes=(12, 3, 2), side=64, seed=3).parent
    content = json.loads((source / 'train.json').read_text())
    for number, one in enumerate(content['annotations']):
        one['iscrowd'] = int(number % 5 == 0)
        one['segmentation'] = pack_outlines(one['segmentation'])
    content['annotations'][1]['bbox'] = [500, 500, 5, 5]
    content['annotations'] = [a for a in content['annotations'][::-1] if a['image_id'] % 4]
    path = folder / 'train.json'
    write_indexed(path, content)
    return path


def built(path, **fields):
    fields = {'filter_cfg': dict(filter_empty_gt=True, min_size=32), **fields}
    metainfo = dict(classes=CLASSES[::-1])
    prefix = dict(img='images')
    return NamedCocoDataset(str(path), metainfo, data_prefix=prefix, **fields)


@pytest.mark.parametrize(
    'fields',
    [
        {},
        dict(test_mode=True),
        dict(filter_cfg=None),
        dict(filter_cfg=dict(min_size=64)),
        dict(indices=4),
        dict(indices=[3, 0]),
        dict(lazy_init=True),
    ],
)
def test_an_index_changes_nothing_of_what_is_learnt(written, fields, monkeypatch):
    indexed = built(written, **fields)
    with monkeypatch.context() as without:
        without.setattr('casvit_mm.detection.dataset.open_indexed', lambda path: None)
        whole = built(written, **fields)
        whole.full_init()
    infos = [whole.get_data_info(i) for i in range(-1, len(whole))]
    with monkeypatch.context() as nothing:  # the file is not read as a whole
        nothing.setattr('pycocotools.coco.open', None, raising=False)
        indexed.full_init()
    assert len(indexed) == len(whole)
    found = [indexed.get_data_info(i) for i in range(-1, len(whole))]
    assert repr(found) == repr(infos)
    assert (indexed.cat_ids, indexed.cat2label) == (whole.cat_ids, whole.cat2label)
    for some in (2, -2, [2, 1]) if len(whole) > 4 else ():
        one, other = indexed.get_subset(some), whole.get_subset(some)
        assert [one.get_data_info(i) for i in range(len(one))] == [
            other.get_data_info(i) for i in range(len(other))
        ]
    if len(whole) > 4:
        copied = pickle.loads(pickle.dumps(indexed))
        for one in (indexed, copied, whole):
            one.get_subset_([1, 3])
        infos = [repr([one.get_data_info(i) for i in (0, 1)]) for one in (indexed, copied, whole)]
        assert infos[0] == infos[1] == infos[2]


def test_no_process_holds_the_objects_of_all_images(tmp_path):
    """What a dataset holds does not grow with its objects, and little with its images."""
    outline = b'[[1.5,2.5,30.5,4.5,5.5,36.5]]'
    held = []
    for images in (100, 2100):
        content = dict(
            images=[dict(id=i, file_name=f'{i}.png', width=64, height=64) for i in range(images)],
            annotations=[
                dict(id=i, image_id=i % images, category_id=1, bbox=[1, 2, 30, 35], area=500)
                | dict(iscrowd=0, segmentation=outline)
                for i in range(10 * images)
            ],
            categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)],
        )
        write_indexed(tmp_path / f'{images}.json', content)
        tracemalloc.start()
        dataset = built(tmp_path / f'{images}.json')
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert len(dataset) == images
    assert (held[1] - held[0]) / 2000 < 250  # bytes for an image with ten objects
