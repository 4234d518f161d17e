import json
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip('mmdet')
from detection_data import edit, inspect, repeated_box, rle
from helpers import ROOT, slow_after

from casvit_mm import InputError
from casvit_mm.datasets.fit import Fit
from casvit_mm.detection.data.report_tables import SPLIT_ROWS, class_rows, make_report
from casvit_mm.detection.data.statistics import describe_split
from casvit_mm.engine.data_check import check_dataset
from casvit_mm.task import CheckOptions


def test_the_report_tells_verdict_first_and_survives_markup_in_names(folder, capsys):
    for split in ('train', 'val', 'test'):
        edit(folder, lambda c: c['categories'][1].update(name='[/red]a[b]'), split)
    edit(folder, lambda c: c['annotations'][1].update(category_id=7))
    inspection = inspect(folder)
    splits = {n: describe_split(o, ()) for n, o in inspection.objects.items()}
    fit = Fit('c.py', {}, [], ['advice [b]'])
    report = make_report(inspection, splits, fit, CheckOptions())
    report.show(SPLIT_ROWS, class_rows(splits))
    printed = capsys.readouterr().out
    assert printed.startswith('NO: training would refuse')
    assert '[/red]a[b]' in printed
    assert '- advice [b]' in printed
    assert 'annotation 2 has category_id 7' in printed


@pytest.mark.parametrize('classes', slow_after(1, [80, 1]))
def test_pictures_are_drawn_for_few_and_many_classes(folder, tmp_path, classes):
    def change(content):
        content['categories'] = [dict(id=i, name=f'class {i}') for i in range(classes)]
        for i, annotation in enumerate(content['annotations']):
            annotation['category_id'] = i % classes
        x, y, w, h = (int(v) for v in content['annotations'][0]['bbox'])
        content['annotations'][0]['segmentation'] = rle([x, y, w, h])

    for split in ('train', 'val', 'test'):
        edit(folder, change, split)
    repeated_box(folder)
    assert check_dataset(folder / 'dataset.yaml', tmp_path / 'out')
    report = json.loads((tmp_path / 'out/report.json').read_text())
    expected = {'classes', 'sizes', 'samples_train', 'samples_val', 'samples_test'}
    assert {Path(name).stem for name in report['pictures']} >= {*expected, 'findings_train'}
    for name in report['pictures']:
        with Image.open(tmp_path / 'out' / name) as image:
            assert min(image.size) > 150


def test_fix_without_reading_images_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match='leave --fast out'):
        check_dataset(folder / 'dataset.yaml', tmp_path, fix=tmp_path / 'c', read_images=False)


def test_with_a_copy_the_answer_is_about_the_copy(folder, tmp_path, capsys):
    edit(folder, lambda c: c['annotations'][1].update(category_id=9))
    assert check_dataset(folder / 'dataset.yaml', tmp_path / 'out', fix=tmp_path / 'clean')
    printed = capsys.readouterr().out
    assert printed.startswith('NO: ')
    assert f'Clean copy: {tmp_path / "clean/dataset.yaml"}' in printed


def test_a_config_of_another_task_is_refused(folder, tmp_path):
    config = str(ROOT / 'configs/casvit_xs_light.py')
    message = 'describes detection data: .* Use a detection config with this data'
    with pytest.raises(InputError, match=message):
        check_dataset(folder / 'dataset.yaml', tmp_path, config=config)


def test_a_missing_config_is_named(folder, tmp_path):
    with pytest.raises(InputError, match=r'config nowhere\.py does not exist'):
        check_dataset(folder / 'dataset.yaml', tmp_path, config='nowhere.py')
