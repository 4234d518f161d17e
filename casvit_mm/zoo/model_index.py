"""The model index: configs/metafile.yml in the form of mim and mmpretrain, and the page of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from casvit_mm.models.complexity import Complexity
from casvit_mm.weights.published import MODEL_ZOO
from casvit_mm.zoo.recipes import CAS_VIT, RECIPES, Recipe, in_words

__all__ = ['metafile', 'page']

_TASKS = {
    'Top 1 Accuracy': 'Image Classification',
    'box AP': 'Object Detection',
    'mask AP': 'Instance Segmentation',
    'mIoU': 'Semantic Segmentation',
}
_COLLECTION = 'CAS-ViT'
_HEADER = (
    '# Written by tools/model_zoo.py from casvit_mm/zoo/recipes.py and the configs; do not edit.\n'
)


def metafile(counts: Mapping[str, Complexity]) -> str:
    """Return the content of ``configs/metafile.yml``.

    Args:
        counts: By the stem of the config. They stand under ``FLOPs``, as in other metafiles, and
            are multiply-adds.
    """
    collection = {
        'Name': _COLLECTION,
        'Metadata': {'Architecture': ['CAS-ViT']},
        'Paper': dict(zip(('Title', 'URL'), CAS_VIT, strict=True)),
        'README': 'configs/README.md',
        'Code': {'URL': 'https://github.com/Tianfang-Zhang/CAS-ViT'},
    }
    content = {
        'Collections': [collection],
        'Models': [_model(recipe, counts[recipe.config]) for recipe in RECIPES],
    }
    return _HEADER + yaml.safe_dump(content, sort_keys=False, width=100)


def _model(recipe: Recipe, complexity: Complexity) -> dict[str, Any]:
    """Return one entry; ``Status`` says whose figures its results are."""
    width, height = recipe.input_size
    model: dict[str, Any] = {
        'Name': recipe.config,
        'In Collection': _COLLECTION,
        'Config': f'configs/{recipe.config}.py',
        'Metadata': {
            'Architecture': [recipe.backbone],
            'Parameters': complexity.parameters,
            'FLOPs': complexity.multiply_adds,
            'Input Size': f'{width}x{height}',
            'Training Data': recipe.dataset,
        },
        'Status': recipe.status,
    }
    results = _results(recipe)
    if results:
        model['Results'] = results
    if recipe.weights is not None:
        model['Weights'] = recipe.weights.link
    if recipe.paper != CAS_VIT:
        model['Paper'] = dict(zip(('Title', 'URL'), recipe.paper, strict=True))
    return model


def _results(recipe: Recipe) -> list[dict[str, Any]]:
    dataset = recipe.measured.dataset if recipe.measured else recipe.dataset
    return [
        {'Task': _TASKS[metric], 'Dataset': dataset, 'Metrics': {metric: value}}
        for metric, value in recipe.figures.items()
    ]


_INTRODUCTION = f"""<!-- Written by tools/model_zoo.py; edit casvit_mm/zoo/recipes.py. -->
# Model zoo

```bash
python tools/download_weights.py                          # lists the names
python tools/download_weights.py maskrcnn_casvit_s_coco   # into checkpoints/, checked
python tools/test.py configs/maskrcnn_casvit_s_coco.py checkpoints/maskrcnn_casvit_s_coco.pth
```

The files are the authors'
([their model zoo]({MODEL_ZOO})), on Google
Drive. A classifier, whose backbone other configs start from, is called `cas-vit-{{xs,s,m,t}}`, at
384 px `cas-vit-{{xs,s,m,t}}-384`; a detector or segmentor bears the name of its config. No hash is
published: the first download records the SHA-256 beside the file, and later calls compare.

| a figure is | that means |
|---|---|
| published | the authors' figure for this recipe; not yet run here |
| reproduced | measured here on the same data, by the command in [results.md](results.md) |
| measured here | our recipe on other data, by the command behind the link |
| not yet run | nobody's figure |

Figures are in percent. **No published figure is reproduced yet**: that takes the full data sets.

Parameters are those of the config, auxiliary heads included. A classifier's config has one head;
the published files hold two, whose mean we take, and the published numbers of parameters count both
(3.20, 5.76, 12.42 and 21.76 M). Multiply-adds are those of convolutions and matrix products for one
image of the size in the table, in inference, counted by `torch.utils.flop_counter`; the sizes are
those that mmpretrain, mmdet and mmseg count at. MMEngine's counter adds norms, pooling and
interpolation, 0.1 to 1.3 % more. A Mask R-CNN's heads see 1000 proposals and draw 100 masks.
`python tools/model_zoo.py` counts anew and writes `configs/metafile.yml` and this page.
"""

_EARLIER = """
The authors' page once linked other files, with top-1 77.5, 80.2, 81.4 and 82.3 for XS, S, M and T
and mIoU 36.8 and 40.3 for Semantic FPN with XS and S. The links of the detectors, and of
Semantic FPN with M and T, are the same on both versions of that page.
"""

_SECTIONS: list[tuple[str, Callable[[Recipe], bool]]] = [
    ('Classification on ImageNet-1k', lambda recipe: recipe.dataset == 'ImageNet-1k'),
    ('Detection and instance segmentation on COCO', lambda recipe: recipe.dataset == 'COCO'),
    ('Semantic segmentation on ADE20K', lambda recipe: recipe.dataset == 'ADE20K'),
    ('Small recipes for own data, from scratch', lambda recipe: recipe.dataset == 'own data'),
]


def page(counts: Mapping[str, Complexity]) -> str:
    """Return the content of ``docs/model_zoo.md``.

    Args:
        counts: By the stem of the config.
    """
    parts = [_INTRODUCTION]
    for title, belongs in _SECTIONS:
        rows = [_row(recipe, counts[recipe.config]) for recipe in RECIPES if belongs(recipe)]
        head = '| config | model | parameters | multiply-adds | figure | that is | weights |'
        parts.append('\n'.join([f'\n## {title}\n', head, f'|{"---|" * 7}', *rows, '']))
    return ''.join([*parts, _EARLIER])


def _row(recipe: Recipe, complexity: Complexity) -> str:
    width, height = recipe.input_size
    status, where = recipe.status, ''
    if recipe.measured is not None:
        where = f' on {recipe.measured.dataset}'
        status = f'[{status}](results.md#{recipe.measured.section})'
    weights = f'[link]({recipe.weights.link})' if recipe.weights else ''
    cells = [
        f'[{recipe.config}](../configs/{recipe.config}.py)',
        f'{recipe.method}, {recipe.backbone}',
        f'{complexity.parameters / 1e6:.2f} M',
        f'{complexity.multiply_adds / 1e9:.3g} G at {width}x{height}',
        f'{in_words(recipe.figures)}{where}',
        status,
        weights,
    ]
    return f'| {" | ".join(cells)} |'
