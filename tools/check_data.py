#!/usr/bin/env python
"""Check a custom dataset before training: issues, statistics, pictures, advice.

The job of casvit_mm/commands/check_data.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('check_data')
