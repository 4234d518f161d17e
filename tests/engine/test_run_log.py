"""The log of a run."""

import logging

from casvit_mm.engine.run_log import _say_once_if_full


def test_a_log_file_on_a_full_disk_is_one_message_and_no_tracebacks(tmp_path, capsys):
    handler = logging.FileHandler('/dev/full')
    _say_once_if_full(handler)
    for number in range(3):
        handler.handle(logging.makeLogRecord(dict(msg=f'line {number}')))
    printed = capsys.readouterr().err
    assert printed == '/dev/full: No space left on device; it lacks what follows\n'
    handler.handle(logging.makeLogRecord(dict(msg='%d', args=('no number',))))
    assert 'Traceback' in capsys.readouterr().err  # errors of the program keep theirs
    handler.stream = None  # nothing to flush
