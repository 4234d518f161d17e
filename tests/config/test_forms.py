"""The forms in which MMEngine takes one thing are one form to us."""

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook
from mmengine.registry import METRICS

from casvit_mm import InputError
from casvit_mm.config.checks import require_metric
from casvit_mm.config.editing import (
    add_hook,
    add_import,
    innermost_datasets,
    single_dataset,
)
from casvit_mm.config.forms import entries, metric_configs, takes_argument, type_name, type_of


@pytest.mark.parametrize('kind', ['EMAHook', 'mmengine.EMAHook', 'mmengine.hooks.EMAHook', EMAHook])
def test_a_type_has_one_name_however_it_is_given(kind):
    assert type_name(dict(type=kind)) == 'EMAHook'


@pytest.mark.parametrize('node', [None, {}, dict(type=None), []])
def test_what_has_no_type_has_an_empty_name(node):
    assert type_name(node) == ''


@pytest.mark.parametrize(
    ('value', 'expected'),
    [(dict(a=1), [dict(a=1)]), ([dict(a=1), dict(a=2)], [dict(a=1), dict(a=2)]), (None, [])],
)
def test_one_entry_several_and_none_are_a_list(value, expected):
    assert entries(Config(dict(param_scheduler=value)), 'param_scheduler') == expected


def test_an_entry_that_is_absent_is_an_empty_list():
    assert entries(Config({}), 'param_scheduler') == []


METRIC = dict(type='CocoAP', ann_file='a.json')


@pytest.mark.parametrize(
    'evaluator',
    [
        METRIC,
        [dict(type='DumpResults', out_file_path='r.pkl'), METRIC],
        dict(type='Evaluator', metrics=METRIC),
        dict(type='Evaluator', metrics=[METRIC]),
    ],
)
def test_the_metric_is_found_in_every_form_of_an_evaluator_and_changed_in_place(evaluator):
    cfg = Config(dict(test_evaluator=evaluator))
    require_metric(cfg, 'CocoAP').ann_file = 'b.json'
    assert 'b.json' in cfg.pretty_text
    assert 'a.json' not in cfg.pretty_text


@pytest.mark.parametrize('evaluator', [None, [], dict(type='DumpResults', out_file_path='r.pkl')])
def test_a_metric_that_is_not_there_is_named_as_missing(evaluator):
    with pytest.raises(InputError, match=r'need test_evaluator\.type=CocoAP; .* has (none|.Dump)'):
        require_metric(Config(dict(test_evaluator=evaluator)), 'CocoAP')


class _Plain(BaseMetric):
    def __init__(self, ann_file, **kwargs):
        super().__init__(**kwargs)


class _Child(_Plain):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class _Closed(_Plain):
    def __init__(self, path):
        super().__init__(path)


def test_an_argument_is_taken_by_a_class_or_handed_to_its_parents():
    assert takes_argument(_Plain, 'ann_file')
    assert takes_argument(_Child, 'ann_file')
    assert takes_argument(_Child, 'prefix')
    assert not takes_argument(_Child, 'max_dets')
    assert not takes_argument(_Closed, 'ann_file')


def test_the_class_of_an_entry_is_found_by_name_and_class():
    from mmengine.evaluator import DumpResults

    cfg = Config({})
    for kind in ('DumpResults', 'mmengine.DumpResults', DumpResults):
        assert type_of(cfg, METRICS, dict(type=kind)) is DumpResults
    assert type_of(cfg, METRICS, dict(type='Nowhere')) is None


def wrapped():
    inner = [dict(type='A', pipeline=[1]), dict(type='B', pipeline=[2])]
    joined = dict(type='ConcatDataset', datasets=inner)
    return ConfigDict(dataset=dict(type='RepeatDataset', times=3, dataset=joined))


def test_all_datasets_under_wrappers_are_found():
    assert [d.type for d in innermost_datasets(wrapped())] == ['A', 'B']


def test_the_first_of_joined_datasets_takes_the_place_of_all():
    loader = wrapped()
    single_dataset(loader).type = 'Ours'
    expected = dict(type='RepeatDataset', times=3, dataset=dict(type='Ours', pipeline=[1]))
    assert loader.dataset == expected


def test_a_hook_given_as_a_class_is_not_added_twice():
    cfg = Config(dict(custom_hooks=None))
    add_hook(cfg, 'EMAHook')
    cfg.custom_hooks[0]['type'] = EMAHook
    add_hook(cfg, 'EMAHook')
    assert len(cfg.custom_hooks) == 1


def test_an_import_that_is_one_name_is_not_split_into_letters():
    cfg = Config(dict(custom_imports=dict(imports='casvit_mm', allow_failed_imports=False)))
    add_import(cfg, 'casvit_mm.detection')
    assert cfg.custom_imports.imports == ['casvit_mm', 'casvit_mm.detection']
    assert metric_configs(cfg, 'val') == []
