"""What a person sees of a command at work."""

import io
import os
import sys
import time
import warnings

import pytest

from casvit_mm import console
from casvit_mm.console import (
    StatusLine,
    counted,
    duration,
    keep_noise,
    quiet_warnings,
    say,
    speed,
    step,
)
from casvit_mm.moved import MovedWarning


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = 'utf-8'

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '80')
    stream = Terminal()
    monkeypatch.setattr(console, '_stdout', lambda: stream)
    return stream


@pytest.fixture
def kept():
    """What is kept for the log file."""
    lines = []
    keep_noise(lines.append)
    yield lines
    keep_noise(console._noise.append)


def test_a_step_is_said_at_once_and_what_packages_print_in_it_is_kept(capsys, kept):
    with step('reading'):
        assert capsys.readouterr().out == 'reading\n'
        print('loading annotations into memory...')
        say('a line of ours')
    print('of the user')
    assert capsys.readouterr().out == 'a line of ours\nof the user\n'
    assert ''.join(kept) == 'loading annotations into memory...\n'


def test_what_was_kept_before_there_is_a_log_file_goes_into_it(capsys):
    with step('importing'):
        print('no module')
    lines = []
    keep_noise(lines.append)
    keep_noise(console._noise.append)
    assert ''.join(lines) == 'no module\n'


def test_a_step_in_a_run_leaves_the_status_line_as_it_was(capsys):
    with StatusLine('training') as line:
        line.show('epoch 1/2', '3/8', 0.4)
        with step('opening the data'):
            assert line.now == ('opening the data', '', None)
        assert line.now == ('epoch 1/2', '3/8', 0.4)
    assert capsys.readouterr().out == 'opening the data\n'


def test_where_there_is_no_terminal_the_line_is_said_again_in_every_long_silence(
    capsys, monkeypatch
):
    monkeypatch.setattr(console, '_SILENCE', 0.2)
    with StatusLine('epoch 1/2') as line:
        line.show('epoch 1/2', '3/8  loss 0.5')
        time.sleep(1.2)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith('epoch 1/2  3/8  loss 0.5  for ')  # nothing has changed


def test_on_a_terminal_there_is_one_live_line_and_said_lines_stay(terminal):
    with StatusLine('epoch 1/2') as line:
        line.show('epoch 1/2', '3/8  loss 0.5', 0.4)
        line.live.refresh()
        say('x' * 200)  # a path to copy is not broken
    written = terminal.getvalue()
    assert '━' in written
    assert '3/8  loss 0.5' in written
    assert 'x' * 200 + '\n' in written
    assert written.endswith('\x1b[?25h') or written.rstrip().endswith('\x1b[2K')  # cursor, and gone


def test_without_rich_a_terminal_gets_lines(terminal, monkeypatch):
    monkeypatch.setitem(sys.modules, 'rich', None)
    with step('loading model.onnx'):
        pass
    assert terminal.getvalue() == 'loading model.onnx\n'


def test_the_live_line_keeps_to_the_width_of_the_terminal(terminal, monkeypatch):
    from rich.console import Console

    tail = '1000/1182  loss 0.842  box AP 0.312  21.5 img/s  1:12:03 left'
    for width in (40, 80, 200):
        monkeypatch.setenv('COLUMNS', str(width))
        line = StatusLine('epoch 100/300')
        line.show('epoch 100/300', tail, 0.9)
        shown = Console(file=io.StringIO(), width=width)
        shown.print(line)
        (text,) = shown.file.getvalue().splitlines()
        assert len(text) <= width
        assert ('━' in text) == (width > 80)


def test_a_process_forked_under_a_live_line_prints_past_it(terminal, monkeypatch):
    monkeypatch.setattr(sys, 'stdout', terminal)
    with StatusLine('epoch 1/2') as line:
        line.live.refresh()
        assert hasattr(sys.stdout, 'rich_proxied_file')
        child = os.fork()
        if not child:
            free = sys.stdout is terminal and console._shown is None
            os._exit(0 if free else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_other_ranks_are_silent(capsys, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    with step('reading'), StatusLine('epoch'):
        say('a line')
    assert capsys.readouterr().out == ''


def test_long_lines_are_wrapped_between_words_and_commands_are_not(capsys):
    say('word ' * 40 + '\n  python ' + 'argument ' * 20)
    *prose, command = capsys.readouterr().out.splitlines()
    assert max(map(len, prose)) <= 100
    assert len(prose) == 3
    assert command.startswith('  python argument')
    assert len(command) > 180


def test_names_in_what_is_said_give_no_orders(capsys):
    say('class \x1b[31mX')
    assert capsys.readouterr().out == 'class \\x1b[31mX\n'


def test_warnings_of_packages_are_kept_and_ours_are_said(capsys, kept):
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        quiet_warnings()
        warnings.warn('lr_scheduler before optimizer', UserWarning, stacklevel=1)
        warnings.warn('casvit_mm.seeing is now ...', MovedWarning, stacklevel=1)
    printed = capsys.readouterr()
    assert printed.out == 'warning: casvit_mm.seeing is now ...\n'
    assert printed.err == ''
    assert 'UserWarning: lr_scheduler before optimizer' in ''.join(kept)


@pytest.mark.parametrize(
    ('seconds', 'text'), [(0.4, '0 s'), (59.2, '59 s'), (61, '1:01'), (3723, '1:02:03')]
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ('images', 'seconds', 'text'),
    [(43, 2, '21.5 img/s'), (3, 3, '1.0 img/s'), (5, 16, '3.2 s/img'), (0, 2, '0.0 img/s')],
)
def test_a_slow_speed_is_seconds_per_image(images, seconds, text):
    assert speed(images, seconds) == text


def test_what_is_counted_alone_says_nothing_in_a_pipe_before_the_first_long_silence(
    capsys, monkeypatch
):
    assert list(counted(iter('abc'), 'reading', 3)) == ['a', 'b', 'c']
    assert capsys.readouterr().out == ''
    monkeypatch.setattr(console, '_SILENCE', 0.1)
    for _ in counted(iter('ab'), 'reading', 2):
        time.sleep(0.6)
    assert capsys.readouterr().out.startswith('reading  1/2  ')


def test_what_is_counted_in_a_step_changes_its_line(capsys):
    with StatusLine('checking') as line:
        seen = [line.now[:1] for _ in counted(range(3), 'reading', 3)]
        assert seen == [('checking',), ('reading',), ('reading',)]
        assert line.now[0] == 'checking'
