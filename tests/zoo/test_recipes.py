"""The tables of published files and metrics, and what is written from them."""

import re
from pathlib import Path

import modelindex.load_model_index
import pytest
import torch
import yaml
from helpers import ROOT
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config

from casvit_mm import ARCHS, InputError
from casvit_mm.models.complexity import Complexity, count_complexity
from casvit_mm.weights.published import EARLIER_FILES, FILES, METRICS, find_file, how_to_get
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


def test_every_config_has_a_row():
    assert sorted(BY_CONFIG) == sorted(path.stem for path in CONFIGS.glob('*.py'))


def test_every_file_that_a_config_expects_is_a_published_one():
    text = '\n'.join(path.read_text() for path in CONFIGS.rglob('*.py'))
    assert set(re.findall(r"'checkpoints/(.+?)'", text)) <= {f.filename for f in FILES.values()}


def test_every_published_file_belongs_to_a_config_of_ours():
    known = FILES | EARLIER_FILES
    assert {file.config for file in known.values()} - {None} <= set(BY_CONFIG)


def test_no_two_files_have_one_name_or_link():
    known = FILES | EARLIER_FILES
    assert len(known) == len(FILES) + len(EARLIER_FILES)
    assert len({file.link for file in known.values()}) == len(known)


def test_every_config_with_published_metrics_shows_them():
    assert {name: BY_CONFIG[name].published for name in METRICS} == METRICS


def test_an_earlier_file_is_found_by_its_name_and_its_config_finds_todays():
    earlier = find_file('checkpoints/cas-vit-m-2024-10.pth')
    assert earlier.metrics == {'Top 1 Accuracy': 81.4}
    assert find_file(earlier.config) is FILES['cas-vit-m']


def test_the_metafile_is_what_the_tool_writes(counts):
    assert (CONFIGS / 'metafile.yml').read_text() == metafile(counts)


def test_the_page_is_what_the_tool_writes(counts):
    assert (ROOT / 'docs/model_zoo.md').read_text() == page(counts)


@pytest.mark.parametrize('variant', ARCHS)
def test_parameters_are_the_published_ones_less_the_second_head(counts, variant):
    published = {'xs': 3_200_700, 's': 5_764_224, 'm': 12_421_520, 't': 21_763_120}[variant]
    second_head = (ARCHS[variant]['embed_dims'][-1] + 1) * 1000
    assert counts[f'casvit_{variant}_imagenet'].parameters == published - second_head


def test_multiply_adds_agree_with_mmengine_but_for_norms_and_pooling():
    cfg = Config.fromfile(CONFIGS / 'casvit_xs_imagenet.py')
    from mmengine.registry import MODELS

    counted = count_complexity(cfg, (96, 64)).multiply_adds
    analyzer = FlopAnalyzer(MODELS.build(cfg.model).eval(), torch.rand(1, 3, 64, 96))
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = analyzer.by_operator()
    assert counted == by_operator['conv'] + by_operator['linear']


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


def test_the_page_links_to_sections_that_are_there():
    titles = re.findall(r'^## (.+)$', (ROOT / 'docs/results.md').read_text(), re.MULTILINE)
    anchors = {re.sub(r'[^\w -]', '', title).lower().replace(' ', '-') for title in titles}
    linked = re.findall(r'\(results\.md#(.+?)\)', (ROOT / 'docs/model_zoo.md').read_text())
    assert linked
    assert set(linked) <= anchors


@pytest.mark.parametrize(
    'name', ['cas-vit-s', 'checkpoints/cas-vit-s.pth', 'configs/casvit_s_imagenet.py']
)
def test_a_file_is_found_by_its_name_its_path_and_its_config(name):
    assert find_file(name) is FILES['cas-vit-s']


def test_a_misspelt_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'casvit-s'.*Did you mean cas-vit-s.*download_weights"):
        find_file('casvit-s')


@pytest.mark.parametrize(
    ('path', 'advice'),
    [
        (Path('checkpoints/cas-vit-m.pth'), 'download_weights cas-vit-m'),
        (Path('/home/me/checkpoints/cas-vit-m-384.pth'), 'download_weights cas-vit-m-384'),
        (Path('checkpoints/cas-vit-s-2024-10.pth'), 'download_weights cas-vit-s-2024-10'),
        (Path('mine.pth'), 'download_weights lists'),
    ],
)
def test_advice_about_a_missing_file_names_it_if_it_is_published(path, advice):
    assert advice in how_to_get(str(path))
