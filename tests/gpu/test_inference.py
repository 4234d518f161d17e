"""The inference forms on a GPU give what the plain model gives on the CPU."""

import copy

import pytest
import torch
from helpers import TINY_ARCH, randomize_norms

from casvit_mm import CASViT, fuse
from casvit_mm.benchmark import engines
from casvit_mm.benchmark.inference import record_graph
from casvit_mm.engine.timing import Schedule, make_timer, time_calls
from casvit_mm.models.memory import peak_of_call

pytestmark = pytest.mark.gpu


@pytest.fixture
def model():
    torch.manual_seed(0)
    backbone = CASViT(TINY_ARCH).eval()
    randomize_norms(backbone)
    return backbone


@pytest.fixture
def x():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def expected(model, x):
    with torch.inference_mode():
        return [features.clone() for features in model(x)]


def assert_close(found, expected, tolerance=1e-3):
    for one, other in zip(found, expected):
        error = (one.cpu().float() - other).abs().max() / other.abs().max()
        assert error < tolerance


def fused(model, device):
    return fuse(copy.deepcopy(model).to(device)).to(memory_format=torch.channels_last)


@torch.inference_mode()
def test_the_plain_model_is_the_same(model, x, expected, gpu):
    assert_close(model.to(gpu)(x.to(gpu)), expected)


@torch.inference_mode()
def test_the_fused_model_in_channels_last_is_the_same(model, x, expected, gpu):
    run = fused(model, gpu)
    found = run(x.to(gpu, memory_format=torch.channels_last))
    assert_close(found, expected)
    assert found[0].is_contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def test_the_compiled_model_is_the_same(model, x, expected, gpu):
    # The C++ compiler of a CPU takes a minute, and tests/engine has it.
    backend = 'inductor' if gpu.startswith('cuda') else 'aot_eager'
    run = torch.compile(fused(model, gpu), backend=backend, dynamic=False)
    assert_close(run(x.to(gpu, memory_format=torch.channels_last)), expected)


@torch.inference_mode()
def test_mixed_precision_is_near(model, x, expected, gpu):
    with torch.autocast(torch.device(gpu).type, torch.bfloat16):
        assert_close(fused(model, gpu)(x.to(gpu)), expected, 0.1)


@torch.inference_mode()
def test_a_recorded_graph_computes_on_what_its_input_holds(model, x, expected, gpu):
    if not gpu.startswith('cuda'):
        pytest.skip('a CPU has no CUDA graphs')
    run, place = fused(model, gpu), torch.zeros_like(x, device=gpu)
    launch = record_graph(lambda: run(place))
    place.copy_(x)
    assert_close(launch(), expected)


@torch.inference_mode()
def test_an_engine_on_the_device_is_the_same(model, x, expected, gpu, monkeypatch):
    ort = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    kind = torch.device(gpu).type
    if kind == 'cuda' and 'CUDAExecutionProvider' not in ort.get_available_providers():
        pytest.skip('this onnxruntime has no GPU: pip install onnxruntime-gpu')
    bindings = []

    def bind(session, array, *place):
        call = bound(session, array, *place)
        bindings.append(call.args[0])
        return call

    bound = engines.bind_on_device
    monkeypatch.setattr(engines, 'bind_on_device', bind)
    call = engines.run_exported(copy.deepcopy(model), x, 'onnxruntime', 1, 'fp32', gpu)
    found = call()
    if bindings:  # what stays on the device
        found = bindings[0].copy_outputs_to_cpu()
    assert_close([torch.from_numpy(one) for one in found], expected)


@torch.inference_mode()
def test_time_and_memory_of_a_call_are_told(model, x, gpu):
    run, x = model.to(gpu), x.to(gpu)
    seconds = time_calls([lambda: run(x)], make_timer(gpu), Schedule(2, 3, 0.0, 0))
    assert seconds.shape == (1, 2, 3)
    assert (seconds > 0).all()
    # The largest map is in float32, and there are two at a time at least.
    assert peak_of_call(lambda: run(x), gpu) >= 2 * 4 * 2 * 8 * 16 * 24
