"""The published files of weights and the published metrics, by name.

Links and metrics are those of the authors' model zoo (:data:`MODEL_ZOO`). It was published on
2024-10-09. On 2024-12-13 the four classifiers and Semantic FPN with XS and S were replaced;
:data:`EARLIER_FILES` lists the replaced files. The detectors and Semantic FPN with M and T stayed:
they belong to the earlier backbones.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from casvit_mm.cli import job_command
from casvit_mm.errors import InputError

__all__ = [
    'BOX_AP',
    'EARLIER_FILES',
    'EARLIER_NOTE',
    'FILES',
    'MASK_AP',
    'METRICS',
    'MIOU',
    'MODEL_ZOO',
    'TOP1',
    'WeightFile',
    'find_file',
    'how_to_get',
    'in_words',
]

MODEL_ZOO = 'https://github.com/Tianfang-Zhang/CAS-ViT/blob/main/MODEL_ZOO.md'

# Names of metrics, as other metafiles write them.
TOP1, BOX_AP, MASK_AP, MIOU = 'Top 1 Accuracy', 'box AP', 'mask AP', 'mIoU'
_SHORT = {TOP1: 'top-1'}

# The authors' metrics in percent, by the name of the config.
METRICS: dict[str, dict[str, float]] = {
    'casvit_xs_imagenet': {TOP1: 78.3},
    'casvit_s_imagenet': {TOP1: 80.9},
    'casvit_m_imagenet': {TOP1: 82.8},
    'casvit_t_imagenet': {TOP1: 83.9},
    'casvit_xs_imagenet_ft384': {TOP1: 78.7},
    'casvit_s_imagenet_ft384': {TOP1: 81.1},
    'casvit_m_imagenet_ft384': {TOP1: 83.0},
    'casvit_t_imagenet_ft384': {TOP1: 84.1},
    'retinanet_casvit_xs_coco': {BOX_AP: 36.5},
    'retinanet_casvit_s_coco': {BOX_AP: 38.6},
    'retinanet_casvit_m_coco': {BOX_AP: 40.9},
    'retinanet_casvit_t_coco': {BOX_AP: 41.9},
    'maskrcnn_casvit_xs_coco': {BOX_AP: 37.4, MASK_AP: 34.9},
    'maskrcnn_casvit_s_coco': {BOX_AP: 39.8, MASK_AP: 36.7},
    'maskrcnn_casvit_m_coco': {BOX_AP: 42.3, MASK_AP: 38.9},
    'maskrcnn_casvit_t_coco': {BOX_AP: 43.5, MASK_AP: 39.6},
    'semfpn_casvit_xs_ade20k': {MIOU: 37.1},
    'semfpn_casvit_s_ade20k': {MIOU: 41.3},
    'semfpn_casvit_m_ade20k': {MIOU: 43.6},
    'semfpn_casvit_t_ade20k': {MIOU: 45.0},
}


@dataclass(frozen=True)
class WeightFile:
    """A published file of weights.

    Attributes:
        name: Stem of its name under ``checkpoints/``, which configs refer to.
        link: Where its authors published it.
        data: What it was trained on.
        config: Config of the whole model in it; None where no config of ours is.
        sha256: Its SHA-256, or the first digits of it; empty where its authors name none.
        metrics: The authors' metrics in percent; empty where they name none.
    """

    name: str
    link: str
    data: str
    config: str | None = None
    sha256: str = ''
    metrics: dict[str, float] = field(default_factory=dict)

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


def _drive_link(drive_id: str) -> str:
    return f'https://drive.google.com/file/d/{drive_id}/view'


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
        yield WeightFile(name, _drive_link(drive_id), data, config, metrics=METRICS[config])
    yield WeightFile(
        'regnety_160',
        'https://dl.fbaipublicfiles.com/deit/regnety_160-a5fe301d.pth',
        'ImageNet, a teacher',
        sha256='a5fe301d',
    )


FILES: dict[str, WeightFile] = {file.name: file for file in _published_files()}

# Of MODEL_ZOO.md at commit 8384a2b of the authors' repository: name, Google Drive's id, data,
# config and metrics. Their README evaluates M at 384 px; it names no size for the others.
_EARLIER = (
    (
        'cas-vit-xs-2024-10',
        '1Rb9cFsLRMVZAi-lTQ34RGfS91g0JEoWe',
        'ImageNet',
        'casvit_xs_imagenet',
        {TOP1: 77.5},
    ),
    (
        'cas-vit-s-2024-10',
        '1Bf5Wo1aYrR-z75ZCZl_z4PL9CtnHoELl',
        'ImageNet',
        'casvit_s_imagenet',
        {TOP1: 80.2},
    ),
    (
        'cas-vit-m-2024-10',
        '1PAmXHVaAIhN8jw3WxWyVZYaD120AhQNq',
        'ImageNet, evaluated at 384 px',
        'casvit_m_imagenet',
        {TOP1: 81.4},
    ),
    (
        'cas-vit-t-2024-10',
        '1pPUwOl64IMlWdKFQFREVcbJYCp7g8EaP',
        'ImageNet',
        'casvit_t_imagenet',
        {TOP1: 82.3},
    ),
    (
        'semfpn_casvit_xs_ade20k-2024-10',
        '1Ws-1R0CDwypwxnj80wiyKj8udcNEJX66',
        'ADE20K',
        'semfpn_casvit_xs_ade20k',
        {MIOU: 36.8},
    ),
    (
        'semfpn_casvit_s_ade20k-2024-10',
        '1bc5FMQQjEEQvXwdsLhLgtN46onWrFPHN',
        'ADE20K',
        'semfpn_casvit_s_ade20k',
        {MIOU: 40.3},
    ),
)

EARLIER_FILES: dict[str, WeightFile] = {
    name: WeightFile(name, _drive_link(drive_id), data, config, metrics=metrics)
    for name, drive_id, data, config, metrics in _EARLIER
}
EARLIER_NOTE = (
    'Their authors replaced these files on 2024-12-13. They were not tried here. For classifiers, '
    'the code of that time read images as BGR and normalised them with the means of RGB '
    '(model.data_preprocessor.to_rgb=False), and it evaluated model_ema (publish_weights.py '
    '--weights ema).'
)


def find_file(name: str) -> WeightFile:
    """Return a published file by its name, or by the name of its config.

    Raises:
        InputError: If there is none of that name; it lists those that are near.
    """
    asked = name.removeprefix('checkpoints/').removeprefix('configs/')
    asked = asked.removesuffix('.pth').removesuffix('.py')
    known = FILES | EARLIER_FILES  # a config has a file of today, and only then an earlier one
    for file in known.values():
        if asked in (file.name, file.config):
            return file
    near = difflib.get_close_matches(asked, known, n=3, cutoff=0.5)
    raise InputError(
        f'no published file is called {name!r}. '
        + (f'Did you mean {" or ".join(near)}? ' if near else '')
        + f'All names: {job_command("download_weights")}'
    )


def how_to_get(path: str) -> str:
    """Return what to do about a file of weights that is not at ``path``."""
    for file in (FILES | EARLIER_FILES).values():
        if path.endswith(f'checkpoints/{file.filename}'):
            return f'Get it: {job_command("download_weights", file.name)}'
    return f'Published files: {job_command("download_weights")} lists and fetches them.'


def in_words(metrics: Mapping[str, float]) -> str:
    """Return metrics for a cell of a table."""
    return ', '.join(f'{_SHORT.get(name, name)} {value}' for name, value in metrics.items())
