#!/usr/bin/env python
"""Train a config of any task.

The job of casvit_mm/commands/train.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('train')
