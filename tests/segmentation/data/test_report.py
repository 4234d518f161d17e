import json
import shutil

import pytest
from helpers import ROOT
from PIL import Image

from casvit_mm import InputError
from casvit_mm.engine.data_check import check_dataset
from casvit_mm.segmentation.data.description import read_dataset
from casvit_mm.segmentation.data.prepare import prepare_dataset

pytest.importorskip('mmseg')
from segmentation_data import change_label


def test_the_report_counts_and_draws_a_sound_set(folder, capsys):
    assert check_dataset(folder / 'dataset.yaml', folder / 'out')
    printed = capsys.readouterr().out
    assert printed.startswith('YES: training can start')
    report = json.loads((folder / 'out/report.json').read_text())
    expected = prepare_dataset(read_dataset(folder / 'dataset.yaml'), ('train',), folder / 'p')[
        'train'
    ]
    assert list(report['splits']['train']['pixels_per_class'].values()) == expected.pixels.tolist()
    assert report['splits']['test']['images'] == 2
    samples = [f'samples_{name}.png' for name in ('train', 'val', 'test')]
    assert report['pictures'] == ['classes.png', *samples]
    assert all((folder / 'out' / name).stat().st_size > 10_000 for name in report['pictures'])


def test_the_report_lists_every_issue(folder, capsys):
    change_label(folder, 9)
    (folder / 'val_labels/0001.png').unlink()
    Image.new('LA', (64, 64)).save(folder / 'test_labels/0001.png')
    shutil.copy(folder / 'train/0002.png', folder / 'test/0002.png')
    assert not check_dataset(folder / 'dataset.yaml', folder / 'out')
    report = json.loads((folder / 'out/report.json').read_text())
    found = {(d['split'], d['kind'], d['where'], d['fatal']) for d in report['defects']}
    assert found >= {
        ('train', 'value outside the classes', '0001.png', True),
        ('val', 'image without label', '0001.png', True),
        ('test', 'label in colours', '0001.png', True),
        ('train', 'image in two splits', '0002.png = 0002.png', False),
    }
    assert 'NO: training would refuse this data; 3 places stop it.' in capsys.readouterr().out


def test_a_config_is_judged_and_one_of_another_task_refused(folder, capsys):
    config = ROOT / 'configs/semfpn_casvit_xs_shapes.py'
    assert check_dataset(folder / 'dataset.yaml', folder / 'out', config=str(config))
    printed = capsys.readouterr().out
    assert 'Judged by semfpn_casvit_xs_shapes.py, which scales' in printed
    report = json.loads((folder / 'out/report.json').read_text())
    assert report['config'] == str(config)
    assert report['fit']['stride'] == 4
    other = str(ROOT / 'configs/casvit_xs_light.py')
    with pytest.raises(InputError, match='Use a segmentation config with this data'):
        check_dataset(folder / 'dataset.yaml', folder / 'out', config=other)
