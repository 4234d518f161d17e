#!/usr/bin/env python
"""Compare the token mixers: what they cost, or what CAS-ViT-XS reaches with each.

The job of casvit_mm/commands/study_mixers.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('study_mixers')
