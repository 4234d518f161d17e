#!/usr/bin/env python
"""Fetch published weights into checkpoints/, where the configs expect them.

The job of casvit_mm/commands/download_weights.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('download_weights')
