"""The gates of additive attention."""

import numpy as np
import torch

from casvit_mm.datasets.images import read_image
from casvit_mm.visualization.gates import read_gates
from casvit_mm.visualization.models import load_config_model


def test_the_gates_are_those_that_the_mixer_multiplies_by(written, photo):
    visualized = load_config_model(*written['classification'], 'cpu')
    image = visualized.prepare(read_image(photo))
    mixer = visualized.backbone.stages[1][-1].token_mixer
    inputs_of_mixer = []
    mixer.register_forward_pre_hook(lambda module, inputs: inputs_of_mixer.append(inputs[0]))
    gates = read_gates(visualized, image)[1]
    with torch.no_grad():
        query, key, _ = mixer.qkv(inputs_of_mixer[0]).chunk(3, dim=1)
        spatial, channel = mixer.gate_k
        after = spatial(key)
    assert gates.number == 2
    np.testing.assert_allclose(gates.spatial['key'], (after / key)[0, 0].detach(), rtol=1e-3)
    expected = (mixer.gate_q[0](query) / query)[0, 0].detach()
    np.testing.assert_allclose(gates.spatial['query'], expected, rtol=1e-3)
    expected = (channel(after) / after).mean((0, 2, 3)).detach()
    np.testing.assert_allclose(gates.channel['key'], expected, rtol=1e-3)


def test_gates_are_cut_to_the_image_where_the_input_is_padded(written, photo):
    visualized = load_config_model(*written['maskrcnn'], 'cpu')
    image = visualized.prepare(read_image(photo))
    height, width = image.pixels.shape[:2]
    assert image.x.shape[2] > height
    assert read_gates(visualized, image)[0].spatial['query'].shape == (
        -(-height // 4),
        -(-width // 4),
    )
