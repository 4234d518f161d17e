"""What browsing does for every task alike; each task tests its own views."""

import pytest
from helpers import ROOT

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')

from casvit_mm import InputError
from casvit_mm.datasets.shapes import generate_shape_classes, generate_shape_labels
from casvit_mm.engine.browse import browse

CONFIGS = {
    'detection': 'retinanet_casvit_xs_light.py',
    'segmentation': 'semfpn_casvit_xs_light.py',
    'classification': 'casvit_xs_light.py',
}


@pytest.fixture(scope='module')
def data(shapes, tmp_path_factory):
    """A description for each task."""
    folder = tmp_path_factory.mktemp('data')
    made = dict(sizes=(4, 3, 2), side=64)
    return {
        'detection': shapes,
        'segmentation': generate_shape_labels(folder / 'labels', **made),
        'classification': generate_shape_classes(folder / 'classes', **made),
    }


@pytest.mark.parametrize('task', CONFIGS)
def test_pictures_of_every_task_are_written_and_the_same_for_the_same_seed(data, tmp_path, task):
    config = str(ROOT / 'configs' / CONFIGS[task])
    pictures = []
    for name in ('a', 'b'):
        browse(config, data=str(data[task]), count=1, copies=1, seed=4, out=str(tmp_path / name))
        assert sorted(path.name[:4] for path in (tmp_path / name).iterdir()) == ['001_', 'over']
        pictures.append((tmp_path / name / 'overview.png').read_bytes())
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize('task', CONFIGS)
@pytest.mark.parametrize('other', CONFIGS)
def test_data_of_another_task_are_refused_in_one_wording(data, tmp_path, task, other):
    # Objects with outlines are masks for a segmentor.
    if task == other or (task, other) == ('segmentation', 'detection'):
        return
    with pytest.raises(InputError) as caught:
        browse(str(ROOT / 'configs' / CONFIGS[task]), data=str(data[other]), out=str(tmp_path))
    message = str(caught.value)
    assert f'{data[other]} (--data) describes {other} data' in message
    assert f'se a {other} config with this data' in message
