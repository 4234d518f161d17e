"""The metafile and the page, as the tool writes them and mim reads them."""

import modelindex.load_model_index
import pytest
import yaml
from helpers import PARAMETERS, ROOT
from mmengine.config import Config

from casvit_mm import ARCHS
from casvit_mm.models.complexity import Complexity, count_complexity
from casvit_mm.zoo.model_index import metafile, page
from casvit_mm.zoo.recipes import RECIPES

CONFIGS = ROOT / 'configs'
BY_CONFIG = {recipe.config: recipe for recipe in RECIPES}


# One of each family and variant: a minute for all of them is left to tools/model_zoo.py.
RECOUNTED = (
    'casvit_xs_imagenet',
    'casvit_xs_imagenet_distill',
    'casvit_s_imagenet',
    'casvit_m_imagenet',
    'casvit_t_imagenet',
    'fvit_b32_imagenet',
    'maskrcnn_casvit_xs_light',
    'retinanet_casvit_s_coco',
    'rtmdet_casvit_xs_light',
    'rtmdet_ins_casvit_s_coco',
    'semfpn_casvit_xs_light',
    'upernet_casvit_s_ade20k',
)


@pytest.fixture(scope='module')
def counts():
    """Parameters and multiply-adds of every config, some of them counted anew."""
    entries = yaml.safe_load((CONFIGS / 'metafile.yml').read_text())['Models']
    facts = {entry['Name']: entry['Metadata'] for entry in entries}
    written = {name: Complexity(fact['Parameters'], fact['FLOPs']) for name, fact in facts.items()}
    return written | {
        name: count_complexity(Config.fromfile(CONFIGS / f'{name}.py'), BY_CONFIG[name].input_size)
        for name in RECOUNTED
    }


@pytest.fixture(scope='module')
def models():
    """The entries of the index, as mim and mmpretrain read them."""
    index = modelindex.load_model_index.load(str(ROOT / 'model-index.yml'))
    index.build_models_with_collections()
    return {model.name: model for model in index.models}


def test_the_metafile_is_what_the_tool_writes(counts):
    assert (CONFIGS / 'metafile.yml').read_text() == metafile(counts)


def test_the_page_is_what_the_tool_writes(counts):
    assert (ROOT / 'docs/reference/model_zoo.md').read_text() == page(counts)


@pytest.mark.parametrize('variant', ARCHS)
def test_parameters_are_the_published_ones_less_the_second_head(counts, variant):
    second_head = (ARCHS[variant]['embed_dims'][-1] + 1) * 1000
    assert counts[f'casvit_{variant}_imagenet'].parameters == PARAMETERS[variant] - second_head


def test_a_teacher_is_not_counted(counts):
    plain, distilled = (
        counts[name].parameters for name in ('casvit_xs_imagenet', 'casvit_xs_imagenet_distill')
    )
    assert distilled - plain == 221 * 1000  # the second head


def test_the_index_reads_without_complaint(models):
    assert set(models) == set(BY_CONFIG)
    assert not [error for model in models.values() for error in model.check_errors]


def test_the_index_names_configs_that_are_there(models):
    assert all((ROOT / model.config).is_file() for model in models.values())


def test_the_index_names_a_paper_for_every_model(models):
    assert all(model.full_model.paper for model in models.values())


def test_the_index_marks_the_status_of_every_model(models):
    kinds = {'published', 'reproduced', 'measured here', 'not yet run'}
    assert {model.data['Status'] for model in models.values()} <= kinds


def test_mmpretrain_finds_our_models_by_name():
    hub = pytest.importorskip('mmpretrain').ModelHub
    if not hub.has('casvit_s_imagenet'):
        hub.register_model_index(ROOT / 'model-index.yml', config_prefix=ROOT)
    assert hub.get('casvit_s_imagenet').config.model.backbone.arch == 's'


def test_the_metafile_has_published_metrics_in_percent():
    entries = yaml.safe_load((CONFIGS / 'metafile.yml').read_text())['Models']
    entry = next(entry for entry in entries if entry['Name'] == 'maskrcnn_casvit_m_coco')
    assert [result['Metrics'] for result in entry['Results']] == [
        {'box AP': 42.3},
        {'mask AP': 38.9},
    ]
