"""Class activation maps."""

import cv2
import numpy as np
import pytest
import timm
import torch
from export_models import CLASSES
from torch import nn

from casvit_mm import InputError
from casvit_mm.datasets.images import read_image
from casvit_mm.deploy.spec import Spec
from casvit_mm.visualization.cams import METHODS, class_activation
from casvit_mm.visualization.models import VisualizedModel, load_config_model
from casvit_mm.visualization.stages import Stage, find_stages

pytest.importorskip('pytorch_grad_cam')


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
def colour_reader() -> VisualizedModel:
    spec = Spec('classification', ('red', 'blue'), (), (0, 0, 0), (1, 1, 1), rgb=True)
    model = ColourReader()
    return VisualizedModel('colours', model, model, spec)


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
    visualized = load_config_model(*written['retinanet'], 'cpu')
    image = visualized.prepare(read_image(photo))
    stages = find_stages(visualized.backbone, image.x)
    cam = class_activation(visualized, stages[2:], image, method)
    assert cam.heat.shape == image.pixels.shape[:2]
    assert 0 <= cam.heat.min() < cam.heat.max() <= 1


def test_a_detector_is_explained_for_the_objects_of_the_class_alone(written, photo):
    visualized = load_config_model(*written['retinanet'], 'cpu')
    image = visualized.prepare(read_image(photo))
    stages = find_stages(visualized.backbone, image.x)
    found = [len(class_activation(visualized, stages, image, None, name).boxes) for name in CLASSES]
    assert sum(found) == len(class_activation(visualized, stages, image).boxes)


def test_objects_that_are_not_found_are_said_to_be_none(written, photo):
    config, checkpoint = written['retinanet']
    visualized = load_config_model(config, checkpoint, 'cpu', {'model.test_cfg.score_thr': 0.9999})
    image = visualized.prepare(read_image(photo))
    cam = class_activation(
        visualized, find_stages(visualized.backbone, image.x), image, None, CLASSES[0]
    )
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
    visualized = VisualizedModel('vit', model, model, spec)
    image = visualized.prepare(cv2.resize(red_and_blue(), (64, 64)))
    (stage,) = find_stages(model, image.x)
    cams = [class_activation(visualized, [stage], image, 'gradcam', name) for name in CLASSES]
    assert stage.end is model.norm
    assert any(cam.heat is not None for cam in cams)  # after the norm none has a gradient


def test_eigencam_refuses_maps_that_would_take_all_memory(written):
    visualized = load_config_model(*written['segmentation'], 'cpu')
    image = visualized.prepare(np.zeros((300, 300, 3), np.uint8))
    stage = Stage(1, 1, (visualized.backbone.stages[0][-1],))
    with pytest.raises(InputError, match='eigencam takes memory'):
        class_activation(visualized, [stage], image, 'eigencam')
