#!/usr/bin/env python
"""Evaluate a checkpoint, or an exported file, of any task.

The job of casvit_mm/commands/test.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('test')
