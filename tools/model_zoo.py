#!/usr/bin/env python
"""Write configs/metafile.yml and docs/reference/model_zoo.md.

python tools/model_zoo.py

From casvit_mm/zoo/recipes.py and the configs. Counts parameters and multiply-adds of every config,
without data, weights or a GPU.
"""

import argparse

from casvit_mm.cli import cli
from casvit_mm.config.paths import ROOT
from casvit_mm.io import replacing


def main() -> None:
    """Count every config and write the files."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()

    from mmengine.config import Config

    from casvit_mm.models.complexity import count_complexity
    from casvit_mm.zoo.model_index import metafile, page
    from casvit_mm.zoo.recipes import RECIPES

    counts = {}
    for recipe in RECIPES:
        cfg = Config.fromfile(ROOT / 'configs' / f'{recipe.config}.py')
        counts[recipe.config] = count_complexity(cfg, recipe.input_size)
    for path, content in (
        ('configs/metafile.yml', metafile),
        ('docs/reference/model_zoo.md', page),
    ):
        with replacing(ROOT / path) as file:
            file.write(content(counts))
        print(f'{path}: {len(counts)} configs')


if __name__ == '__main__':
    cli(main)
