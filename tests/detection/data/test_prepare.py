import json
from pathlib import Path

import pytest
from helpers import ROOT
from mmengine.config import Config

pytest.importorskip('mmdet')
from mmdet.registry import DATASETS

import casvit_mm.detection  # noqa: F401  registers the dataset
from casvit_mm import InputError
from casvit_mm.datasets.formats.coco import check_coco
from casvit_mm.datasets.shapes import CLASSES, generate_shapes
from casvit_mm.detection.data.apply import apply_splits
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.prepare import prepare_dataset

MASK = ROOT / 'configs/maskrcnn_casvit_xs_coco.py'
SET = 'data: {annotations: a, images: b}\n'
RETINA = ROOT / 'configs/retinanet_casvit_xs_coco.py'


def edit(path: Path, change) -> Path:
    """Rewrite a copy of a JSON file beside it."""
    content = json.loads(path.read_text())
    change(content)
    copy = path.with_name(f'edited_{path.name}')
    copy.write_text(json.dumps(content))
    return copy


def prepare(description: Path, splits=('train', 'val', 'test'), masks=True, classes=None):
    """The prepared splits of a description; what has to be written goes to prepared/ beside it."""
    data = read_dataset(description)
    return prepare_dataset(data, splits, description.parent / 'prepared', masks, classes)


def put_into(cfg: Config, description: Path, splits=('train', 'val', 'test'), classes=None) -> None:
    prepared = prepare(description, splits, classes=classes)
    apply_splits(cfg, read_dataset(description), prepared, classes)


@pytest.fixture
def folder(tmp_path):
    return generate_shapes(tmp_path, sizes=(4, 3, 2), side=64, seed=3).parent


@pytest.mark.parametrize('config', [MASK, RETINA])
def test_classes_paths_heads_and_evaluators_follow_from_the_data(folder, config):
    (folder / 'dataset.yaml').write_text((folder / 'dataset.yaml').read_text() + 'max_dets: 300\n')
    cfg = Config.fromfile(config)
    put_into(cfg, folder / 'dataset.yaml')
    head = cfg.model.roi_head.bbox_head if config == MASK else cfg.model.bbox_head
    assert head.num_classes == 3
    if config == MASK:
        assert cfg.model.roi_head.mask_head.num_classes == 3
    limit = cfg.model.test_cfg.rcnn if config == MASK else cfg.model.test_cfg
    assert limit.max_per_img == cfg.test_evaluator.max_dets == cfg.val_evaluator.max_dets == 300
    assert cfg.test_evaluator.ann_file == str(folder / 'test.json')
    for split in ('train', 'val', 'test'):
        dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
        assert dataset.metainfo['classes'] == CLASSES
        assert len(dataset) == dict(train=4, val=3, test=2)[split]
        assert Path(dataset[0]['data_samples'].img_path).is_file()


def test_labels_do_not_depend_on_the_order_of_categories_in_the_file(folder):
    def labels(annotations):
        dataset = DATASETS.build(
            dict(
                type='NamedCocoDataset',
                ann_file=str(annotations),
                data_prefix=dict(img=str(folder / 'val')),
                metainfo=dict(classes=CLASSES),
                test_mode=True,
            )
        )
        return [[i['bbox_label'] for i in dataset.get_data_info(n)['instances']] for n in range(3)]

    shuffled = edit(folder / 'val.json', lambda c: c['categories'].reverse())
    assert labels(shuffled) == labels(folder / 'val.json')
    assert len({label for image in labels(shuffled) for label in image}) > 1


def test_a_trained_models_order_of_classes_is_kept(folder):
    cfg = Config.fromfile(MASK)
    trained = ('triangle', 'circle', 'square')
    put_into(cfg, folder / 'dataset.yaml', ('test',), trained)
    assert cfg.test_dataloader.dataset.metainfo.classes == trained
    other = ('circle', 'square', 'hexagon')
    with pytest.raises(InputError, match=r"disagree on the categories \['hexagon', 'triangle'\]"):
        put_into(cfg, folder / 'dataset.yaml', ('test',), other)


def test_test_falls_back_to_val(folder):
    text = (folder / 'dataset.yaml').read_text()
    (folder / 'two.yaml').write_text(text[: text.index('test:')])
    cfg = Config.fromfile(MASK)
    put_into(cfg, folder / 'two.yaml', ('test',))
    assert cfg.test_evaluator.ann_file == str(folder / 'val.json')


@pytest.mark.parametrize(
    ('yaml', 'message'),
    [
        ('train: [', 'not YAML'),
        ('- a', 'must hold fields'),
        ('train: {annotations: a, images: b}', "lacks 'val'"),
        ('train: {annotations: a}', "'train' needs the fields annotations and images"),
        ('train: {annotations: a, images: b, imgs: c}', "unknown field 'imgs'"),
        ('trian: {annotations: a, images: b}', "unknown field 'trian'"),
        ('max_dets: many', 'max_dets'),
        ('train: []', "'train' is an empty list"),
        ('data: {annotations: a, images: b}', 'data and split belong together'),
        ('split: {val: 0.2}', 'data and split belong together'),
        (f'{SET}split: {{val: 0.2}}\ntrain: {{annotations: a, images: b}}', 'has train as well'),
        (f'{SET}split: 0.2', 'split must be like'),
        (f'{SET}split: {{val: 0.6, test: 0.4}}', 'leave images to train on'),
        (f'{SET}split: {{val: half}}', 'as shares'),
        (f'{SET}split: {{folds: 1}}', 'folds of at least 2'),
        (f'{SET}split: {{folds: 3, fold: 3}}', 'fold from 0 to folds - 1'),
        (f'{SET}split: {{val: 0.2}}\nclasses: cat', 'classes must be a list'),
        (f'{SET}split: {{val: 0.2}}\nclasses: [cat, cat]', 'one class twice'),
        (f'{SET}split: {{val: 0.2}}\nclasses: {{a: cat, b: [dog, cat]}}', "'cat' into two"),
    ],
)
def test_a_wrong_description_is_refused_by_field(tmp_path, yaml, message):
    complete = 'train: {annotations: a, images: b}\nval: {annotations: a, images: b}\n'
    text = complete + yaml if yaml.startswith('max_dets') else yaml
    (tmp_path / 'd.yaml').write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path / 'd.yaml')


def test_a_missing_description_is_refused():
    with pytest.raises(InputError, match=r'nowhere\.yaml .*does not exist'):
        read_dataset('nowhere.yaml')


def remove(section, field):
    return lambda content: content[section][1].pop(field)


def put(section, field, value):
    return lambda content: content[section][1].update({field: value})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.pop('images'), "lacks the list 'images'"),
        (remove('images', 'file_name'), r"images\[1\] lacks 'file_name'"),
        (remove('images', 'width'), r"images\[1\] lacks 'width'"),
        (remove('annotations', 'bbox'), r"annotations\[1\] lacks 'bbox'"),
        (remove('annotations', 'area'), r"annotations\[1\] lacks 'area'"),
        (remove('categories', 'name'), r"categories\[1\] lacks 'name'"),
        (put('annotations', 'category_id', 9), r"annotation 2 has category_id 9.*1: 'circle'"),
        (put('annotations', 'image_id', 99), 'annotation 2 has image_id 99'),
        (put('annotations', 'bbox', [1, 2, 3]), r'bbox \[1, 2, 3\]; expected'),
        (put('annotations', 'segmentation', []), 'no polygon .*retinanet'),
        (put('annotations', 'id', 1), 'annotations.id occur more than'),
        (put('categories', 'name', 'circle'), 'categories.name occur more than'),
        (put('images', 'width', 0), 'width 0'),
        (lambda c: c['annotations'].clear(), 'no usable annotation: 0 listed'),
        (lambda c: [a.update(iscrowd=1) for a in c['annotations']], 'no usable annotation'),
        (put('images', 'file_name', 'gone.png'), r'1 of 4 images .* gone\.png'),
    ],
)
def test_a_wrong_annotation_file_is_refused_by_place(folder, change, message):
    path = edit(folder / 'train.json', change)
    with pytest.raises(InputError, match=message) as caught:
        check_coco(path, folder / 'train', 'train of d.yaml', with_masks=True)
    assert str(path) in str(caught.value)
    assert 'train of d.yaml' in str(caught.value)


@pytest.mark.parametrize(
    ('content', 'message'),
    [(None, 'does not exist'), ('{"images": [', 'not JSON'), ('[]', 'holds a list')],
)
def test_an_unreadable_annotation_file_is_refused(folder, content, message):
    path = folder / 'broken.json'
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        check_coco(path, folder / 'train', 'train of d.yaml')


def test_boxes_alone_need_no_segmentation(folder):
    path = edit(folder / 'train.json', lambda c: [a.pop('segmentation') for a in c['annotations']])
    assert check_coco(path, folder / 'train', 'train').classes == CLASSES


def test_splits_with_other_categories_are_refused(folder):
    edit(folder / 'val.json', lambda c: c['categories'].append(dict(id=4, name='star')))
    text = (folder / 'dataset.yaml').read_text().replace('val.json', 'edited_val.json')
    (folder / 'dataset.yaml').write_text(text)
    with pytest.raises(InputError, match=r"train and val disagree on the categories \['star'\]"):
        prepare(folder / 'dataset.yaml')


def test_generated_shapes_are_the_same_for_the_same_seed_and_differ_between_splits(tmp_path):
    a = generate_shapes(tmp_path / 'a', sizes=(2, 2, 2), side=64, seed=5).parent
    b = generate_shapes(tmp_path / 'b', sizes=(2, 2, 2), side=64, seed=5).parent
    assert (a / 'train/0001.png').read_bytes() == (b / 'train/0001.png').read_bytes()
    assert (a / 'train/0001.png').read_bytes() != (a / 'test/0001.png').read_bytes()
