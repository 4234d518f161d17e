#!/usr/bin/env python
"""Write the images that a config trains on into one file, for storage that is slow per file.

The job of casvit_mm/commands/pack_data.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('pack_data')
