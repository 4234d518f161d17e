"""What a model looks at: the library behind ``tools/visualize.py``.

``models`` loads what is to be seen, ``stages`` finds the feature maps in it; ``cams``, ``gates``,
``receptive_fields`` and ``features`` each make one kind of picture, and ``sheets`` lays them out.
"""
