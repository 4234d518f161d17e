"""The page of a report, from results that are made up."""

import json

import pytest
from matplotlib.image import imread

from casvit_mm.gpu_report.aims import verdicts
from casvit_mm.gpu_report.page import write_page
from casvit_mm.gpu_report.state import Record


@pytest.fixture
def records(results):
    seen = dict(sm_mhz=1500.0, watts=170.0, celsius=83.0, throttled=['power limit'])
    done = {name: Record('done', {}, 90.0) for name in results}
    done['inference-xs-256'].gpu = seen
    return done | {'peers': Record('failed', {}, 12.0, 1, 'CUDA error: misaligned address')}


def test_each_aim_is_met_missed_or_not_measured(results):
    found = {one.aim: one for one in verdicts(results)}
    words = {aim: one.word for aim, one in found.items()}
    assert words['every test that needs a GPU passes'] == 'met'
    assert words['CAS-ViT-XS: inference, 4 times eager+amp, batch 256'] == 'met'
    assert words['CAS-ViT-T: inference, 4 times eager+amp, batch 256'] == 'not measured'
    assert words['CAS-ViT-XS: training step, 2 times eager+amp'] == 'missed'
    assert words['CAS-ViT-XS: compiled token mixers reach 50% of the limits'] == 'missed'
    assert words['bccd, coco/bbox_mAP: the 0.600 of the results page with --amp'] == 'met'
    assert '1.70' in found['CAS-ViT-XS: training step, 2 times eager+amp'].found


def test_a_test_that_fails_or_none_that_passes_misses_the_first_aim(results):
    tests = results['tests']['tests']
    tests[0]['outcome'] = 'skipped'
    assert verdicts(results)[0].word == 'missed'
    tests += [dict(name='a', outcome='passed'), dict(name='b', outcome='failed')]
    assert verdicts(results)[0].word == 'missed'


def test_an_accuracy_a_point_below_the_results_page_misses_it(results):
    results['train-bccd']['rows'][0]['measured'] = 0.58
    (found,) = (one for one in verdicts(results) if one.aim.startswith('bccd'))
    assert found.word == 'missed'


def test_a_smaller_batch_is_named_beside_the_aim(results):
    for row in results['inference-xs-256']['rows']:
        row['batch'] = 128
    assert verdicts(results)[1].found.endswith('fused+compile+bf16, batch 128')


def test_without_the_baseline_nothing_is_claimed(results):
    del results['inference-xs-256']['rows'][0]
    for row in results['inference-xs-256']['rows']:
        row['than'] = 'casvit_xs fused+amp'
    assert verdicts(results)[1].word == 'not measured'


def test_the_page_has_machine_steps_and_what_each_measured(environment, records, results, tmp_path):
    skipped = {'two-processes': 'needs 2 GPUs, and there is 1'}
    lines = write_page(tmp_path, environment, records, results, skipped)
    assert any(line.startswith('met: CAS-ViT-XS: inference') for line in lines)
    page = (tmp_path / 'report.md').read_text()
    assert page.startswith('# GPU report: NVIDIA RTX 3060\n')
    for text in (
        '| memory | 12.0 GiB |',
        'driver_version 550.1',
        'SyncBN beside one | not run | - | needs 2 GPUs, and there is 1 |',
        '| failed | 0.2 | CUDA error: misaligned address |',
        '1500 MHz, 170 W, 83 °C; slowed down by power limit',
        '## inference-xs-256',
        '```bash\nrun it\n```',
        '1 passed, 0 failed, 1 skipped.',
        r'needs two GPUs \| or more',
        '| bf16 | 300 | 25.00 | 50.0 |',
        '| coco/bbox_mAP | 0.597 | 0.600 |',
    ):
        assert text in page, text
    assert 'Smoke run' not in page
    content = json.loads((tmp_path / 'report.json').read_text())
    assert content['aims'][1]['verdict'] == 'met'
    for picture in ('inference.png', 'training_step.png', 'roofline.png'):
        assert f'![{picture}]({picture})' in page
        assert imread(tmp_path / picture).std() > 0


def test_a_step_that_ran_with_other_code_is_named(environment, records, results, tmp_path):
    results['inference-xs-256']['host'] = dict(commit='def5678')
    results['train-classifier']['host'] = dict(commit='abc1234')
    write_page(tmp_path, environment, records, results, {})
    page = (tmp_path / 'report.md').read_text()
    assert page.count('this is of def5678, not of abc1234') == 1


def test_a_page_of_nothing_is_a_page(environment, tmp_path):
    assert write_page(tmp_path, environment, {}, {}, {}) == []
    assert 'not measured' in (tmp_path / 'report.md').read_text()


def test_a_smoke_run_a_dirty_tree_and_others_on_the_gpu_are_told(environment, tmp_path):
    changed = dict(device='cpu', commit='abc1234-dirty', others=['77, python, 900'])
    write_page(tmp_path, environment | changed, {}, {}, {})
    page = (tmp_path / 'report.md').read_text()
    assert '**Smoke run on a CPU.**' in page
    assert '**The tree was dirty**' in page
    assert 'when this call began: 77, python, 900' in page
