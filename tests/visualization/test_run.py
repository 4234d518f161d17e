"""One call of tools/visualize.py."""

import importlib.util
import json

import cv2
import pytest
import torch
from export_models import CONFIGS
from helpers import slow_after

from casvit_mm import InputError
from casvit_mm.datasets.images import read_image
from casvit_mm.visualization.models import load_config_model
from casvit_mm.visualization.run import visualize

pytest.importorskip('pytorch_grad_cam')


@pytest.mark.parametrize('kind', slow_after(4, CONFIGS))
def test_every_task_gets_every_picture(written, photo, tmp_path, kind):
    paths = visualize(*written[kind], [photo], out_dir=str(tmp_path / 'out'), device='cpu')
    names = {str(path.relative_to(tmp_path / 'out')) for path in paths}
    pictures = {'cams.png', 'fields.png', 'gates/a.jpg.png', 'features/a.jpg.png'}
    assert names == {*pictures, 'fields.json'}
    assert all(read_image(tmp_path / 'out' / name).std() > 5 for name in pictures)


def test_models_stand_side_by_side_on_one_sheet(written, photo, tmp_path):
    config, checkpoint = written['classification']
    sheets = []
    for number, beside in enumerate([(), (f'{config}:{checkpoint}', 'mobilenetv3_small_050')]):
        out = tmp_path / str(number)
        shown = ['cams', 'fields']
        visualize(config, checkpoint, [photo], out_dir=str(out), show=shown, beside=beside)
        sheets.append(read_image(out / 'cams.png'))
    assert sheets[1].shape[1] > 1.6 * sheets[0].shape[1]
    models = json.loads((tmp_path / '1/fields.json').read_text())['models']
    assert 'mobilenetv3_small_050 (random weights)' in models


def test_many_images_go_onto_several_sheets(written, photo, tmp_path):
    for number in range(7):
        cv2.imwrite(str(tmp_path / f'{number}.png'), read_image(photo))
    out = tmp_path / 'out'
    visualize(*written['classification'], [str(tmp_path)], out_dir=str(out), show=['cams'])
    assert sorted(path.name for path in out.iterdir()) == ['cams_01.png', 'cams_02.png']


def test_a_damaged_image_does_not_cost_the_others(written, photo, tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'no image')
    cv2.imwrite(str(tmp_path / 'good.png'), read_image(photo))
    out = tmp_path / 'out'
    with pytest.raises(InputError, match=r'1 image\(s\) not read(?s:.*)bad\.png'):
        visualize(*written['classification'], [str(tmp_path)], out_dir=str(out), show=['cams'])
    assert (out / 'cams.png').is_file()


def test_gates_of_another_mixer_are_refused_after_the_rest_is_drawn(written, photo, tmp_path):
    config, _ = written['classification']
    other = tmp_path / 'pooling.py'
    other.write_text(
        f'_base_ = {config!r}\n'
        "model = dict(backbone=dict(token_mixer=dict(type='PoolingTokenMixer')))\n"
    )
    visualized = load_config_model(other, None, 'cpu')
    torch.save(visualized.model.model.state_dict(), tmp_path / 'w.pth')
    arguments = (str(other), str(tmp_path / 'w.pth'), [photo])
    out = tmp_path / 'out'
    with pytest.raises(
        InputError, match='token mixer PoolingTokenMixer; gates are those of CASViT'
    ):
        visualize(*arguments, out_dir=str(out), show=['gates', 'features'], device='cpu')
    assert (out / 'features/a.jpg.png').is_file()
    visualize(*arguments, out_dir=str(out), device='cpu')  # gates were not asked for


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(class_names=['lorry']), 'lorry: .* knows no such class; Known are circle, square'),
        (dict(class_names=['squares']), 'near: square'),
        (dict(stage=5), 'has the stages 1 to 4, with a stride of 4, 8, 16, 32 px'),
        (dict(stage=0), 'has the stages 1 to 4'),
        (dict(beside=['resnet81']), 'resnet81 is neither a config .* near: resnet'),
        (dict(beside=['casvit_xs:nowhere.pth']), r'nowhere\.pth'),
        (dict(beside=['mmpretrain::resnet/no.py:w.pth']), r'config mmpretrain::resnet/no\.py is'),
        (dict(device='gpu'), 'known are cpu, cuda'),
    ],
)
def test_what_cannot_work_is_said(written, photo, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        visualize(
            *written['classification'],
            [photo],
            out_dir=str(tmp_path / 'out'),
            show=['cams'],
            **{'device': 'cpu', **options},
        )


def test_a_folder_without_images_is_refused(written, tmp_path):
    with pytest.raises(InputError, match='holds no image'):
        visualize(*written['classification'], [str(tmp_path)])


def test_a_video_is_refused(written, tmp_path):
    (tmp_path / 'a.mp4').touch()
    with pytest.raises(InputError, match='is a video; name images'):
        visualize(*written['classification'], [str(tmp_path / 'a.mp4')])


def test_a_place_that_cannot_be_written_to_is_refused(written, photo, tmp_path):
    (tmp_path / 'out').touch()
    with pytest.raises(InputError, match=r'--out-dir .* cannot be written'):
        visualize(*written['classification'], [photo], out_dir=str(tmp_path / 'out'))


def test_an_absent_package_is_named_with_its_extra(written, photo, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match=r'grad-cam(?s:.*)\.\[visualize\]'):
        visualize(*written['classification'], [photo])
