"""When which class is seen in a video: python examples/watch_video.py best.pth clip.mp4."""

import sys

import casvit_mm

model = casvit_mm.load(sys.argv[1])
for result in model.frames(sys.argv[2], every=5):
    seen = {row['class'] for row in result.rows()}
    print(f'{result.time:.1f} s', *sorted(seen))
