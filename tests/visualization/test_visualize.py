"""tools/visualize.py: activation maps, gates, receptive fields, feature maps."""

import importlib.util
import json

import cv2
import numpy as np
import pytest
import timm
import torch
from export_models import CLASSES, write_model
from torch import nn

from casvit_mm import InputError
from casvit_mm.deploy.spec import Spec
from casvit_mm.visualization.cams import METHODS, class_activation
from casvit_mm.visualization.features import principal_components
from casvit_mm.visualization.gates import read_gates
from casvit_mm.visualization.models import SeenModel, see_config, see_named
from casvit_mm.visualization.receptive_fields import (
    central_crops,
    effective_fields,
    smallest_square,
)
from casvit_mm.visualization.run import visualize
from casvit_mm.visualization.stages import Stage, as_map, find_stages

pytest.importorskip('pytorch_grad_cam')

KINDS = ('classification', 'segmentation', 'retinanet', 'maskrcnn')


@pytest.fixture(scope='module')
def written(tmp_path_factory) -> dict[str, tuple[str, str]]:
    folder = tmp_path_factory.mktemp('models')
    return {kind: write_model(folder, kind) for kind in KINDS}


@pytest.fixture(scope='module')
def photo(tmp_path_factory) -> str:
    """An image whose sides differ and are no multiples of a stride."""
    path = tmp_path_factory.mktemp('photos') / 'a.jpg'
    values = np.random.RandomState(0).randint(0, 255, (7, 9, 3)).astype(np.uint8)
    cv2.imwrite(str(path), cv2.resize(values, (150, 110)))
    return str(path)


def read(path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, path
    return image


class ColourReader(nn.Module):
    """Says how red and how blue an image is; its map is the image in small."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Conv2d(3, 3, 4, stride=4, bias=False)
        nn.init.zeros_(self.map.weight)
        for channel in range(3):
            self.map.weight.data[channel, channel] = 1 / 16

    def forward(self, x):
        return self.map(x).mean((2, 3))[:, [0, 2]]


@pytest.fixture
def colour_reader() -> SeenModel:
    spec = Spec('classification', ('red', 'blue'), (), (0, 0, 0), (1, 1, 1), rgb=True)
    model = ColourReader()
    return SeenModel('colours', model, model, spec)


def red_and_blue() -> np.ndarray:
    """A BGR image, black but for a red spot top left and a blue spot bottom right."""
    image = np.zeros((32, 48, 3), np.uint8)
    image[4:8, 8:12] = (0, 0, 255)
    image[24:28, 40:44] = (255, 0, 0)
    return image


def hottest(heat: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return row // 4, column // 4


@pytest.mark.parametrize('method', ['gradcam', 'hirescam', 'layercam', 'xgradcam'])
@pytest.mark.parametrize(('name', 'place'), [('red', (1, 2)), ('blue', (6, 10))])
def test_a_map_peaks_where_the_channel_that_the_class_reads_peaks(
    colour_reader, method, name, place
):
    stage = Stage(1, 4, (colour_reader.model.map,))
    cam = class_activation(
        colour_reader, [stage], colour_reader.prepare(red_and_blue()), method, name
    )
    assert hottest(cam.heat) == place


def test_without_a_class_the_predicted_one_is_explained(colour_reader):
    image = red_and_blue()
    image[:16, :24, 2] = 255
    stage = Stage(1, 4, (colour_reader.model.map,))
    cam = class_activation(colour_reader, [stage], colour_reader.prepare(image))
    assert cam.label.startswith('red ')


def test_a_class_that_nothing_speaks_for_has_no_map(colour_reader):
    image = np.zeros((32, 48, 3), np.uint8)
    stage = Stage(1, 4, (colour_reader.model.map,))
    cam = class_activation(colour_reader, [stage], colour_reader.prepare(image))
    assert cam.heat is None
    assert 'no place speaks for it' in cam.label


@pytest.mark.parametrize('method', METHODS)
def test_every_method_explains_a_detector(written, photo, method):
    seen = see_config(*written['retinanet'], 'cpu')
    image = seen.prepare(read(photo))
    stages = find_stages(seen.backbone, image.x)
    cam = class_activation(seen, stages[2:], image, method)
    assert cam.heat.shape == image.pixels.shape[:2]
    assert 0 <= cam.heat.min() < cam.heat.max() <= 1


def test_a_detector_is_explained_for_the_objects_of_the_class_alone(written, photo):
    seen = see_config(*written['retinanet'], 'cpu')
    image = seen.prepare(read(photo))
    stages = find_stages(seen.backbone, image.x)
    found = [len(class_activation(seen, stages, image, None, name).boxes) for name in CLASSES]
    assert sum(found) == len(class_activation(seen, stages, image).boxes)


def test_objects_that_are_not_found_are_said_to_be_none(written, photo):
    config, checkpoint = written['retinanet']
    seen = see_config(config, checkpoint, 'cpu', {'model.test_cfg.score_thr': 0.9999})
    image = seen.prepare(read(photo))
    cam = class_activation(seen, find_stages(seen.backbone, image.x), image, None, CLASSES[0])
    assert cam.heat is None
    assert cam.label == f'{CLASSES[0]}: none found'


def test_a_model_that_reads_its_class_token_alone_is_explained_by_its_patches():
    torch.manual_seed(0)
    model = timm.create_model(
        'vit_tiny_patch16_224', img_size=64, depth=2, embed_dim=24, num_heads=2, num_classes=3
    ).eval()
    for values in model.parameters():
        nn.init.normal_(values, std=0.3)
    spec = Spec('classification', CLASSES, (), (127,) * 3, (64,) * 3, rgb=True)
    seen = SeenModel('vit', model, model, spec)
    image = seen.prepare(cv2.resize(red_and_blue(), (64, 64)))
    (stage,) = find_stages(model, image.x)
    cams = [class_activation(seen, [stage], image, 'gradcam', name) for name in CLASSES]
    assert stage.end is model.norm
    assert any(cam.heat is not None for cam in cams)  # after the norm none has a gradient


def test_the_gates_are_those_that_the_mixer_multiplies_by(written, photo):
    seen = see_config(*written['classification'], 'cpu')
    image = seen.prepare(read(photo))
    mixer = seen.backbone.stages[1][-1].token_mixer
    entered = []
    mixer.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
    gates = read_gates(seen, image)[1]
    with torch.no_grad():
        query, key, _ = mixer.qkv(entered[0]).chunk(3, dim=1)
        spatial, channel = mixer.gate_k
        after = spatial(key)
    assert gates.number == 2
    np.testing.assert_allclose(gates.spatial['key'], (after / key)[0, 0].detach(), rtol=1e-3)
    expected = (mixer.gate_q[0](query) / query)[0, 0].detach()
    np.testing.assert_allclose(gates.spatial['query'], expected, rtol=1e-3)
    expected = (channel(after) / after).mean((0, 2, 3)).detach()
    np.testing.assert_allclose(gates.channel['key'], expected, rtol=1e-3)


def test_gates_are_cut_to_the_image_where_the_input_is_padded(written, photo):
    seen = see_config(*written['maskrcnn'], 'cpu')
    image = seen.prepare(read(photo))
    height, width = image.pixels.shape[:2]
    assert image.x.shape[2] > height
    assert read_gates(seen, image)[0].spatial['query'].shape == (-(-height // 4), -(-width // 4))


class Convs(nn.Sequential):
    """3x3 convolutions with equal weights."""

    def __init__(self, number: int) -> None:
        super().__init__(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(number)))
        for conv in self:
            nn.init.ones_(conv.weight)


@pytest.mark.parametrize(('number', 'side'), [(1, 3), (2, 5), (4, 9)])
def test_the_whole_receptive_field_of_3x3_convolutions_has_their_side(number, side):
    model = Convs(number)
    seen = SeenModel('convs', model, model, None)
    inputs = [torch.rand(1, 3, 20, 30), torch.rand(1, 3, 20, 30)]
    (field,) = effective_fields(seen, [Stage(1, 1, (model,))], inputs)
    rows, columns = np.nonzero(field.gradient)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (side, side)
    assert smallest_square(field.gradient, 1.0) == side


def test_the_effective_field_of_many_convolutions_is_smaller_than_the_whole():
    model = Convs(6)
    seen = SeenModel('convs', model, model, None)
    (field,) = effective_fields(seen, [Stage(1, 1, (model,))], [torch.rand(1, 3, 32, 32)])
    assert field.sides[0.5] < field.sides[0.9] < 13


@pytest.mark.parametrize('corner', [(0, 0), (9, 3), (19, 29)])
def test_the_smallest_square_is_found_wherever_it_lies(corner):
    gradient = np.full((20, 30), 1e-3)
    gradient[corner] = 100
    assert smallest_square(gradient, 0.99) == 1


def test_images_of_different_size_are_cut_to_the_middle_that_all_have():
    marked = torch.zeros(1, 3, 100, 130)
    marked[:, :, 50, 65] = 1
    crops = central_crops([marked, torch.zeros(1, 3, 140, 70)])
    assert {tuple(crop.shape) for crop in crops} == {(1, 3, 96, 64)}
    assert crops[0][0, 0, 48, 32] == 1


def test_places_of_alike_features_have_one_colour():
    features = np.zeros((5, 4, 6))
    features[:, :, :3] = np.arange(5)[:, None, None]
    picture = principal_components(features)
    assert np.ptp(picture[:, :3], axis=(0, 1)).max() < 1e-6
    assert abs(picture[0, 0, 0] - picture[0, 5, 0]) > 0.99


@pytest.mark.parametrize('shape', [(1, 5, 6, 8), (1, 6, 8, 5), (1, 48, 5), (1, 49, 5)])
def test_maps_and_tokens_become_one_layout(shape):
    assert as_map(torch.rand(shape), torch.rand(1, 3, 96, 128), 16).shape == (1, 5, 6, 8)


def test_the_stages_of_another_backbone_end_where_its_stride_changes():
    model = timm.create_model('resnet10t').eval()
    stages = find_stages(model, torch.rand(1, 3, 64, 96))
    ends = [model.layer1, model.layer2, model.layer3, model.layer4]
    assert [stage.end for stage in stages] == ends
    assert [stage.stride for stage in stages] == [4, 8, 16, 32]


def test_the_stages_of_cas_vit_end_with_their_last_blocks(written):
    backbone = see_config(*written['classification'], 'cpu').backbone
    stages = find_stages(backbone, torch.rand(1, 3, 64, 96))
    assert [stage.end for stage in stages] == [stage[-1] for stage in backbone.stages]


@pytest.mark.parametrize('kind', KINDS)
def test_every_task_gets_every_picture(written, photo, tmp_path, kind):
    paths = visualize(*written[kind], [photo], out_dir=str(tmp_path / 'out'), device='cpu')
    names = {str(path.relative_to(tmp_path / 'out')) for path in paths}
    pictures = {'cams.png', 'fields.png', 'gates/a.jpg.png', 'features/a.jpg.png'}
    assert names == {*pictures, 'fields.json'}
    assert all(read(tmp_path / 'out' / name).std() > 5 for name in pictures)


def test_models_stand_side_by_side_on_one_sheet(written, photo, tmp_path):
    config, checkpoint = written['classification']
    sheets = []
    for number, beside in enumerate([(), (f'{config}:{checkpoint}', 'mobilenetv3_small_050')]):
        out = tmp_path / str(number)
        shown = ['cams', 'fields']
        visualize(config, checkpoint, [photo], out_dir=str(out), show=shown, beside=beside)
        sheets.append(read(out / 'cams.png'))
    assert sheets[1].shape[1] > 1.6 * sheets[0].shape[1]
    models = json.loads((tmp_path / '1/fields.json').read_text())['models']
    assert 'mobilenetv3_small_050 (random weights)' in models


def test_a_timm_model_takes_weights_and_its_number_of_classes_from_a_file(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model('mobilenetv3_small_050', num_classes=5)
    torch.save(model.state_dict(), tmp_path / 'w.pth')
    seen = see_named(f'mobilenetv3_small_050:{tmp_path / "w.pth"}', CLASSES, 'cpu')
    assert seen.spec.classes[4] == 'class 4'
    torch.testing.assert_close(seen.model.state_dict(), model.state_dict())


def test_many_images_go_onto_several_sheets(written, photo, tmp_path):
    for number in range(7):
        cv2.imwrite(str(tmp_path / f'{number}.png'), read(photo))
    out = tmp_path / 'out'
    visualize(*written['classification'], [str(tmp_path)], out_dir=str(out), show=['cams'])
    assert sorted(path.name for path in out.iterdir()) == ['cams_01.png', 'cams_02.png']


def test_a_damaged_image_does_not_cost_the_others(written, photo, tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'no image')
    cv2.imwrite(str(tmp_path / 'good.png'), read(photo))
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
    seen = see_config(other, None, 'cpu')
    torch.save(seen.model.model.state_dict(), tmp_path / 'w.pth')
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


def test_eigencam_refuses_maps_that_would_take_all_memory(written):
    seen = see_config(*written['segmentation'], 'cpu')
    image = seen.prepare(np.zeros((300, 300, 3), np.uint8))
    stage = Stage(1, 1, (seen.backbone.stages[0][-1],))
    with pytest.raises(InputError, match='eigencam takes memory'):
        class_activation(seen, [stage], image, 'eigencam')


def test_a_config_of_mmpretrain_is_found_by_name():
    pytest.importorskip('mmpretrain')
    seen = see_config('mmpretrain::resnet/resnet18_8xb32_in1k.py', None, 'cpu')
    assert len(seen.spec.classes) == 1000
