"""The table of recipes: one row per config, every published file in it."""

import re

from helpers import ROOT

from casvit_mm.weights.published import EARLIER_FILES, FILES, METRICS
from casvit_mm.zoo.recipes import RECIPES

CONFIGS = ROOT / 'configs'
BY_CONFIG = {recipe.config: recipe for recipe in RECIPES}


def test_every_config_has_a_row():
    assert sorted(BY_CONFIG) == sorted(path.stem for path in CONFIGS.glob('*.py'))


def test_every_file_that_a_config_expects_is_a_published_one():
    text = '\n'.join(path.read_text() for path in CONFIGS.rglob('*.py'))
    assert set(re.findall(r"'checkpoints/(.+?)'", text)) <= {f.filename for f in FILES.values()}


def test_every_published_file_belongs_to_a_config_of_ours():
    known = FILES | EARLIER_FILES
    assert {file.config for file in known.values()} - {None} <= set(BY_CONFIG)


def test_every_config_with_published_metrics_shows_them():
    assert {name: BY_CONFIG[name].published for name in METRICS} == METRICS
