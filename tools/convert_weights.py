#!/usr/bin/env python
"""Bring weights of any origin under our names, into a file that no program can hide in.

The job of casvit_mm/commands/convert_weights.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('convert_weights')
