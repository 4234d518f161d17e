"""How many different objects a video shows: python examples/count_tracks.py best.pth clip.mp4."""

import sys
from collections import Counter

import casvit_mm

model = casvit_mm.load(sys.argv[1], score_thr=0.5)
classes = {}
for result in model.frames(sys.argv[2], track='bytetrack'):
    classes |= {row['track']: row['class'] for row in result.rows() if row['track']}
print(dict(Counter(classes.values())))
