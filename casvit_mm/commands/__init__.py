"""The jobs of the command line: ``casvit-mm JOB``, ``python -m casvit_mm JOB``, ``tools/JOB.py``.

A job is a module here with a help text, ``add_arguments(parser)`` and ``run(args)``, and a line in
:data:`JOBS`. What it needs beside argparse is imported by ``run``, so that ``--help`` and a wrong
word are answered at once.
"""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module

from casvit_mm.commands.parser import JobParser, describe, nearest

__all__ = ['JOBS', 'main']

# In the order in which a user meets them.
JOBS = (
    'check_data',
    'browse_data',
    'convert_data',
    'pack_data',
    'train',
    'test',
    'cross_validate',
    'predict',
    'serve',
    'export',
    'visualize',
    'benchmark',
    'gpu_report',
    'study_mixers',
    'download_weights',
    'convert_weights',
    'publish_weights',
    'doctor',
)


def main(job: str | None = None) -> None:
    """Read the command line, and run a job.

    Args:
        job: One of :data:`JOBS`; None takes the first word of the command line.
    """
    arguments = sys.argv[1:]
    if job is None:
        word, *arguments = arguments or ['--help']
        job = _find_job(word)
    module = import_module(f'casvit_mm.commands.{job}')
    parser = JobParser(job, module.__doc__ or '')
    module.add_arguments(parser)
    # Options may stand between the files.
    args = parser.parse_intermixed_args(arguments)

    from casvit_mm.cli import cli

    cli(partial(module.run, args))


def _find_job(word: str) -> str:
    """Return the job of a word, with - or _ in it; list the jobs where there is none."""
    if word == '--version':
        print(sys.modules['casvit_mm'].__version__)
        sys.exit(0)
    job = word.replace('-', '_')
    if job in JOBS:
        return job
    asked = word in ('-h', '--help')
    print(_list_jobs(), file=sys.stdout if asked else sys.stderr)
    if not asked:
        names = [name.replace('_', '-') for name in JOBS]
        print(f'\nerror: there is no job {word!r}{nearest(word, names)}', file=sys.stderr)
    sys.exit(0 if asked else 2)


def _list_jobs() -> str:
    """Return the help of the whole command."""
    lines = ['usage: casvit-mm JOB ..., casvit-mm JOB --help', '']
    for job in JOBS:
        text = import_module(f'casvit_mm.commands.{job}').__doc__ or ''
        lines.append(f'  {job.replace("_", "-"):18s}{describe(text)}')
    return '\n'.join(
        [
            *lines,
            '',
            'casvit_mm::NAME.py names one of our configs; a path does as well. Several processes:',
            'torchrun --nproc-per-node 8 -m casvit_mm train CONFIG --launcher pytorch',
        ]
    )
