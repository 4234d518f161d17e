"""The model index: configs/metafile.yml in the form of mim and mmpretrain, and the page of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from casvit_mm.models.complexity import Complexity
from casvit_mm.weights.published import (
    EARLIER_FILES,
    EARLIER_NOTE,
    MODEL_ZOO,
    WeightFile,
    find_file,
    in_words,
)
from casvit_mm.zoo.recipes import CAS_VIT, RECIPES, Recipe

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
    """Return one entry; ``Status`` says whose metrics its results are."""
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
        for metric, value in recipe.metrics.items()
    ]


_INTRODUCTION = f"""<!-- Written by tools/model_zoo.py; edit casvit_mm/zoo/recipes.py. -->
# Model zoo

```bash
casvit-mm download-weights                                # lists the names
casvit-mm download-weights maskrcnn_casvit_s_coco         # into checkpoints/, checked
casvit-mm test casvit_mm::maskrcnn_casvit_s_coco.py checkpoints/maskrcnn_casvit_s_coco.pth
```

The files are the authors'
([their model zoo]({MODEL_ZOO})), on Google
Drive. A classifier, whose backbone other configs start from, is called `cas-vit-{{xs,s,m,t}}`, at
384 px `cas-vit-{{xs,s,m,t}}-384`; a detector or segmentor bears the name of its config. No hash is
published: the first download records the SHA-256 beside the file, and later calls compare. Some
files replaced [earlier ones](#earlier-files).

| a metric is | that means |
|---|---|
| published | the authors' metric for this recipe; not yet run here |
| reproduced | measured here on the same data, by the command in [Results](../results/index.md) |
| measured here | our recipe on other data, by the command behind the link |
| not yet run | nobody's metric |

Metrics are in percent. **No published metric is reproduced yet**: that takes the full datasets.

Parameters are those of the config, auxiliary heads included. A classifier's config has one head.
The published numbers of parameters (3.20, 5.76, 12.42 and 21.76 M) count two. How many a published
file holds was not verified: the published evaluation builds one head and loads strictly, which a
file of two would not pass. Both load here; of two heads we take the mean.

Multiply-adds are those of convolutions and matrix products for one image of the size in the table,
in inference, counted by `torch.utils.flop_counter`; the sizes are those that mmpretrain, mmdet and
mmseg count at. MMEngine's counter adds norms, pooling and interpolation, 0.1 to 1.3 % more. A Mask
R-CNN's heads see 1000 proposals and draw 100 masks.
`python tools/model_zoo.py` counts anew and writes `configs/metafile.yml` and this page.
"""

_EARLIER = f"""
## Earlier files

The metrics on COCO and those of Semantic FPN with M and T were published on 2024-10-09 and are
unchanged since. On 2024-12-13 the four classifiers and Semantic FPN with XS and S were replaced.
**So the detectors' AP, and the mIoU of Semantic FPN with M and T, belong to the earlier
backbones**: a training from a `cas-vit-*` file of today starts from another one.

{textwrap.fill(EARLIER_NOTE, 100)}

| name | data | top-1 or mIoU | replaced by | weights |
|---|---|---|---|---|
"""

_SECTIONS: list[tuple[str, Callable[[Recipe], bool]]] = [
    ('Classification on ImageNet-1k', lambda recipe: recipe.dataset == 'ImageNet-1k'),
    ('Detection and instance segmentation on COCO', lambda recipe: recipe.dataset == 'COCO'),
    ('Semantic segmentation on ADE20K', lambda recipe: recipe.dataset == 'ADE20K'),
    (
        'Small recipes for a custom dataset, from scratch',
        lambda recipe: recipe.dataset == 'custom dataset',
    ),
]


def page(counts: Mapping[str, Complexity]) -> str:
    """Return the content of ``docs/reference/model_zoo.md``.

    Args:
        counts: By the stem of the config.
    """
    parts = [_INTRODUCTION]
    for title, belongs in _SECTIONS:
        rows = [_row(recipe, counts[recipe.config]) for recipe in RECIPES if belongs(recipe)]
        head = '| config | model | parameters | multiply-adds | metric | that is | weights |'
        parts.append('\n'.join([f'\n## {title}\n', head, f'|{"---|" * 7}', *rows, '']))
    return ''.join([*parts, _EARLIER, *map(_earlier_row, EARLIER_FILES.values())])


def _earlier_row(file: WeightFile) -> str:
    current = find_file(str(file.config))
    cells = [
        f'`{file.name}`',
        file.data,
        in_words(file.metrics),
        f'`{current.name}`, {in_words(current.metrics)}',
        f'[link]({file.link})',
    ]
    return f'| {" | ".join(cells)} |\n'


def _row(recipe: Recipe, complexity: Complexity) -> str:
    width, height = recipe.input_size
    status, where = recipe.status, ''
    if recipe.measured is not None:
        where = f' on {recipe.measured.dataset}'
        status = f'[{status}](../results/{recipe.measured.page})'
    weights = f'[link]({recipe.weights.link})' if recipe.weights else ''
    cells = [
        f'[{recipe.config}](../../configs/{recipe.config}.py)',
        f'{recipe.method}, {recipe.backbone}',
        f'{complexity.parameters / 1e6:.2f} M',
        f'{complexity.multiply_adds / 1e9:.3g} G at {width}x{height}',
        f'{in_words(recipe.metrics)}{where}',
        status,
        weights,
    ]
    return f'| {" | ".join(cells)} |'
