"""Feature maps as pictures."""

import numpy as np

from casvit_mm.visualization.features import principal_components


def test_places_of_alike_features_have_one_colour():
    features = np.zeros((5, 4, 6))
    features[:, :, :3] = np.arange(5)[:, None, None]
    picture = principal_components(features)
    assert np.ptp(picture[:, :3], axis=(0, 1)).max() < 1e-6
    assert abs(picture[0, 0, 0] - picture[0, 5, 0]) > 0.99
