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
