#!/usr/bin/env python
"""Train and evaluate a config once per fold, for sets too small to set images aside.

The job of casvit_mm/commands/cross_validate.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('cross_validate')
