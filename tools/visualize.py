#!/usr/bin/env python
"""Show what a model looks at: class activation maps, gates, receptive fields, feature maps.

The job of casvit_mm/commands/visualize.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('visualize')
