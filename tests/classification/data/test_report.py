import json
import shutil

import pytest
from helpers import ROOT

from casvit_mm import InputError
from casvit_mm.datasets.shapes import CLASSES
from casvit_mm.engine.data_check import check_dataset

pytest.importorskip('mmpretrain')
from classification_data import first


def test_the_report_counts_and_draws_a_sound_set(folder, capsys):
    assert check_dataset(folder / 'dataset.yaml', folder / 'out')
    assert capsys.readouterr().out.startswith('YES: training can start')
    report = json.loads((folder / 'out/report.json').read_text())
    assert report['splits']['train']['images_per_class'] == dict.fromkeys(CLASSES, 2)
    assert report['splits']['test']['images'] == 3
    samples = [f'samples_{name}.png' for name in ('train', 'val', 'test')]
    assert report['pictures'] == ['classes.png', *samples]
    assert all((folder / 'out' / name).stat().st_size > 10_000 for name in report['pictures'])


def test_the_report_says_how_a_set_was_taken_apart(folder, capsys):
    (folder / 'one.yaml').write_text('data: {images: train}\nsplit: {val: 0.5}')
    assert check_dataset(folder / 'one.yaml', folder / 'out')
    note = 'split: images of each class, train/val: circle 1/1, square 1/1, triangle 1/1'
    assert note in capsys.readouterr().out
    assert json.loads((folder / 'out/report.json').read_text())['notes'] == [note]


def test_the_report_lists_every_issue(folder, capsys):
    first(folder).write_bytes(b'no image')
    (folder / 'val/star').mkdir()
    shutil.copy(folder / 'train/circle/0003.png', folder / 'val/star/new.png')
    assert not check_dataset(folder / 'dataset.yaml', folder / 'out')
    report = json.loads((folder / 'out/report.json').read_text())
    found = {(d['split'], d['kind'], d['where'], d['fatal']) for d in report['defects']}
    same = 'train/circle/0003.png = val/star/new.png'
    assert {entry for entry in found if entry[1] != 'rare class'} == {
        ('train', 'unreadable image', 'train/circle/0000.png', True),
        ('train', 'image with two labels', same, False),
        ('train', 'image in two splits', same, False),
        ('val', 'class that train lacks', "'star'", True),
    }
    assert 'NO: training would refuse this data; 2 places stop it.' in capsys.readouterr().out


def test_rare_classes_are_told_of_train_alone(folder, capsys):
    for i in range(10):
        shutil.copy(first(folder), folder / f'train/circle/{i}.png')
    assert check_dataset(folder / 'dataset.yaml', folder / 'out', read_images=False)
    report = json.loads((folder / 'out/report.json').read_text())
    rare = [(d['split'], d['where']) for d in report['defects'] if d['kind'] == 'rare class']
    assert rare == [('train', "'square'"), ('train', "'triangle'")]


def test_a_fast_check_decodes_no_image_and_says_so(folder, capsys):
    whole = first(folder).read_bytes()
    first(folder).write_bytes(whole[:60] + bytes(20) + whole[80:])
    assert check_dataset(folder / 'dataset.yaml', folder / 'out', read_images=False)
    assert '--fast decodes none' in capsys.readouterr().out
    assert not check_dataset(folder / 'dataset.yaml', folder / 'out')
    with pytest.raises(InputError, match='leave --fast out'):
        check_dataset(folder / 'dataset.yaml', folder / 'o', fix=folder / 'c', read_images=False)


def test_a_config_is_judged_and_one_of_another_task_refused(folder, capsys):
    config = ROOT / 'configs/casvit_xs_light.py'
    assert check_dataset(folder / 'dataset.yaml', folder / 'out', config=str(config))
    printed = capsys.readouterr().out
    assert 'Judged by casvit_xs_light.py, which shows 25% to 100% of an image' in printed
    report = json.loads((folder / 'out/report.json').read_text())
    assert report['config'] == str(config)
    assert report['fit']['smallest_part'] == 16
    other = str(ROOT / 'configs/semfpn_casvit_xs_light.py')
    with pytest.raises(InputError, match='se a classification config with this data'):
        check_dataset(folder / 'dataset.yaml', folder / 'out', config=other)
