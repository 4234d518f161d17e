"""The published files and figures, and what was measured here: one row per config.

Links and figures are those of the authors' model zoo (:data:`MODEL_ZOO`).
``tools/model_zoo.py`` writes the metafile and docs/model_zoo.md from these tables.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from casvit_mm.errors import InputError

__all__ = [
    'CAS_VIT',
    'FILES',
    'MODEL_ZOO',
    'RECIPES',
    'Measured',
    'Recipe',
    'WeightFile',
    'find_file',
    'how_to_get',
]

CAS_VIT = (
    'CAS-ViT: Convolutional Additive Self-attention Vision Transformers for Efficient Mobile '
    'Applications',
    'https://arxiv.org/abs/2408.03703',
)

_FVIT = (
    'Fast Vision Transformer via Additive Attention',
    'https://doi.org/10.1109/CAI59869.2024.00113',
)


@dataclass(frozen=True)
class WeightFile:
    """A published file of weights.

    Attributes:
        name: Stem of its name under ``checkpoints/``, which configs refer to.
        link: Where its authors published it.
        data: What it was trained on.
        config: Config of the whole model in it; None where no config of ours is.
        sha256: Its SHA-256, or the first digits of it; empty where its authors name none.
    """

    name: str
    link: str
    data: str
    config: str | None = None
    sha256: str = ''

    @property
    def filename(self) -> str:
        """Its name under ``checkpoints/``."""
        return f'{self.name}.pth'


# Google Drive's ids, by the name of the file.
_DRIVE = {
    'cas-vit-xs': '16wKcwF6QMW5w_lyPYnDKjMNuoxQDfrLK',
    'cas-vit-s': '1facFRq8s8oelYUtK1fj3fcfdoWoKDBQQ',
    'cas-vit-m': '13sQpSEf0h_uuh0jRy9V0yIW6ZsbDpVGy',
    'cas-vit-t': '1NqoIUPbwBC91RTjTUvubAbOfGqo1VYT0',
    'cas-vit-xs-384': '1kwRPtJ4FdmNeTm2MsiFN7N2DJpou3Pgl',
    'cas-vit-s-384': '1UagCihMWmNCmYGC1DV5euAvA5TONI818',
    'cas-vit-m-384': '1pTwKKRLPA7vBfk_KTgJ4J1Jq3ttkh3O2',
    'cas-vit-t-384': '1N5Y81Vcyf2ox41TC3wlRBxgQPYaEndTW',
    'retinanet_casvit_xs_coco': '1n3NKegRLC6wz8EgY-dKWaoPETKumfPlO',
    'retinanet_casvit_s_coco': '18msm_na7s25aNV7AfBPpJRMGFChpnC5-',
    'retinanet_casvit_m_coco': '1k5S6by4i6vEmr0P_w35z1ipyTFu59T7z',
    'retinanet_casvit_t_coco': '1tp6x0pP-6zZvyPGQlvFtMBpw3WpomGac',
    'maskrcnn_casvit_xs_coco': '1E8ZhO708_5J7iCmqN1Hc7HH0OAGmlMsH',
    'maskrcnn_casvit_s_coco': '1Kttud7Pqc_Tvw--F19knbfF4haJdJOG8',
    'maskrcnn_casvit_m_coco': '1zI_N7YCfpi95L6Jr0FLhVIT4u-Y2sidO',
    'maskrcnn_casvit_t_coco': '1CKGqkFC763gHEmNtXbalF0YBDN6Dhv7_',
    'semfpn_casvit_xs_ade20k': '1gCWmdNNQEa9EEwsxIuL2daIavJPcnGny',
    'semfpn_casvit_s_ade20k': '1fRY5RZXF7inaDgGKQhLKPpexz5t9p7w2',
    'semfpn_casvit_m_ade20k': '1QgBkh006WXqOrw23ehWOHPZM_V_O84c6',
    'semfpn_casvit_t_ade20k': '14tn6hctKu16GKNBeUiwuUzJml-qsxdkh',
}


def _published_files() -> Iterator[WeightFile]:
    """Yield the authors' files, and the one of another project that a config of ours names."""
    for name, drive_id in _DRIVE.items():
        if name.startswith('cas-vit-'):
            variant, _, side = name.removeprefix('cas-vit-').partition('-')
            config = f'casvit_{variant}_imagenet' + ('_ft384' if side else '')
            data = f'ImageNet at {side or 224} px'
        else:
            config = name
            data = 'ADE20K' if name.endswith('ade20k') else 'COCO'
        link = f'https://drive.google.com/file/d/{drive_id}/view'
        yield WeightFile(name, link, data, config)
    yield WeightFile(
        'regnety_160',
        'https://dl.fbaipublicfiles.com/deit/regnety_160-a5fe301d.pth',
        'ImageNet, a teacher',
        sha256='a5fe301d',
    )


MODEL_ZOO = 'https://github.com/Tianfang-Zhang/CAS-ViT/blob/main/MODEL_ZOO.md'
_COMMAND = 'python -m casvit_mm download_weights'
FILES: dict[str, WeightFile] = {file.name: file for file in _published_files()}


def find_file(name: str) -> WeightFile:
    """Return a published file by its name, or by the name of its config.

    Raises:
        InputError: If there is none of that name; it lists those that are near.
    """
    asked = name.removeprefix('checkpoints/').removeprefix('configs/')
    asked = asked.removesuffix('.pth').removesuffix('.py')
    for file in FILES.values():
        if asked in (file.name, file.config):
            return file
    near = difflib.get_close_matches(asked, FILES, n=3, cutoff=0.5)
    raise InputError(
        f'no published file is called {name!r}. '
        + (f'Did you mean {" or ".join(near)}? ' if near else '')
        + f'All names: {_COMMAND}'
    )


def how_to_get(path: str) -> str:
    """Return what to do about a file of weights that is not at ``path``."""
    for file in FILES.values():
        if path.endswith(f'checkpoints/{file.filename}'):
            return f'Get it: {_COMMAND} {file.name}'
    return f'Published files: {_COMMAND} lists and fetches them.'


def in_words(figures: Mapping[str, float]) -> str:
    """Return figures for a cell of a table."""
    return ', '.join(f'{_SHORT.get(name, name)} {value}' for name, value in figures.items())


@dataclass(frozen=True)
class Measured:
    """Figures measured in this project.

    Attributes:
        dataset: On what.
        metrics: Figures in percent.
        section: Heading in docs/results.md that says how, as a link's anchor.
    """

    dataset: str
    metrics: dict[str, float]
    section: str


@dataclass(frozen=True)
class Recipe:
    """A config and what is known of it.

    Attributes:
        config: Stem of its file.
        method: What it is, in the first columns of a table.
        backbone: Name of the backbone.
        dataset: What it is for; ``'own data'`` for the small recipes.
        input_size: Width and height in pixels that its multiply-adds are counted at.
        published: The authors' figures in percent; empty where they have none.
        measured: Figures of this project; those on ``dataset`` itself reproduce the published.
        weights: The authors' file of the whole model.
        paper: Title and address, of the backbone.
    """

    config: str
    method: str
    backbone: str
    dataset: str
    input_size: tuple[int, int]
    published: dict[str, float] = field(default_factory=dict)
    measured: Measured | None = None
    weights: WeightFile | None = None
    paper: tuple[str, str] = CAS_VIT

    @property
    def figures(self) -> dict[str, float]:
        """The measured figures, else the published."""
        return self.published if self.measured is None else self.measured.metrics

    @property
    def status(self) -> str:
        """Whether its figure is published, reproduced, measured on other data, or missing."""
        if self.measured is not None:
            return 'reproduced' if self.measured.dataset == self.dataset else 'measured here'
        return 'published' if self.published else 'not yet run'


# Names that other metafiles have.
_TOP1, _BOX, _MASK, _MIOU = 'Top 1 Accuracy', 'box AP', 'mask AP', 'mIoU'
_SHORT = {_TOP1: 'top-1'}
# Published figures, in the order XS, S, M, T.
_PUBLISHED: dict[str, list[dict[str, float]]] = {
    'casvit_{}_imagenet': [{_TOP1: figure} for figure in (78.3, 80.9, 82.8, 83.9)],
    'casvit_{}_imagenet_ft384': [{_TOP1: figure} for figure in (78.7, 81.1, 83.0, 84.1)],
    'retinanet_casvit_{}_coco': [{_BOX: figure} for figure in (36.5, 38.6, 40.9, 41.9)],
    'maskrcnn_casvit_{}_coco': [
        {_BOX: box, _MASK: mask}
        for box, mask in ((37.4, 34.9), (39.8, 36.7), (42.3, 38.9), (43.5, 39.6))
    ],
    'semfpn_casvit_{}_ade20k': [{_MIOU: figure} for figure in (37.1, 41.3, 43.6, 45.0)],
}
# Method, dataset, and the size that mmpretrain, mmdet and mmseg count the same task at.
_KINDS: dict[str, tuple[str, str, tuple[int, int]]] = {
    'casvit_{}_imagenet': ('classifier', 'ImageNet-1k', (224, 224)),
    'casvit_{}_imagenet_ft384': ('classifier at 384 px', 'ImageNet-1k', (384, 384)),
    'retinanet_casvit_{}_coco': ('RetinaNet 1x', 'COCO', (1280, 800)),
    'maskrcnn_casvit_{}_coco': ('Mask R-CNN 1x', 'COCO', (1280, 800)),
    'semfpn_casvit_{}_ade20k': ('Semantic FPN 40k', 'ADE20K', (2048, 512)),
}
_WITH_OTHER_BACKBONES = {
    'resnet50': (
        'ResNet-50',
        (40.5, 41.6),
        ('Deep Residual Learning for Image Recognition', 'https://arxiv.org/abs/1512.03385'),
    ),
    'mobilenetv3': (
        'MobileNetV3-Large',
        (27.5, 29.0),
        ('Searching for MobileNetV3', 'https://arxiv.org/abs/1905.02244'),
    ),
    'repvit_m0_9': (
        'RepViT-M0.9',
        (36.2, 37.3),
        ('RepViT: Revisiting Mobile CNN From ViT Perspective', 'https://arxiv.org/abs/2307.09283'),
    ),
    'swiftformer_xs': (
        'SwiftFormer-XS',
        (41.4, 42.3),
        (
            'SwiftFormer: Efficient Additive Attention for Transformer-based Real-time Mobile '
            'Vision Applications',
            'https://arxiv.org/abs/2303.15446',
        ),
    ),
}


def _published_recipes() -> Iterator[Recipe]:
    by_config = {file.config: file for file in FILES.values()}
    for pattern, (method, dataset, size) in _KINDS.items():
        for variant, figures in zip(('xs', 's', 'm', 't'), _PUBLISHED[pattern], strict=True):
            config = pattern.format(variant)
            yield Recipe(
                config,
                method,
                f'CAS-ViT-{variant.upper()}',
                dataset,
                size,
                published=figures,
                weights=by_config[config],
            )


def _recipes_without_published_figure() -> Iterator[Recipe]:
    for variant in ('s', 'm'):
        yield Recipe(
            f'upernet_casvit_{variant}_ade20k',
            'UPerNet 160k',
            f'CAS-ViT-{variant.upper()}',
            'ADE20K',
            (2048, 512),
        )
    yield Recipe(
        'casvit_xs_imagenet_distill',
        'classifier, distilled',
        'CAS-ViT-XS',
        'ImageNet-1k',
        (224, 224),
    )
    for name, changed in _ABLATIONS.items():
        yield Recipe(
            f'casvit_xs_imagenet_{name}',
            f'classifier, {changed}',
            'CAS-ViT-XS',
            'ImageNet-1k',
            (224, 224),
        )
    yield Recipe('casvit_xs_short', 'classifier, short', 'CAS-ViT-XS', 'own data', (96, 96))
    for config, method, size, measured in _SMALL:
        yield Recipe(config, method, 'CAS-ViT-XS', 'own data', size, measured=measured)
    for name, (backbone, (box, mask), paper) in _WITH_OTHER_BACKBONES.items():
        yield Recipe(
            f'maskrcnn_{name}_light',
            'Mask R-CNN, light',
            backbone,
            'own data',
            (640, 640),
            measured=Measured(
                'nuclei, two epochs',
                {_BOX: box, _MASK: mask},
                'backbones-compared-on-two-cpu-cores',
            ),
            paper=paper,
        )


def _fvit_recipes() -> Iterator[Recipe]:
    for config, backbone, figure in (
        ('fvit_b16', 'FViT-B/16', 63.0),
        ('fvit_b32', 'FViT-B/32', 65.0),
        ('vit_b16', 'ViT-B/16', 77.0),
        ('vit_b32', 'ViT-B/32', 73.0),
    ):
        yield Recipe(
            f'{config}_imagenet',
            'classifier',
            backbone,
            'ImageNet-1k',
            (384, 384),
            published={_TOP1: figure},
            paper=_FVIT,
        )
    for config, method, dataset, size in (
        ('maskrcnn_fvit_b16_coco', 'Mask R-CNN 1x', 'COCO', (1280, 800)),
        ('semfpn_fvit_b16_ade20k', 'Semantic FPN 40k', 'ADE20K', (2048, 512)),
    ):
        yield Recipe(config, method, 'FViT-B/16', dataset, size, paper=_FVIT)


# What is changed in CAS-ViT-XS, by the end of the config's name.
_ABLATIONS = {
    'no_integration': 'no integration subnet',
    'no_spatial_gate': 'no spatial gates',
    'no_channel_gate': 'no channel gates',
    'no_dwconv': 'no 3x3 on the sum',
    'depthwise_integration': 'depthwise integration subnet',
    'gate_product': 'product of gates',
    'multihead': 'multi-head attention',
    'separable': 'separable attention',
    'efficient_additive': 'efficient additive attention',
    'fastformer': 'Fastformer attention',
    'pooling': 'pooling',
}

_SMALL: list[tuple[str, str, tuple[int, int], Measured]] = [
    (
        'casvit_xs_light',
        'classifier, light',
        (128, 128),
        Measured('TrashNet', {_TOP1: 73.3}, 'rubbish-in-six-classes-from-scratch-on-two-cpu-cores'),
    ),
    (
        'retinanet_casvit_xs_light',
        'RetinaNet, light',
        (640, 640),
        Measured('BCCD', {_BOX: 60.0}, 'blood-cells-from-scratch-on-two-cpu-cores'),
    ),
    (
        'maskrcnn_casvit_xs_light',
        'Mask R-CNN, light',
        (640, 640),
        Measured('nuclei', {_BOX: 59.5, _MASK: 62.0}, 'nuclei-from-scratch-on-two-cpu-cores'),
    ),
    (
        'semfpn_casvit_xs_light',
        'Semantic FPN, light',
        (512, 384),
        Measured('CamVid', {_MIOU: 49.2}, 'streets-from-scratch-on-two-cpu-cores'),
    ),
    (
        'maskrcnn_casvit_xs_shapes',
        'Mask R-CNN, quickstart',
        (128, 128),
        Measured('generated shapes', {_BOX: 77.3, _MASK: 83.1}, 'quickstart-on-two-cpu-cores'),
    ),
    (
        'semfpn_casvit_xs_shapes',
        'Semantic FPN, quickstart',
        (128, 128),
        Measured('generated shapes', {_MIOU: 97.5}, 'quickstart-on-two-cpu-cores'),
    ),
]

RECIPES: list[Recipe] = [
    *_published_recipes(),
    *_recipes_without_published_figure(),
    *_fvit_recipes(),
]
