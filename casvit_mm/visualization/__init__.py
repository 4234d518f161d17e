"""What a model looks at: the library behind ``casvit-mm visualize``.

- ``run``: one call, from the options to the files.
- ``models``: loads what is visualized, of a config or of timm; ``detectors`` gives a detector's
  scores a gradient.
- ``stages``: finds the feature maps in any backbone.
- ``cams``, ``gates``, ``receptive_fields``, ``features``: each computes what one kind of picture
  shows.
- ``pictures``: makes the pictures of each kind from that; ``sheets`` lays them out and draws them.
"""
