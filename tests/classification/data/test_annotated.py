"""Tags of CVAT, flags of LabelMe and choices of Label Studio are classes of images."""

import json

import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.classification.data.convert import labelled_set
from casvit_mm.classification.data.description import read_dataset
from casvit_mm.classification.data.sources import list_splits
from casvit_mm.datasets.description import described_task
from casvit_mm.datasets.object_sources import load_split
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet
from casvit_mm.datasets.writers.registry import write_set
from casvit_mm.detection.data.description import read_dataset as read_objects
from casvit_mm.engine.convert import convert_data

CLASSES = dict(train=('cat', 'red dog', 'cat'), val=('red dog', 'cat'))
TOOLS = ('cvat', 'labelme', 'label-studio')


@pytest.fixture
def made(tmp_path):
    splits = {}
    for split, classes in CLASSES.items():
        splits[split] = []
        for i, name in enumerate(classes):
            file = tmp_path / f'{split}{i}.png'
            Image.effect_noise((32 + i, 32), 50 + len(split)).save(file)
            image = ImageLabels(file, f'sub/{file.name}', 32 + i, 32, classes=[(name, None)])
            splits[split].append(image)
    categories = [dict(id=1, name='cat'), dict(id=2, name='red dog')]
    return LabelledSet('classification', categories, splits)


@pytest.mark.parametrize('to', TOOLS)
def test_classes_come_back_from_every_tool(made, tmp_path, to):
    out = tmp_path / 'out'
    write_set(made, to, out)
    assert described_task(out) == 'classification'
    again, _ = labelled_set(out)
    for split, classes in CLASSES.items():
        found = {image.file.name: image.classes for image in again.splits[split]}
        assert found == {f'{split}{i}.png': [(name, None)] for i, name in enumerate(classes)}


@pytest.mark.parametrize('to', TOOLS)
def test_verify_counts_what_is_read_again(made, tmp_path, capsys, to):
    write_set(made, 'yolo', tmp_path / 'folders')
    convert_data(tmp_path / 'folders', to, tmp_path / 'out', verify=True)
    assert 'read again: 5 of 5 images with their classes' in capsys.readouterr().out


def choices(*names, **more):
    return dict(type='choices', id='c', value=dict(choices=list(names)), **more)


def write_tasks(folder, *results):
    tasks = []
    for i, result in enumerate(results):
        Image.new('RGB', (40, 30), (i, i, i)).save(folder / f'{i}.png')
        annotation = dict(result=result)
        tasks.append(dict(id=i, data=dict(image=f'{i}.png'), annotations=[annotation]))
    (folder / 'export.json').write_text(json.dumps(tasks))
    return folder / 'export.json'


def describe(folder, class_from='annotations', **fields):
    source = dict(images='.', annotations='export.json')
    if class_from:
        source['class_from'] = class_from
    (folder / 'dataset.yaml').write_text(json.dumps(dict(train=source, val=source, **fields)))
    return folder / 'dataset.yaml'


def test_an_image_of_several_classes_is_refused_by_name(tmp_path):
    write_tasks(tmp_path, [choices('cat', 'dog')], [choices('cat')], [])
    listing = list_splits(read_dataset(describe(tmp_path)), ('train',))['train']
    several, left_out = listing.issues
    assert (several.kind, several.fatal) == ('several classes', True)
    assert "0.png has several classes, 'cat', 'dog'" in several.message
    assert (left_out.fatal, left_out.message[:29]) == (False, '1 image(s) have no class and ')


def test_a_class_map_renames_and_joins_choices(tmp_path):
    write_tasks(tmp_path, [choices('cat')], [choices('Cat')], [choices('dog')])
    path = describe(tmp_path, classes=dict(cat=['cat', 'Cat'], dog='dog'))
    listing = list_splits(read_dataset(path), ('train',))['train']
    assert [image.class_name for image in listing.images] == ['cat', 'cat', 'dog']


def test_a_choice_about_a_region_is_no_class_of_the_image(tmp_path):
    value = dict(x=0, y=0, width=50, height=50, rectanglelabels=['car'])
    region = dict(type='rectanglelabels', id='r', value=value)
    write_tasks(tmp_path, [region, choices('torn', from_name='x') | dict(id='r')])
    loaded = load_split(read_objects(describe(tmp_path, class_from=None)), 'train')
    notes = ' '.join(note for _, note in loaded.skipped)
    assert 'results of type choices' in notes
    assert 'classes of their own' not in notes


def test_classes_beside_objects_are_told_to_who_learns_objects(tmp_path):
    value = dict(x=0, y=0, width=50, height=50, rectanglelabels=['car'])
    path = write_tasks(
        tmp_path, [dict(type='rectanglelabels', id='r', value=value), choices('night')]
    )
    assert described_task(path) == 'detection'
    path = describe(tmp_path, class_from=None)
    ((_, note),) = load_split(read_objects(path), 'train').skipped
    assert note.startswith('1 image(s) have classes of their own (tags, flags or choices)')


@pytest.mark.parametrize(
    'source',
    [
        dict(images='.', class_from='annotations'),
        dict(images='.', annotations='e.json', class_from='annotations', list='a.txt'),
    ],
)
def test_annotations_and_class_from_belong_together(tmp_path, source):
    path = tmp_path / 'dataset.yaml'
    path.write_text(json.dumps(dict(train=source, val=dict(images='.'))))
    with pytest.raises(InputError, match='class_from: annotations belongs to annotations:'):
        read_dataset(path)
