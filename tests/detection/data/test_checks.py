"""Checks of detection data: every planted issue is found once, and nothing else."""

import shutil
from pathlib import Path

import pytest
from helpers import slow_after

pytest.importorskip('mmdet')
from detection_data import MASK, PLANTS, RETINA, edit, inspect, kinds

from casvit_mm import InputError
from casvit_mm.datasets.description import SPLITS
from casvit_mm.datasets.fit import Fit
from casvit_mm.datasets.image_scan import scan_headers
from casvit_mm.datasets.object_sources import load_split
from casvit_mm.detection.data.checks import inspect_dataset
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.fix import fix_dataset
from casvit_mm.detection.data.issues import ISSUE_KINDS
from casvit_mm.detection.data.objects import read_objects
from casvit_mm.detection.data.prepare import prepare_dataset
from casvit_mm.detection.data.report_tables import make_report
from casvit_mm.task import CheckOptions

FIT = Fit('c.py')


def test_a_clean_set_has_no_issue(clean):
    inspection = inspect(clean.parent)
    assert inspection.issues == dict(train=[], val=[], test=[])
    assert make_report(inspection, {}, FIT, CheckOptions()).verdict() == (
        'YES: training can start; no issue was found.'
    )


ALSO = {
    'no usable object': {'class without objects'},
    'class not learnt': {'class without objects'},
    'splits share images': {'image in two splits'},
    'boxes look like corners': {'box beyond the edge', 'box differs from mask'},
}


@pytest.mark.parametrize('name', PLANTS)
def test_a_planted_issue_is_found_once_and_nothing_else(folder, name):
    kind = name.partition(':')[0]
    PLANTS[name](folder)
    inspection = inspect(folder)
    found = kinds(inspection)
    for consequence in ALSO.get(kind, ()):
        found.pop(consequence)
    assert found == {kind: 1}
    assert all(d.where.strip() for issues in inspection.issues.values() for d in issues)


def test_every_kind_is_planted():
    by_config = {'small image', 'no image left'}
    by_format = {'annotations not used'}
    assert {name.partition(':')[0] for name in PLANTS} == set(ISSUE_KINDS) - by_config - by_format


@pytest.mark.parametrize('name', PLANTS)
@pytest.mark.parametrize('config', [MASK, RETINA])
def test_the_verdict_is_what_training_says(folder, name, config):
    PLANTS[name](folder)
    try:
        data = read_dataset(folder / 'dataset.yaml')
        prepare_dataset(data, SPLITS, folder / 'prepared', config == MASK)
        starts = True
    except InputError:
        starts = False
    assert inspect(folder, with_masks=config == MASK).trainable() == starts


def test_the_place_that_an_annotation_was_converted_from_is_named(folder):
    source = 'Annotations/x.xml, object 3'
    edit(folder, lambda c: c['annotations'][1].update(source=source, bbox=[1]))
    (issue,) = inspect(folder).issues['train']
    assert source in issue.message
    assert source in issue.where


def test_without_a_config_a_missing_mask_is_no_obstacle(folder):
    edit(folder, lambda c: c['annotations'][1].update(segmentation=[]))
    inspection = inspect(folder, with_masks=None)
    assert kinds(inspection) == {'object without mask': 1}
    assert inspection.trainable()
    assert (
        'with boxes but not with masks'
        in make_report(inspection, {}, FIT, CheckOptions()).verdict()
    )


def test_a_faulty_test_split_stops_training_before_it_is_needed(folder):
    edit(folder, lambda c: c['annotations'][1].update(bbox=[1]), 'test')
    assert not inspect(folder).trainable()


def test_fast_decodes_no_image_and_says_so(folder):
    path = folder / 'train/0001.png'
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes(50) + whole[250:])
    fast = inspect(folder, scan=scan_headers)
    assert fast.issues['train'] == []
    verdict = make_report(fast, {}, FIT, CheckOptions(read_images=False)).verdict()
    assert 'as far as beginnings and ends of the images tell: --fast decodes none' in verdict
    assert kinds(inspect(folder)) == {'unreadable image': 1}
    path.write_bytes(whole[:-20])
    assert kinds(inspect(folder, scan=scan_headers)) == {'unreadable image': 1}


VALUES = (None, True, -1, 3.5, 'x', '5', [], {}, [None], float('nan'), float('inf'), 10**400)
FIELDS = [
    *(('images', f) for f in ('id', 'file_name', 'width', 'height')),
    *(('annotations', f) for f in ('id', 'image_id', 'category_id', 'bbox', 'area')),
    *(('annotations', f) for f in ('segmentation', 'iscrowd', 'ignore')),
    *(('categories', f) for f in ('id', 'name')),
]


@pytest.mark.parametrize(('section', 'field'), FIELDS)
@pytest.mark.parametrize('with_masks', slow_after(1, [True, None]))
def test_no_value_of_any_field_makes_the_check_fail(shapes, tmp_path, section, field, with_masks):
    for number, value in enumerate(VALUES):
        folder = Path(shutil.copytree(shapes.parent, tmp_path / str(number)))
        edit(folder, lambda c, value=value: c[section][1].update({field: value}))
        inspection = inspect(folder, with_masks)
        assert make_report(inspection, {}, FIT, CheckOptions()).verdict().startswith(('YES', 'NO'))
        try:
            path, _ = fix_dataset(inspection, folder / 'clean')
        except InputError:
            assert not (folder / 'clean').exists()
        else:
            assert inspect_dataset(read_dataset(path), with_masks).trainable()


@pytest.mark.parametrize('section', ['images', 'annotations', 'categories'])
@pytest.mark.parametrize('entry', [None, 5, 'x', [], {}])
def test_no_entry_makes_the_check_fail(folder, section, entry):
    edit(folder, lambda c: c[section].insert(1, entry))
    assert not inspect(folder).trainable()


def test_parts_of_any_size_give_the_same_issues(folder, monkeypatch):
    crossed = [1, 1, 30, 30, 30, 1, 1, 40]

    def spoil(content):
        for number, one in enumerate(content['annotations']):
            one['segmentation'] = [crossed] if number % 3 else [*one['segmentation'], [0] * 6]
        content['annotations'] += [dict(a, id=a['id'] + 900) for a in content['annotations'][::4]]

    edit(folder, spoil)
    whole = inspect(folder, scan=scan_headers).issues
    monkeypatch.setattr('casvit_mm.detection.data.mask_checks._BATCH', 5)
    assert inspect(folder, scan=scan_headers).issues == whole
    found = {issue.kind for issue in whole['train']}
    assert {'self-crossing polygon', 'flat polygon', 'duplicate box'} <= found
    objects = read_objects(load_split(read_dataset(folder / 'dataset.yaml'), 'train').content)
    assert [objects.row_of(i) for i in (0, 1, 10**6)] == [0, 1, None]
