"""The jobs of the command line: help at once, and wrong words that name the right ones."""

import argparse
import sys
from importlib import import_module

import pytest
from helpers import ROOT, run_command

from casvit_mm.benchmark.forms import PRECISIONS
from casvit_mm.benchmark.peers import OURS
from casvit_mm.benchmark.settings import PRESETS
from casvit_mm.cli import job_command
from casvit_mm.commands import JOBS, main
from casvit_mm.commands.parser import part_config
from casvit_mm.engine.loggers import LOGGERS
from casvit_mm.errors import InputError
from casvit_mm.export import FORMATS
from casvit_mm.visualization.cams import METHODS
from casvit_mm.visualization.run import KINDS
from casvit_mm.weights.reading import WEIGHT_SETS
from casvit_mm.zoo.publish import FORMATS as FILE_FORMATS

TOOLS = sorted((ROOT / 'tools').glob('*.py'))
# Every help, one after the other in one process, and what that has imported.
HELP = """
import runpy, sys
from casvit_mm.commands import JOBS, main
from casvit_mm.commands.parser import part_config
from casvit_mm.errors import InputError
for job in JOBS:
    for call in [lambda: main(job)] + [lambda: runpy.run_path(tool, run_name='__main__')
                                       for tool in [f'tools/{job}.py'] if job != 'doctor']:
        sys.argv = [f'tools/{job}.py', '--help']
        try:
            call()
        except SystemExit as end:
            assert end.code == 0
for tool in ('quickstart', 'model_zoo'):
    try:
        runpy.run_path(f'tools/{tool}.py', run_name='__main__')
    except SystemExit as end:
        assert not end.code
heavy = set('torch numpy cv2 mmengine mmcv mmdet mmseg mmpretrain timm rich'.split())
print('imported:', sorted(heavy & set(sys.modules)))
"""

# Every job up to its first import that takes long, and what it has said by then.
FIRST_LINES = """
import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from casvit_mm.commands import JOBS, main
heavy = set('torch numpy cv2 mmengine mmcv mmdet mmseg mmpretrain timm rich yaml PIL'.split())

class Reached(BaseException):
    pass

class Guard(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in heavy:
            raise Reached(name)

sys.meta_path.insert(0, Guard())
options = {
    'benchmark': ['casvit_xs'],
    'check_data': ['photos'],
    'browse_data': ['casvit_mm::casvit_xs_light.py'],
    'convert_data': ['photos', 'out', '--to', 'coco'],
    'cross_validate': ['casvit_mm::casvit_xs_light.py', '--data', 'photos', '--folds', '2'],
    'doctor': [],
    'download_weights': ['cas-vit-xs'],
    'export': ['a.pth', '--format', 'onnx'],
    'gpu_report': ['--out', 'gpu'],
    'pack_data': ['casvit_mm::casvit_xs_light.py', '--out', 'out'],
    'predict': ['a.pth', 'photos'],
    'study_mixers': [],
    'train': ['casvit_mm::casvit_xs_light.py'],
    'visualize': ['a.pth', 'photos'],
}
for job in JOBS:
    words = options.get(job, ['a.pth', 'b.pth'][: 2 if job == 'convert_weights' else 1])
    sys.argv = ['casvit-mm', job, *words]
    print('::', job)
    try:
        main()
    except Reached as reached:
        print('->', reached)
"""


@pytest.fixture
def typed(monkeypatch, capsys):
    """Type a command line; returns its status, what it prints, and its errors."""

    def type_in(*words: str, program: str = '/usr/bin/casvit-mm') -> tuple[int, str, str]:
        monkeypatch.setattr(sys, 'argv', [program, *words])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return type_in


def arguments_of(job: str) -> dict[str, argparse.Action]:
    parser = argparse.ArgumentParser()
    import_module(f'casvit_mm.commands.{job}').add_arguments(parser)
    return {action.dest: action for action in parser._actions}


def test_the_help_of_every_job_and_tool_imports_nothing_heavy():
    result = run_command(sys.executable, '-c', HELP)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == 'imported: []'


def test_every_job_says_its_first_line_before_it_loads_what_takes_long():
    result = run_command(sys.executable, '-c', FIRST_LINES)
    assert result.returncode == 0, result.stderr
    said = [text.strip().splitlines() for text in result.stdout.split(':: ')[1:]]
    assert [lines[0] for lines in said] == list(JOBS)
    silent = [lines for lines in said if len(lines) != 3 or not lines[2].startswith('->')]
    assert not silent


@pytest.mark.parametrize(
    'words', [['train'], ['test', 'a.pth'], ['check-data', 'photos', '--config'], ['browse-data']]
)
def test_a_config_that_is_not_there_is_refused_before_anything_is_said(typed, words):
    at = 1 if words[0] == 'test' else len(words)
    status, printed, errors = typed(*words[:at], 'casvit_xs_lihgt.py', *words[at:])
    assert (status, printed) == (2, '')
    assert 'did you mean casvit_mm::casvit_xs_light.py' in errors


def test_every_file_of_the_folder_is_a_job():
    files = {path.stem for path in (ROOT / 'casvit_mm/commands').glob('*.py')}
    assert files - {'__init__', 'parser'} == set(JOBS)


def test_every_tool_but_those_of_the_checkout_is_a_job():
    assert {tool.stem for tool in TOOLS} - {'quickstart', 'model_zoo'} <= set(JOBS)


def test_the_list_names_every_job_with_what_it_does(typed):
    status, printed, _ = typed('--help')
    assert status == 0
    assert '  check-data        Check a custom dataset before training' in printed
    assert all(job.replace('_', '-') in printed for job in JOBS)


@pytest.mark.parametrize('word', ['check-data', 'check_data'])
def test_a_job_has_dashes_or_underscores(typed, word):
    status, printed, _ = typed(word, '--help')
    assert status == 0
    assert printed.startswith('usage: casvit-mm check-data')


def test_the_help_shows_commands_as_the_user_types_them(typed):
    assert (
        '\npython tools/train.py casvit_mm::'
        in typed('train', '--help', program='tools/train.py')[1]
    )
    assert '\ncasvit-mm train casvit_mm::' in typed('train', '--help')[1]


@pytest.mark.parametrize(
    ('words', 'nearest'),
    [
        (['trian'], "no job 'trian'; did you mean 'train'?"),
        (['chek-data'], "did you mean 'check-data'?"),
        (['train', 'c.py', '--seeed', '1'], "did you mean '--seed'?"),
        (['export', 'c.py', '--out', 'm', '--format', 'onxx'], "did you mean 'onnx'?"),
    ],
)
def test_a_wrong_word_names_the_right_one(typed, words, nearest):
    status, printed, errors = typed(*words)
    assert (status, printed) == (2, '')
    assert errors.splitlines()[-1].startswith('error: ')
    assert errors.rstrip().endswith(nearest)


def test_without_a_word_the_jobs_are_listed(typed):
    status, printed, _ = typed()
    assert status == 0
    assert 'cross-validate' in printed


def test_the_version_is_told(typed):
    assert typed('--version')[:2] == (0, f'{import_module("casvit_mm").__version__}\n')


@pytest.mark.parametrize(
    ('program', 'line'),
    [
        ('tools/train.py', "python tools/test.py 'a b.py' c.pth"),
        ('/opt/casvit_mm/__main__.py', "python -m casvit_mm test 'a b.py' c.pth"),
        ('/usr/bin/casvit-mm', "casvit-mm test 'a b.py' c.pth"),
        ('notebook.py', "casvit-mm test 'a b.py' c.pth"),
    ],
)
def test_the_next_command_begins_as_this_one_did(monkeypatch, program, line):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', [program])
    assert job_command('test', 'a b.py', 'c.pth') == line


def test_a_job_without_a_tool_is_named_as_a_job(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', ['tools/train.py'])
    assert job_command('doctor') == 'casvit-mm doctor'


@pytest.mark.parametrize(
    ('job', 'argument', 'table'),
    [
        ('benchmark', 'dtype', PRECISIONS),
        ('benchmark', 'peers', OURS),
        ('benchmark', 'preset', PRESETS),
        ('convert_weights', 'weights', WEIGHT_SETS),
        ('export', 'format', [*FORMATS, 'fastest']),
        ('publish_weights', 'file_format', FILE_FORMATS),
        ('publish_weights', 'weights', WEIGHT_SETS),
        ('train', 'logger', LOGGERS),
        ('visualize', 'method', METHODS),
        ('visualize', 'show', KINDS),
    ],
)
def test_the_words_of_an_option_are_those_of_the_library(job, argument, table):
    assert list(arguments_of(job)[argument].choices) == list(table)


def parse(job: str, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    import_module(f'casvit_mm.commands.{job}').add_arguments(parser)
    return parser.parse_intermixed_args(words)


@pytest.mark.parametrize(
    ('words', 'config', 'files'),
    [
        (['best.pth'], None, ['best.pth']),
        (['c.py', 'best.pth'], 'c.py', ['best.pth']),
        (['casvit_mm::c.py', 'm.onnx'], 'casvit_mm::c.py', ['m.onnx']),
        (['best.safetensors', 'a.jpg'], None, ['best.safetensors', 'a.jpg']),
    ],
)
def test_a_config_may_stand_before_the_checkpoint(words, config, files):
    assert part_config(words) == (config, files)


def test_options_may_stand_between_the_files():
    args = parse('test', 'c.py', '--data', 'd.yaml', 'best.pth', '--tile', '64')
    assert (args.files, args.data, args.tile) == (['c.py', 'best.pth'], 'd.yaml', 64)


@pytest.mark.parametrize('words', [['c.py'], ['a.pth', 'b.pth']])
def test_one_checkpoint_is_evaluated(words):
    with pytest.raises(InputError, match='name one checkpoint'):
        import_module('casvit_mm.commands.test').run(parse('test', *words))


@pytest.mark.parametrize(
    ('source', 'precision', 'expected'),
    [
        ('work dir/best.pth', 'fp32', 'work dir/best'),
        ('a/best.pth', 'int8', 'a/best-int8'),
        ('casvit_mm::x.py', 'fp32', 'x'),
        ('https://example.org/w/best.pth', 'fp16', 'best-fp16'),
    ],
)
def test_without_out_the_file_lies_beside_the_checkpoint(source, precision, expected):
    assert import_module('casvit_mm.commands.export')._beside(source, precision) == expected
