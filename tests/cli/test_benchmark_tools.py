"""tools/benchmark.py and tools/study_mixers.py as commands."""

import pytest
from helpers import run_job

from casvit_mm.benchmark.mixer_accuracy import compare_accuracies
from casvit_mm.errors import InputError


def test_a_misspelt_model_ends_the_tool_with_one_message():
    ended = run_job('benchmark', 'casvit_z', '--device', 'cpu')
    assert ended.returncode == 2
    assert 'near: casvit_' in ended.stderr
    assert 'Traceback' not in ended.stderr


@pytest.mark.slow
def test_a_run_that_fails_is_named_after_its_own_message(tmp_path):
    with pytest.raises(InputError, match='PoolingTokenMixer_0 failed, see above'):
        compare_accuracies(['PoolingTokenMixer'], 'nowhere.yaml', tmp_path, seeds=(0,))


def test_the_command_measures_and_says_where_it_wrote(tmp_path):
    result = run_job(
        *('study_mixers', '--mixers', 'PoolingTokenMixer', '--dim', 4),
        *('--sides', 4, 8, '--rounds', 1, '--device', 'cpu', '--out', tmp_path / 'study'),
    )
    assert result.returncode == 0, result.stderr
    assert f'written to {tmp_path / "study"}' in result.stdout
