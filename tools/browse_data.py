#!/usr/bin/env python
"""Draw what a network sees: images after the whole pipeline, beside the originals.

The job of casvit_mm/commands/browse_data.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('browse_data')
