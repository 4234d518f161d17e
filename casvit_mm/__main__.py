"""``python -m casvit_mm JOB``: as ``casvit-mm JOB``."""

from casvit_mm.commands import main

if __name__ == '__main__':
    main()
