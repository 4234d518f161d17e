import pytest

pytest.importorskip('mmdet')
from casvit_mm import InputError
from casvit_mm.detection.data.description import read_dataset

SET = 'data: {annotations: a, images: b}\n'


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
        (f'{SET}split: {{val: 0.2}}\nclasses: [cat, cat]', "names 'cat' twice"),
        (f'{SET}split: {{val: 0.2}}\nboxes: xyxy', "boxes must be sizes .* got 'xyxy'"),
        (f'{SET}split: {{val: 0.2}}\nclasses: {{a: cat, b: [dog, cat]}}', "'cat' into two"),
    ],
)
def test_a_wrong_description_is_refused_by_field(tmp_path, yaml, message):
    complete = 'train: {annotations: a, images: b}\nval: {annotations: a, images: b}\n'
    text = complete + yaml if yaml.startswith('max_dets') else yaml
    (tmp_path / 'd.yaml').write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path / 'd.yaml')


@pytest.mark.parametrize('name', ['on', 'no', '01', '1.10', 'null', '2024-01-02', '~', '0x1f'])
@pytest.mark.parametrize('classes', ['[{}]', '{{{}: cat}}', '{{pet: {}}}', '{{pet: [cat, {}]}}'])
def test_names_of_classes_that_yaml_takes_for_something_else_are_refused(tmp_path, classes, name):
    path = tmp_path / 'd.yaml'
    path.write_text(f'{SET}split: {{val: 0.2}}\nclasses: {classes.format(name)}')
    with pytest.raises(InputError, match=r'is no text\. Put such names in quotation marks'):
        read_dataset(path)
    path.write_text(f'{SET}split: {{val: 0.2}}\nclasses: {classes.format(repr(name))}')
    assert name in {
        name for pair in read_dataset(path).classes.items() for name in (pair[0], *pair[1])
    }


def test_a_missing_description_is_refused():
    with pytest.raises(InputError, match=r'nowhere\.yaml .*does not exist'):
        read_dataset('nowhere.yaml')
