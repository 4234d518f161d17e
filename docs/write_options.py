#!/usr/bin/env python
"""Write docs/reference/options.md from the parsers of the jobs.

python docs/write_options.py
"""

import re
from argparse import SUPPRESS, Action
from importlib import import_module
from pathlib import Path

from casvit_mm.commands import JOBS
from casvit_mm.commands.parser import JobParser, describe

PAGE = Path(__file__).parent / 'reference/options.md'
HEAD = """<!-- Written by docs/write_options.py from the parsers. -->
# Options

Every job and every option, as `casvit-mm JOB --help` lists them. In a checkout
`tools/` has the same jobs.
What a job does for each task: [commands](commands.md).
"""


def write_page() -> str:
    """Return the content of the page."""
    return '\n'.join([HEAD, *map(_describe_job, JOBS)])


def _describe_job(job: str) -> str:
    """Return the section of a job: its purpose, and a row per argument."""
    module = import_module(f'casvit_mm.commands.{job}')
    parser = JobParser(job, module.__doc__ or '')
    module.add_arguments(parser)
    rows = [_row(action) for action in parser._actions if action.dest != 'help']
    table = ['| argument | meaning |', '|---|---|', *rows]
    name = job.replace('_', '-')
    return '\n'.join([f'## {name}', '', describe(module.__doc__ or ''), '', *table, ''])


def _row(action: Action) -> str:
    names = ', '.join(action.option_strings) or _value(action)
    if action.option_strings and action.nargs != 0:
        names += f' {_value(action)}'
    text = action.help or ''
    if action.choices and action.metavar:
        text += f'; one of {", ".join(map(str, action.choices))}'
    default = action.default
    if isinstance(default, (int, float)) and not isinstance(default, bool) and '(' not in text:
        text += f' ({default})'
    text = text % {'default': default} if '%(' in text else text.replace('%%', '%')
    text = text.replace('|', r'\|').replace('<', '&lt;')
    return f'| `{names}` | {_with_links(text)} |'


def _value(action: Action) -> str:
    """Return how the value of an argument is written, as argparse does."""
    if action.metavar is not None and action.metavar != SUPPRESS:
        names = action.metavar if isinstance(action.metavar, tuple) else (action.metavar,)
    elif action.choices:
        names = (' or '.join(map(str, action.choices)),)
    else:
        names = (action.dest.upper() if action.option_strings else action.dest,)
    if action.nargs == '?':
        return f'[{names[0]}]'
    if action.nargs in ('+', '*'):
        return names[0] if str(names[0]).startswith('[') else f'{names[0]} ...'
    return ' '.join(map(str, names))


def _with_links(text: str) -> str:
    """Let a page that a help text names be a link."""
    return re.sub(r'docs/([\w/]+?)(\w+)\.md', r'[\2](../\1\2.md)', text)


if __name__ == '__main__':
    PAGE.write_text(write_page())
    print(PAGE)
