"""What a dataset is, is told by what its files hold."""

import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.description import described_task, read_fields
from casvit_mm.datasets.formats.base import Annotations, Format, SourceFiles
from casvit_mm.datasets.formats.registry import FORMATS, read_source
from casvit_mm.datasets.splitting import record_of


@pytest.fixture
def yolo(tmp_path):
    """An image with a box in train/ and val/, and a data.yaml."""
    for split in ('train', 'val'):
        for name in ('images', 'labels'):
            (tmp_path / split / name).mkdir(parents=True)
        Image.new('RGB', (80, 40)).save(tmp_path / split / 'images/a.png')
        (tmp_path / split / 'labels/a.txt').write_text('0 0.5 0.5 0.5 0.5\n')
    text = 'train: ../train/images\nval: ../val/images\nnc: 1\nnames: [car]\n'
    (tmp_path / 'data.yaml').write_text(text)
    return tmp_path


def test_every_format_has_a_name_and_says_what_it_reads():
    assert len({one.name for one in FORMATS}) == len(FORMATS)
    assert all(one.reads for one in FORMATS)


def test_the_format_is_named_in_the_log(yolo):
    found = read_fields(yolo / 'data.yaml')
    assert found.notes[0] == 'read as YOLO'
    assert described_task(yolo / 'data.yaml') == 'detection'


def test_a_set_without_a_split_is_drawn_and_that_is_said(yolo):
    (yolo / 'data.yaml').write_text('train: train/images\nnames: [car]\n')
    found = read_fields(yolo / 'data.yaml')
    assert found.fields['split'] == dict(val=0.2, seed=0)
    assert '20% of the images are drawn once' in found.notes[1]


def test_the_split_of_a_folder_is_kept_in_it(tmp_path):
    assert record_of(tmp_path) == tmp_path / 'dataset.split.json'
    assert record_of(tmp_path / 'dataset.yaml') == tmp_path / 'dataset.split.json'


@pytest.mark.parametrize('name', ['', 'notes.txt'])
def test_what_no_format_knows_is_refused_with_what_was_seen_and_what_is_read(tmp_path, name):
    (tmp_path / 'notes.txt').write_text('')
    with pytest.raises(InputError, match=r'(?s)Read are:.*Pascal VOC: .*YOLO: .*dataset.yaml'):
        read_fields(tmp_path / name)


def test_a_folder_with_a_description_in_it_leads_there(tmp_path):
    (tmp_path / 'mine.yaml').write_text('train: {images: a}\n')
    with pytest.raises(InputError, match=r'a folder with mine.yaml in it; name that file'):
        read_fields(tmp_path)


def test_what_may_be_two_formats_is_refused(tmp_path, monkeypatch):
    fields = dict(data=dict(images='a', annotations='b'))
    twins = tuple(
        Format(name, name, lambda path: True, lambda path: fields, lambda files: Annotations({}))
        for name in ('one', 'other')
    )
    monkeypatch.setattr('casvit_mm.datasets.formats.registry.FORMATS', twins)
    with pytest.raises(InputError, match='in several formats: one and other'):
        read_fields(tmp_path)
    with pytest.raises(InputError, match='annotations may be one and other'):
        read_source(SourceFiles(tmp_path, tmp_path))
