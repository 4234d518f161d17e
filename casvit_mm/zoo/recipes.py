"""The published files and metrics, and what was measured here: one row per config.

Links and metrics are those of the authors' model zoo (:data:`MODEL_ZOO`).
``tools/model_zoo.py`` writes the metafile and docs/reference/model_zoo.md from these tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from casvit_mm.models.casvit import ARCHS
from casvit_mm.weights.published import (
    BOX_AP,
    FILES,
    MASK_AP,
    METRICS,
    MIOU,
    TOP1,
    WeightFile,
)

__all__ = ['CAS_VIT', 'RECIPES', 'Measured', 'Recipe']

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
class Measured:
    """Metrics measured in this project.

    Attributes:
        dataset: On what.
        metrics: In percent.
        page: In docs/results/ that says how, with the anchor of the section.
    """

    dataset: str
    metrics: dict[str, float]
    page: str


@dataclass(frozen=True)
class Recipe:
    """A config and what is known of it.

    Attributes:
        config: Stem of its file.
        method: What it is, in the first columns of a table.
        backbone: Name of the backbone.
        dataset: What it is for; ``'custom dataset'`` for the small recipes.
        input_size: Width and height in pixels that its multiply-adds are counted at.
        published: The authors' metrics in percent; empty where they have none.
        measured: Metrics of this project; those on ``dataset`` itself reproduce the published.
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
    def metrics(self) -> dict[str, float]:
        """The measured metrics, else the published."""
        return self.published if self.measured is None else self.measured.metrics

    @property
    def status(self) -> str:
        """Whether its metrics are published, reproduced, measured on other data, or missing."""
        if self.measured is not None:
            return 'reproduced' if self.measured.dataset == self.dataset else 'measured here'
        return 'published' if self.published else 'not yet run'


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
        for variant in ARCHS:
            config = pattern.format(variant)
            yield Recipe(
                config,
                method,
                f'CAS-ViT-{variant.upper()}',
                dataset,
                size,
                published=METRICS[config],
                weights=by_config[config],
            )


def _recipes_without_published_metrics() -> Iterator[Recipe]:
    for head, method, variants in (
        ('upernet', 'UPerNet 160k', ('s', 'm')),
        ('segformer', "SegFormer's head 160k", ('xs', 's')),
    ):
        for variant in variants:
            yield Recipe(
                f'{head}_casvit_{variant}_ade20k',
                method,
                f'CAS-ViT-{variant.upper()}',
                'ADE20K',
                (2048, 512),
            )
    yield from _rtmdet_recipes()
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
    yield Recipe('casvit_xs_short', 'classifier, short', 'CAS-ViT-XS', 'custom dataset', (96, 96))
    for config, method, size, measured in _SMALL:
        yield Recipe(config, method, 'CAS-ViT-XS', 'custom dataset', size, measured=measured)
    for name, (backbone, (box, mask), paper) in _WITH_OTHER_BACKBONES.items():
        yield Recipe(
            f'maskrcnn_{name}_light',
            'Mask R-CNN, light',
            backbone,
            'custom dataset',
            (640, 640),
            measured=Measured(
                'nuclei, two epochs',
                {BOX_AP: box, MASK_AP: mask},
                'backbones.md',
            ),
            paper=paper,
        )


def _rtmdet_recipes() -> Iterator[Recipe]:
    for config, method in (
        *((f'rtmdet_casvit_{variant}_coco', 'RTMDet 300e') for variant in ARCHS),
        ('rtmdet_casvit_xs_coco_36e', 'RTMDet 36e'),
        *((f'rtmdet_ins_casvit_{variant}_coco', 'RTMDet-Ins 300e') for variant in ('xs', 's')),
        ('rtmdet_casvit_xs_light', 'RTMDet, light'),
        ('rtmdet_casvit_xs_light_gpu', 'RTMDet, light, on a GPU'),
        ('rtmdet_ins_casvit_xs_light', 'RTMDet-Ins, light'),
        ('rtmdet_casvit_xs_photos', 'RTMDet, light, for photographs'),
        ('rtmdet_ins_casvit_xs_photos', 'RTMDet-Ins, light, for photographs'),
    ):
        _, _, variant, data, *_ = config.replace('_ins', '').split('_')
        dataset = 'COCO' if data == 'coco' else 'custom dataset'
        yield Recipe(config, method, f'CAS-ViT-{variant.upper()}', dataset, (640, 640))
    yield Recipe(
        'rtmdet_cspnext_tiny_light',
        'RTMDet, light',
        'CSPNeXt-tiny',
        'custom dataset',
        (640, 640),
        paper=(
            'RTMDet: An Empirical Study of Designing Real-Time Object Detectors',
            'https://arxiv.org/abs/2212.07784',
        ),
    )


def _fvit_recipes() -> Iterator[Recipe]:
    for config, backbone, top1 in (
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
            published={TOP1: top1},
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


_SMALL: list[tuple[str, str, tuple[int, int], Measured | None]] = [
    (
        'casvit_xs_light',
        'classifier, light',
        (128, 128),
        Measured(
            'TrashNet',
            {TOP1: 73.3},
            'classification.md#rubbish-in-six-classes-from-scratch',
        ),
    ),
    (
        'retinanet_casvit_xs_light',
        'RetinaNet, light',
        (640, 640),
        Measured('BCCD', {BOX_AP: 60.0}, 'detection.md#blood-cells-from-scratch'),
    ),
    (
        'maskrcnn_casvit_xs_light',
        'Mask R-CNN, light',
        (640, 640),
        Measured(
            'nuclei',
            {BOX_AP: 59.5, MASK_AP: 62.0},
            'detection.md#nuclei-from-scratch',
        ),
    ),
    ('retinanet_casvit_xs_photos', 'RetinaNet, light, for photographs', (640, 640), None),
    ('maskrcnn_casvit_xs_photos', 'Mask R-CNN, light, for photographs', (640, 640), None),
    (
        'semfpn_casvit_xs_light',
        'Semantic FPN, light',
        (512, 384),
        Measured('CamVid', {MIOU: 49.2}, 'segmentation.md#streets-from-scratch'),
    ),
    ('segformer_casvit_xs_light', "SegFormer's head, light", (512, 384), None),
    (
        'maskrcnn_casvit_xs_shapes',
        'Mask R-CNN, quickstart',
        (128, 128),
        Measured('generated shapes', {BOX_AP: 77.3, MASK_AP: 83.1}, 'quickstart.md'),
    ),
    (
        'semfpn_casvit_xs_shapes',
        'Semantic FPN, quickstart',
        (128, 128),
        Measured('generated shapes', {MIOU: 97.5}, 'quickstart.md'),
    ),
]


RECIPES: list[Recipe] = [
    *_published_recipes(),
    *_recipes_without_published_metrics(),
    *_fvit_recipes(),
]
