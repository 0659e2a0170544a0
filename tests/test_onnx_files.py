"""Networks written as ONNX files give what they give in torch, at any size."""

import copy
import functools
import os

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from srlib.data import load_images, make_pairs
from srlib.evaluation import evaluate, upscale
from srlib.layers import BicubicUpsample
from srlib.measuring import measure, receptive_field
from srlib.models import FSRCNN, SrResNet, load_pretrained
from srlib.onnx_files import OnnxNetwork, export_onnx

SIZES = [(1, 12, 14), (2, 7, 33), (1, 1, 1), (3, 2, 5), (1, 65, 48), (1, 31, 17)]


class Bicubic(nn.Module):
    """The fixed layer alone, which has no parameters."""

    def __init__(self, scale):
        super().__init__()
        self.enlarge = BicubicUpsample(scale)

    def forward(self, lr):
        return self.enlarge(lr)


def random_network(make):
    """With random weights everywhere: the tail of a network with image skip starts as zero."""
    torch.manual_seed(0)
    model = make()
    for parameter in model.parameters():
        if not parameter.abs().sum():
            nn.init.normal_(parameter, std=0.1)
    return model.eval()


NETWORKS = {
    "shipped, x4": lambda: load_pretrained("srresnet_small_x4"),
    "FSRCNN, x2": lambda: random_network(lambda: FSRCNN(2)),
    "FSRCNN, x4": lambda: random_network(lambda: FSRCNN(4)),
    "SrResNet of pixel shuffle, x2": lambda: random_network(
        lambda: SrResNet(2, channels=6, num_blocks=1, upsampler="pixel_shuffle", output="linear")
    ),
    "SrResNet straight to RGB, x4": lambda: random_network(
        lambda: SrResNet(4, channels=6, num_blocks=2, hr_channels=0, activation="silu")
    ),
    "SrResNet with few between, x4": lambda: random_network(
        lambda: SrResNet(4, channels=6, num_blocks=2, hr_channels=0, mid_channels=5)
    ),
    "bicubic, x2": lambda: Bicubic(2),
    "bicubic, x4": lambda: Bicubic(4),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Name to (torch's network, path of its file); each is exported once, when asked for."""

    @functools.cache
    def get(name):
        model = NETWORKS[name]()
        return model, export_onnx(model, tmp_path_factory.mktemp("onnx") / "network.onnx")

    return get


@pytest.fixture
def shipped(exported):
    return exported("shipped, x4")


@pytest.mark.parametrize("name", NETWORKS)
def test_parity_with_torch_at_sizes_it_was_not_exported_with(exported, name):
    model, path = exported(name)
    network = OnnxNetwork(path, threads=1)
    generator = torch.Generator().manual_seed(1)
    for batch, height, width in SIZES:
        lr = torch.rand(batch, 3, height, width, generator=generator)
        with torch.inference_mode():
            wanted = model(lr)
        sr = network(lr)
        assert sr.shape == wanted.shape
        assert sr.dtype == torch.float32
        # A hundredth of a grey level is 4e-5. Sums in another order cost some 1e-6.
        difference = (sr - wanted).abs().max().item()
        print(f"{name}, {height} x {width}: {difference:.1e}")
        assert difference < 5e-6


@pytest.mark.parametrize("name", ["shipped, x4", "FSRCNN, x2"])
def test_black_and_white_come_through(exported, name):
    """Where the logit is infinite without its limit."""
    model, path = exported(name)
    lr = torch.zeros(1, 3, 9, 11)
    lr[..., 4:] = 1
    with torch.inference_mode():
        torch.testing.assert_close(OnnxNetwork(path)(lr), model(lr), atol=5e-6, rtol=0)


def test_one_file_of_a_stated_opset_without_data_beside_it(shipped):
    model, path = shipped
    assert [entry.name for entry in path.parent.iterdir()] == ["network.onnx"]
    file = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(file)
    assert [(entry.domain, entry.version) for entry in file.opset_import] == [("", 18)]
    assert not any(onnx.external_data_helper.uses_external_data(t) for t in file.graph.initializer)
    numbers = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert numbers < path.stat().st_size < 1.2 * numbers
    assert b".py" not in path.read_bytes()  # nor whose machine it was
    (lr,), (sr,) = file.graph.input, file.graph.output
    dims = [d.dim_param or d.dim_value for d in lr.type.tensor_type.shape.dim]
    assert (lr.name, sr.name) == ("lr", "sr")
    assert dims[1] == 3 and not any(isinstance(d, int) for d in (dims[0], *dims[2:]))


@pytest.mark.parametrize("name", NETWORKS)
def test_each_convolution_reads_the_weight_of_its_name(exported, name):
    """Notebook 13 spares layers by these names, the fixed one of the image skip too."""
    model, path = exported(name)
    expected = {
        f"{layer}.weight"
        for layer, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, BicubicUpsample))
    }
    convolutions = [n for n in onnx.load(path).graph.node if n.op_type.startswith("Conv")]
    assert expected and {node.input[1] for node in convolutions} == expected


def test_export_is_quiet_and_leaves_the_network_as_it_was(tmp_path, capfd):
    model = random_network(lambda: SrResNet(2, channels=4, num_blocks=1)).train().double()
    before = copy.deepcopy(model.state_dict())
    path = export_onnx(model, str(tmp_path / "double.onnx"))
    assert capfd.readouterr() == ("", "")
    assert model.training
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    lr = torch.rand(1, 3, 5, 6)
    with torch.inference_mode():
        torch.testing.assert_close(OnnxNetwork(path)(lr), model.float()(lr), atol=5e-6, rtol=0)


def test_a_failed_export_leaves_the_old_file(tmp_path):
    class Stubborn(nn.Module):
        def forward(self, lr):
            return F.relu(lr) if lr.mean().item() > 0.5 else lr

    path = tmp_path / "network.onnx"
    path.write_bytes(b"old")
    with pytest.raises(torch.onnx.OnnxExporterError):
        export_onnx(Stubborn(), path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.onnx"]


@pytest.mark.parametrize("opset", [0, 18.5, "18"])
def test_impossible_opset(tmp_path, opset):
    with pytest.raises(ValueError, match="opset must be"):
        export_onnx(FSRCNN(2), tmp_path / "network.onnx", opset=opset)


def test_it_stands_in_for_a_network(shipped):
    model, path = shipped
    network = OnnxNetwork(path, threads=1)
    images = {"chelsea": load_images("bundled/test")["chelsea"][100:180, 100:190]}
    pairs = make_pairs(images, 4)
    a, b = (evaluate(one, pairs, 4, progress=False).loc["mean"] for one in (network, model))
    np.testing.assert_allclose(a, b, atol=1e-4)
    ensemble = [upscale(one, pairs[0].lr, ensemble=True).astype(int) for one in (network, model)]
    assert np.abs(ensemble[0] - ensemble[1]).max() <= 1
    costs = measure(network, (20, 30), repeats=3, warmup=1)
    assert costs["latency_ms"] > 0
    assert costs["parameters"] == costs["multiply_adds"] == 0


def test_tiles(shipped):
    """They need the receptive field, and so a copy."""
    model, path = shipped
    network = OnnxNetwork(path, threads=1)
    assert copy.deepcopy(network).path == path
    assert receptive_field(network) == receptive_field(model)
    lr = load_images("bundled/test")["coffee"][:200:2, :400:2]
    tiled = upscale(network, lr, tile=64).astype(int)
    assert np.abs(tiled - upscale(model, lr)).max() <= 1


@pytest.mark.parametrize("spinning", [False, True])
def test_waiting_threads_sleep_unless_they_are_told_to_spin(shipped, spinning):
    _, path = shipped
    network = OnnxNetwork(path, threads=2, **({"spinning": True} if spinning else {}))
    options = network._session.get_session_options()
    entry = options.get_session_config_entry("session.intra_op.allow_spinning")
    assert entry == ("1" if spinning else "0")


def test_threads(shipped):
    _, path = shipped
    assert OnnxNetwork(path).threads == torch.get_num_threads()
    lr = torch.rand(1, 3, 20, 20)
    results = [OnnxNetwork(path, threads=threads)(lr) for threads in (1, 2)]
    torch.testing.assert_close(*results, atol=1e-6, rtol=0)
    for threads in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"threads .* got {threads}"):
            OnnxNetwork(path, threads=threads)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.onnx"):
        OnnxNetwork(tmp_path / "nowhere.onnx")
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        OnnxNetwork(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices are elsewhere")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ValueError, match="pipe.onnx: not an ordinary file but a pipe or a device"):
        OnnxNetwork(tmp_path / "pipe.onnx")


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "zeros"])
def test_broken_file_is_named(shipped, tmp_path, damage, capfd):
    whole = shipped[1].read_bytes()
    broken = tmp_path / "broken.onnx"
    content = {
        "empty": b"",
        "text": b"This is a text, and no network.",
        "cut": whole[: len(whole) // 2],
        "zeros": bytes(1000),
    }
    broken.write_bytes(content[damage])
    with pytest.raises(ValueError, match="broken.onnx"):
        OnnxNetwork(broken)
    assert capfd.readouterr().out == ""


def test_network_of_another_kind_is_named(tmp_path):
    lr = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 1, "H", "W"])
    sr = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 1, "H", "W"])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [lr], [sr])
    opset = [onnx.helper.make_opsetid("", 18)]
    path = tmp_path / "grey.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    with pytest.raises(ValueError, match=r"grey.onnx must have one input.*'H'"):
        OnnxNetwork(path)


def test_unsuitable_input(shipped):
    network = OnnxNetwork(shipped[1])
    for shape in ((3, 8, 8), (1, 1, 8, 8)):
        with pytest.raises(ValueError, match="must be RGB"):
            network(torch.rand(shape))
    with pytest.raises(ValueError, match="float32 on the CPU, got torch.float64"):
        network(torch.rand(1, 3, 8, 8).double())
    view = torch.rand(1, 9, 8, 3).permute(0, 3, 1, 2)  # not contiguous
    torch.testing.assert_close(network(view), network(view.contiguous()))
