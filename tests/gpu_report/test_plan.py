"""The steps: each can be asked for, and what it runs is known to the benchmark."""

import re

import pytest
from helpers import ROOT

from casvit_mm.benchmark import Settings
from casvit_mm.benchmark.forms import Form
from casvit_mm.errors import InputError
from casvit_mm.gpu_report.measurements import as_command, smoked
from casvit_mm.gpu_report.plan import RECIPES, STEPS, choose, why_skipped

BENCHMARKS = [step for step in STEPS if step.options]


def test_a_step_that_is_not_there_names_the_nearest():
    with pytest.raises(
        InputError, match=r"--only inference-x-256.*did you mean 'inference-xs-256'"
    ):
        choose(['limits', 'inference-x-256'])


def test_steps_run_in_the_order_of_the_plan_whatever_was_typed():
    assert [step.name for step in choose(['peers', 'limits'])] == ['limits', 'peers']
    assert choose(None) == list(STEPS)


def test_every_step_has_a_name_of_its_own_and_a_limit_above_its_guess():
    assert len({step.name for step in STEPS}) == len(STEPS)
    assert all(step.most >= 2 * step.minutes for step in STEPS)


def test_fifteen_minutes_reach_both_aims():
    sums, passed = {}, 0.0
    for step in STEPS:
        passed += step.minutes
        sums[step.name] = passed
    wanted = ('tests', 'inference-xs-256', 'inference-t-256', 'train-classifier', 'train-segmentor')
    assert all(sums[name] <= 15 for name in wanted)


@pytest.mark.parametrize('step', BENCHMARKS, ids=lambda step: step.name)
def test_what_a_step_runs_is_known_to_the_benchmark(step):
    settings = Settings(**step.options, device='cpu')
    assert settings.batches
    assert [Form.parse(form).name for form in step.options['forms']] == step.options['forms']
    assert settings.model_names


@pytest.mark.parametrize('step', BENCHMARKS, ids=lambda step: step.name)
def test_a_smoke_run_goes_the_same_way(step):
    options = smoked(step.options, compiled=False)
    settings = Settings(**options, device='cpu')
    assert settings.roofline == bool(step.options.get('roofline'))
    assert settings.train == bool(step.options.get('train'))
    assert settings.rounds == 2
    assert options['forms']
    assert not any(form.compile or form.cuda_graph for form in settings.chosen_forms)
    kept = smoked(step.options, compiled=True)['forms']
    compiled = [f for f in step.options['forms'] if 'compile' in f and 'cuda_graph' not in f]
    assert [form for form in kept if 'compile' in form] == compiled


def test_the_command_of_a_step_is_one_that_can_be_typed():
    options = dict(models=['casvit_xs'], batch=[1, 64], train=True, preset='paper', roofline=False)
    assert (
        as_command(options) == 'casvit-mm benchmark casvit_xs --batch 1 64 --train --preset paper'
    )


def test_the_figures_are_those_of_the_results_page():
    page = (ROOT / 'docs/results/detection.md').read_text()
    section = page.split('## Blood cells')[1].split('\n## ')[0]
    assert (
        float(re.search(r'\| all classes \| 945 \| \*\*([\d.]+)', section)[1])
        == (RECIPES['bccd'].figures['coco/bbox_mAP'])
    )
    section = page.split('## Nuclei')[1].split('\n## ')[0]
    for kind, key in (('mask', 'segm'), ('box', 'bbox')):
        found = re.search(rf'\| {kind} \| 100 \| \*\*([\d.]+)', section)
        assert float(found[1]) == RECIPES['dsb2018'].figures[f'coco/{key}_mAP']
    for recipe in RECIPES.values():
        assert f'configs/{recipe.config} --from-scratch' in page or recipe.config in page


def test_a_step_that_cannot_run_here_says_what_it_needs(environment):
    def why(name, data=None, **changed):
        (step,) = choose([name])
        return why_skipped(step, environment | changed, data or {})

    assert why('train-bccd') == 'needs the dataset bccd: --bccd YAML'
    assert why('train-bccd', {'bccd': 'bccd.yaml'}) is None
    assert why('two-processes') == 'needs 2 GPUs, and there is 1'
    assert why('two-processes', gpus=2) is None
    assert why('two-processes', gpus=0) is None  # a smoke run, by gloo
    assert why('engines', absent=['onnx', 'onnxruntime']) == (
        'needs onnx and onnxruntime, not installed here'
    )
    assert why('engines') is None  # TensorRT is one of its forms
    assert 'mmdet' in why('train-detector', absent=['mmdet'])
    assert 'checkout' in why('tests', tests=False)
