"""--from and --freeze-d: weights are taken over where shapes agree, and frozen layers of D stay as they are."""

import dataclasses
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support import BATCH_NORM_IN_D, FAMILY_CASES, NARROW, call_cli, tiny

import ganvas
from ganvas.config import Network, TrainConfig, leaves, replace
from ganvas.config.families import DCGAN, Projected, ResNet
from ganvas.errors import GanvasError
from ganvas.networks import Shape, apply_spectral_norm, build
from ganvas.networks.layers import ClassBatchNorm2d
from ganvas.runs import checkpoint, folder, lookup, overview, snapshot
from ganvas.runs.base import find_base
from ganvas.runs.folder import Run
from ganvas.runs.origin import Origin
from ganvas.training import distributed, freezing, transfer
from ganvas.training.start import plan, train
from ganvas.training.state import TrainState

FIRST_LAYER = {
    "mlp": "hidden.0", "cnn": "layers.0", "dcgan": "layers.0", "transformer": "token_layers.0.dense.0",
    "vit": "from_image", "resnet": "layers.0", "stylegan": "from_rgb.1.0", "msg": "from_rgb.0", "r3gan": "from_image",
}  # fmt: skip
"""The first layer of D that an image of 8×8 passes, by family."""

FIRST_OF_HEADS = [f"heads.{i}.layers.0" for i in range(4)]
"""Those of the heads of the family projected."""

NEW = {
    "cnn": ({"dense.0", "layers.0"}, {"layers.2", "head.linear"}),
    "dcgan": ({"dense", "layers.0", "layers.2"}, {"layers.5", "layers.6", "head.linear"}),
    "vit": ({"layers.4"}, {"blocks.2.branch.1", "blocks.2.branch.3", "blocks.2.conv1x1"}),
    "resnet": ({"blocks.0.norm1.norm", "blocks.0.conv1"}, {"layers.4", "head.linear"}),
    "stylegan": (
        {"layers.6", "layers.6.conv", "layers.6.affine", "layers.7", "layers.7.conv", "layers.7.affine", "to_rgb.3"},
        {"from_rgb.3.0", "blocks.3.0", "blocks.3.2"},
    ),
    "msg": ({"blocks.3.0.0", "blocks.3.1.0", "to_rgb.3"}, {"blocks.0.0", "blocks.0.2", "blocks.1.0"}),
    "r3gan": ({"layers.6.0", "layers.6.2", "layers.6.4"}, {"layers.0.0", "layers.0.2", "layers.0.4"}),
    "projected": ({"dense", "convolutions.0", "norms.0.norm"}, {"heads.3.layers.6", "heads.3.layers.7"}),
}
"""The layers that are new in G and D for 32×32 after 16×16, by family."""


def fit(network: Network, before: Shape, after: Shape) -> list[transfer.Fit]:
    """What G and D for images of one shape take over from those for another."""
    pairs = zip(build(network, after), build(network, before), strict=True)
    return [transfer.Fit.of(new, {name: t.shape for name, t in old.state_dict().items()}) for new, old in pairs]


def first_state(config: TrainConfig) -> TrainState:
    """The state at the beginning, after weights are taken over."""
    shape = Shape(1, 8, 8, 10 if config.dataset.conditional else 0)
    state = TrainState.build(config, shape, torch.device("cpu"))
    weights = transfer.read_weights(config)
    assert weights is not None
    transfer.take_over(state, weights)
    return state


def untrained(network: Network, shape: Shape, *, normed: bool = False) -> transfer.Weights:
    """Weights as those of a run would be read, drawn at random; the average has those of G."""
    G, D = build(network, shape)
    if normed:
        apply_spectral_norm(D)
    parts = {"G": G.state_dict(), "D": D.state_dict(), "ema": G.state_dict()}
    for value in parts["G"].values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    shapes = {part: {name: tuple(t.shape) for name, t in parts[part].items()} for part in ("G", "D")}
    origin = Origin(Path("runs/x"), Path("x"), "cnn", "digits", network, shape._asdict(), 0, 1.0, shapes, normed)
    return transfer.Weights(origin, {f"{p}/{name}": t for p, named in parts.items() for name, t in named.items()}, "")


@pytest.fixture(scope="module", params=FAMILY_CASES)
def origin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    penalty = 0.0 if request.param in BATCH_NORM_IN_D else 0.1
    config = replace(tiny(family=request.param, kimg=0.04, r1=penalty, r2=penalty), watch=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganvas.training.start.measure_speed", lambda *_: 1000.0)
        return train(config, out=tmp_path_factory.mktemp(request.param), quiet=True)


def test_all_weights_are_those_of_the_run_or_snapshot(origin: Run) -> None:
    saved = checkpoint.load(origin.state_file)[0]
    state = first_state(replace(origin.config, seed=5, init_from=str(origin.path)))
    assert all(torch.equal(value, saved[f"G/{name}"]) for name, value in state.game.G.state_dict().items())
    assert all(torch.equal(value, saved[f"D/{name}"]) for name, value in state.game.D.state_dict().items())
    assert all(torch.equal(value, saved[f"ema/{name}"]) for name, value in state.g_ema.state_dict().items())
    assert not state.g_optimiser.state

    average = load_file(origin.latest_snapshot / "G.safetensors")
    state = first_state(replace(origin.config, seed=5, init_from=str(origin.latest_snapshot)))
    assert all(torch.equal(value, average[name]) for name, value in state.game.G.state_dict().items())
    weights = [name for name, value in state.game.D.named_parameters() if value.dim() > 1]
    assert not all(torch.equal(state.game.D.state_dict()[name], saved[f"D/{name}"]) for name in weights)


def test_classes_build_their_layers_anew_and_keep_the_others(origin: Run) -> None:
    config = replace(origin.config, init_from=str(origin.path), conditional=True)
    state, saved = first_state(config), checkpoint.load(origin.state_file)[0]
    fresh = TrainState.build(config, Shape(1, 8, 8, 10), torch.device("cpu")).game.D.state_dict()
    for name, value in state.game.D.state_dict().items():
        before = saved.get(f"D/{name}")
        taken = before is not None and before.shape == value.shape
        assert torch.equal(value, before if taken else fresh[name])  # type: ignore[arg-type]


def test_the_first_layers_of_d_stay_frozen_also_after_a_resume(origin: Run, tmp_path: Path) -> None:
    config = replace(origin.config, init_from=str(origin.path), freeze_d=1, kimg=0.06)
    D = TrainState.build(config, Shape(1, 8, 8), torch.device("cpu")).game.D
    layers = freezing.freeze_first_layers(D, 1, Shape(1, 8, 8), torch.device("cpu"))
    family = origin.config.network.family
    assert layers == (FIRST_OF_HEADS if family == "projected" else [FIRST_LAYER[family]])
    frozen = [name for name, weight in D.named_parameters() if not weight.requires_grad]
    assert {name.partition(".parametrizations")[0].rpartition(".")[0] for name in frozen} >= set(layers)

    run = train(config, out=tmp_path, name="whole", quiet=True)
    before, after = (checkpoint.load(one.state_file)[0] for one in (origin, run))
    equal = {name for name, _ in D.named_parameters() if torch.equal(before[f"D/{name}"], after[f"D/{name}"])}
    assert equal >= set(frozen)
    assert any(name not in equal for name, weight in D.named_parameters() if weight.dim() > 1)


@pytest.mark.parametrize("family", NEW)
def test_images_of_another_size_keep_all_but_the_first_and_last_layers(family: str) -> None:
    g, d = fit(NARROW[family], Shape(3, 16, 16), Shape(3, 32, 32))
    assert (set(g.new), set(d.new)) == NEW[family]
    for one in (g, d):
        assert len(one.layers.difference(one.new)) > transfer.MIN_SHARE * len(one.layers)


@pytest.mark.parametrize(("before", "after"), [(32, 64), (64, 32)])
def test_residual_blocks_keep_their_role_at_another_size(before: int, after: int) -> None:
    network = ResNet(latent=6, g_width=4, d_width=4, blocks="residual")
    _, d = fit(network, Shape(3, before, before), Shape(3, after, after))
    assert d.new == (("layers.1.conv1", "layers.1.conv2", "layers.1.shortcut") if after > before else ())
    old = build(network, Shape(3, before, before))[1].state_dict()
    new = build(network, Shape(3, after, after))[1].state_dict()
    halving = [{name[:8] for name in weights if ".shortcut." in name} for weights in (new, old)]
    blocks = {name[:8]: other[:8] for name, other in d.names.items() if name.startswith("layers.")}
    assert len(blocks) > len(halving[0])
    assert all((name in halving[0]) == (other in halving[1]) for name, other in blocks.items())
    assert blocks["layers.0"] == "layers.0"


def test_layers_are_matched_by_their_distance_from_the_end_that_networks_share() -> None:
    for family, of_g, of_d in (
        ("cnn", {"layers.2.weight": "layers.0.weight"}, {"layers.0.weight": "layers.0.weight"}),
        ("stylegan", {"layers.0.conv.weight": "layers.0.conv.weight"}, {"blocks.1.0.weight": "blocks.1.0.weight"}),
        ("r3gan", {"layers.0.0.weight": "layers.0.0.weight"}, {"layers.2.0.weight": "layers.0.0.weight"}),
    ):
        g, d = fit(NARROW[family], Shape(3, 16, 16), Shape(3, 32, 32))
        assert of_g.items() <= g.names.items()
        assert of_d.items() <= d.names.items()


@pytest.mark.parametrize("family", [name for name in NARROW if name not in ("mlp", "transformer")])
def test_colour_after_grey_builds_what_touches_the_image(family: str) -> None:
    g, d = fit(NARROW[family], Shape(1, 16, 16), Shape(3, 16, 16))
    assert g.new
    assert all(name.startswith(("to_image", "to_rgb")) for name in g.new)
    touching = {
        "msg": {"from_rgb.0", "blocks.1.0", "final.0"},
        "projected": {"heads.3.layers.0"},
        "stylegan": {"from_rgb.0.0", "from_rgb.1.0", "from_rgb.2.0"},
    }
    assert set(d.new) == (touching[family] if family in touching else {FIRST_LAYER[family]})


def test_a_training_at_another_size_starts_with_what_fits(tmp_path: Path) -> None:
    config = replace(tiny(family="cnn", kimg=0.04), resolution="16x16")
    origin = train(config, out=tmp_path, name="small", quiet=True)
    large = replace(config, resolution="32x32", init_from=str(origin.path))
    saved = checkpoint.load(origin.state_file)[0]
    state = TrainState.build(large, Shape(1, 32, 32), torch.device("cpu"))
    notes = transfer.take_over(state, transfer.read_weights(large))  # type: ignore[arg-type]
    assert torch.equal(state.game.G.state_dict()["layers.2.weight"], saved["G/layers.0.weight"])
    assert torch.equal(state.g_ema.state_dict()["layers.2.weight"], saved["ema/layers.0.weight"])
    assert torch.equal(state.game.D.state_dict()["layers.0.weight"], saved["D/layers.0.weight"])
    assert notes[0] == "It was made with --resolution 16x16: with these more layers would fit."
    assert notes[1].endswith("new: dense.0, layers.0.")
    assert train(large, out=tmp_path, name="large", quiet=True).latest_snapshot


def test_new_layers_are_not_frozen_and_leave_no_run(tmp_path: Path) -> None:
    origin = train(replace(tiny(family="cnn", kimg=0.04), resolution="16x16"), out=tmp_path, name="grey", quiet=True)
    colour = replace(origin.config, init_from=str(origin.path), channels=3)
    with pytest.raises(GanvasError, match=r"--freeze-d 1 would freeze layers\.0 of D"):
        train(replace(colour, freeze_d=1), out=tmp_path, name="colour", quiet=True)
    assert not (tmp_path / "colour").exists()
    assert train(colour, out=tmp_path, name="colour", quiet=True).latest_snapshot


def test_growth_does_not_change_which_layers_are_frozen() -> None:
    D = build(NARROW["stylegan"], Shape(1, 16, 16))[1]
    D.grow(0.0)
    assert freezing.freeze_first_layers(D, 2, Shape(1, 16, 16), torch.device("cpu")) == ["from_rgb.2.0", "blocks.2.0"]
    assert D.stage == 0


@pytest.fixture(scope="module")
def half_grown(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = replace(tiny(family="stylegan", kimg=0.1), resolution="16x16", growth="0..1@0-200k")
    return train(config, out=tmp_path_factory.mktemp("stylegan"), recipe="stylegan", name="small", quiet=True)


def test_a_stylegan_grows_on_from_where_the_other_one_is(half_grown: Run, tmp_path: Path) -> None:
    origin, config = half_grown, half_grown.config
    grown = float(checkpoint.load(origin.state_file)[0]["ema/growth"])
    assert 0 < grown < 1
    for path in (origin.path, origin.latest_snapshot):
        _, base, _ = find_base("stylegan", init_from=path)
        assert dict(leaves(base))["growth"] == f"{grown:.4g}..1@0-0.5"
    further = replace(config, init_from=str(origin.path), growth=0.5)
    state = TrainState.build(further, Shape(1, 16, 16), torch.device("cpu"))
    transfer.take_over(state, transfer.read_weights(further))  # type: ignore[arg-type]
    assert state.game.G.state_dict()["growth"] == 1
    with pytest.raises(GanvasError, match="not grown to their full size"):
        train(replace(further, freeze_d=1), out=tmp_path, name="frozen", quiet=True)
    assert not (tmp_path / "frozen").exists()


def test_a_run_without_its_saved_state_has_grown_as_far_as_its_snapshot(half_grown: Run, tmp_path: Path) -> None:
    origin = Run(Path(shutil.copytree(half_grown.path, tmp_path / "origin")))
    _, before, _ = find_base(init_from=origin.path)
    origin.state_file.unlink()
    _, base, _ = find_base(init_from=origin.path)
    assert dict(leaves(base))["growth"] == dict(leaves(before))["growth"] != 1
    found = transfer.find_origin(replace(base, init_from=str(origin.path)))
    assert found is not None
    notes = transfer.check_fit(base, Shape(1, 16, 16), found)
    assert f"{origin.path} has no saved state, and a snapshot is without D: D is untrained." in notes[-1]


def test_the_same_command_resumes_after_its_origin_has_trained_on_or_is_gone(half_grown: Run, tmp_path: Path) -> None:
    origin = Run(Path(shutil.copytree(half_grown.path, tmp_path / "origin")))

    def base(what: str | None, beside: Path | None) -> TrainConfig:
        title, config, run = find_base(what, init_from=origin.path, data="digits", beside=beside)
        assert (title, run) == ("stylegan", None)
        return replace(config, init_from=str(origin.path), data="digits")

    began: dict[str | None, tuple[Run, TrainConfig]] = {}
    for what in (None, "stylegan"):
        config = base(what, tmp_path / str(what))
        run = folder.create_run(tmp_path / str(what), None, "stylegan", config, origin.metadata["data"], {})
        began[what] = run, config
    with safe_open(origin.state_file, "pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    tensors["ema/growth"].fill_(1.0)
    save_file(tensors, origin.state_file, metadata)
    reached = transfer.find_origin(began["stylegan"][1])
    assert reached is not None
    assert "have grown to 1 by now: --new starts from there" in transfer.note_growth(began["stylegan"][1], reached)
    for what, (run, config) in began.items():
        assert base(what, run.path) == base(what, run.path.parent) == config
        for beside in (None, tmp_path / "others"):
            assert dict(leaves(base(what, beside)))["growth"] == 1
    origin.state_file.unlink()
    shutil.rmtree(origin.path / "snapshots")
    for what, (run, config) in began.items():
        assert base(what, run.path.parent) == config, "nothing of it can be used"
    with pytest.raises(GanvasError, match="has no snapshot yet"):
        base("stylegan", None)
    shutil.rmtree(origin.path)
    for what, (run, config) in began.items():
        assert base(what, run.path.parent) == config
        with pytest.raises(GanvasError, match="does not exist") as caught:
            transfer.find_origin(config, run.path.parent)
        assert caught.value.fix == f"ganvas train {run.path} resumes the run that started from it."


def test_a_dry_run_of_a_run_that_resumes_needs_no_origin(digits: Run, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    shutil.copytree(digits.path, origin)
    config = replace(tiny(), init_from=str(origin))
    run = train(replace(config, kimg=0.1), out=tmp_path, name="parts", quiet=True)
    lines: list[str] = []
    told = plan(config, lines.append)["origin"]
    assert any("weights from" in line for line in lines)
    assert told["notes"] == [line.strip() for line in lines if "weights from" in line]
    assert told["sha256"] == hashlib.sha256((origin / "state" / "latest.safetensors").read_bytes()).hexdigest()
    shutil.rmtree(origin)
    assert plan(run.config, run=run)["origin"] is None
    with pytest.raises(GanvasError, match="does not exist"):
        plan(config)


@pytest.mark.parametrize("family", NARROW)
@pytest.mark.parametrize("n", [2, 99])
def test_outputs_and_embeddings_of_every_family_learn(family: str, n: int) -> None:
    """Most that can be frozen is all before the output, of each head."""
    shape, device = Shape(1, 16, 16, 3), torch.device("cpu")
    D = build(NARROW[family], shape)[1]
    most = freezing.count_layers(D, shape, device) - 1
    layers = freezing.freeze_first_layers(D, min(n, most), shape, device)
    heads = {name.rpartition(".layers.")[0] for name in layers} if family == "projected" else {""}
    for head in heads:
        assert 1 <= sum(name.startswith(head) for name in layers) <= min(n, most)
    learning = {freezing.layer_of(name) for name, weight in D.named_parameters() if weight.requires_grad}
    ends = [name for name, _ in D.named_modules() if name.endswith((".linear", ".to_logits", ".embedding"))]
    assert len(heads) == (4 if family == "projected" else 1)
    assert learning >= set(ends)
    if n > most:
        unused = {"from_rgb.0.0", "from_rgb.1.0"} if family == "stylegan" else {""}
        assert learning - set(ends) <= unused


def test_more_layers_than_a_head_has_are_not_frozen() -> None:
    network, shape = NARROW["projected"], Shape(1, 16, 16)
    config = replace(tiny(family="projected", r1=0.0, r2=0.0), init_from="runs/x", freeze_d=1)
    origin = untrained(network, shape).origin
    most = max(len(head.layers) // 3 for head in build(network, shape)[1].heads)  # type: ignore[union-attr, arg-type]
    transfer.check_fit(replace(config, freeze_d=most), shape, origin)
    with pytest.raises(GanvasError, match=f"the longest head of D has {most + 1} layers with weights") as caught:
        transfer.check_fit(replace(config, freeze_d=most + 1), shape, origin)
    assert caught.value.expected == f"at most {most}: the last one must learn"


def test_embeddings_of_positions_are_frozen_with_what_they_are_added_to() -> None:
    D = build(NARROW["transformer"], Shape(1, 8, 8))[1]
    assert freezing.freeze_first_layers(D, 1, Shape(1, 8, 8), torch.device("cpu")) == ["token_layers.0.dense.0"]
    frozen = {name for name, weight in D.named_parameters() if not weight.requires_grad}
    assert frozen == {f"token_layers.0.{name}" for name in ("pos_embed", "dense.0.weight", "dense.0.bias")}


@pytest.mark.parametrize("family", ["mlp", "cnn", "dcgan", "transformer", "resnet", "projected"])
@pytest.mark.parametrize(("before", "after"), [(10, 3), (10, 0), (0, 3)])
def test_another_number_of_classes_keeps_what_is_of_z_and_the_mean_of_the_norms(
    family: str, before: int, after: int
) -> None:
    dense = {"mlp": "hidden.0", "cnn": "dense.0", "transformer": "token_layers.0.dense.0"}.get(family, "dense")
    config = replace(tiny(family=family, r1=0.0, r2=0.0), conditional=after > 0)
    weights = untrained(NARROW[family], Shape(1, 8, 8, before))
    state = TrainState.build(config, Shape(1, 8, 8, after), torch.device("cpu"))
    fresh = {name: value.clone() for name, value in state.game.G.state_dict().items()}
    notes = transfer.take_over(state, weights)
    own, saved = state.game.G.state_dict(), {n[2:]: t for n, t in weights.tensors.items() if n.startswith("G/")}
    assert all(torch.equal(value, own[name]) for name, value in state.g_ema.state_dict().items())
    z, weight = state.game.G.latent, saved[f"{dense}.weight"]
    assert torch.equal(own[f"{dense}.weight"][:, :z], weight[:, :z])
    mean = weight[:, z:].mean(1) if before else torch.zeros(len(weight))
    if after:
        expected = fresh[f"{dense}.weight"][:, z:] + mean[:, None]
        assert torch.allclose(own[f"{dense}.weight"][:, z:], expected)
    elif f"{dense}.bias" in own:
        assert torch.allclose(own[f"{dense}.bias"], saved[f"{dense}.bias"] + mean)
    norms = [name for name, module in state.game.G.named_modules() if isinstance(module, ClassBatchNorm2d)]
    for name, pair in itertools.product(norms, (("scale.weight", "norm.weight"), ("shift.weight", "norm.bias"))):
        to, of = (values[f"{name}.{pair[0 if classes else 1]}"] for values, classes in ((own, after), (saved, before)))
        assert torch.allclose(to, (of.mean(0) if before else of).expand_as(to))
    assert bool(norms) == (family in ("resnet", "projected"))
    told = next(note for note in notes if note.startswith("G: "))
    assert f"of {dense} those of z" in told
    assert ("scales and shifts of norms" in told) == bool(norms)
    assert "new: " not in told
    assert state.ema_warmup > 0, "it would keep new classes as they begin for too long"


def test_classes_and_channels_that_differ_are_said_and_do_not_count_as_layers() -> None:
    config = tiny(family="projected", r1=0.0, r2=0.0)
    origin = untrained(NARROW["projected"], Shape(1, 8, 8, 10)).origin
    said = transfer.check_fit(config, Shape(3, 8, 8, 26), origin)[0]
    assert said == (
        "It was made with --channels 1: with these more layers would fit. "
        "It has 10 classes and this training 26: what is of one is not taken."
    )
    assert "--conditional" in transfer.check_fit(config, Shape(1, 8, 8), origin)[0]


def test_spectral_norm_of_the_origin_is_said() -> None:
    config, shape = tiny(family="cnn"), Shape(1, 8, 8)
    with pytest.raises(GanvasError, match="layers of D fit") as caught:
        transfer.check_fit(config, shape, untrained(NARROW["cnn"], shape, normed=True).origin)
    assert "It was made with --spectral-norm: " in caught.value.fix


def test_norms_between_frozen_layers_are_frozen_and_not_counted() -> None:
    D = build(DCGAN(latent=6, g_width=4, d_width=4), Shape(1, 16, 16))[1]
    assert freezing.freeze_first_layers(D, 2, Shape(1, 16, 16), torch.device("cpu")) == ["layers.0", "layers.2"]
    frozen = {name for name, weight in D.named_parameters() if not weight.requires_grad}
    assert frozen == {"layers.0.weight", "layers.2.weight", "layers.3.weight", "layers.3.bias"}


def test_a_run_is_resumed_without_its_origin(digits: Run, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    shutil.copytree(digits.path, origin)
    config = replace(tiny(), init_from=str(origin), freeze_d=1, g_lr=1e-3)
    train(replace(config, kimg=0.1), out=tmp_path, name="parts", quiet=True)
    shutil.rmtree(origin)
    assert train(config, out=tmp_path, name="parts", quiet=True).progress()["state"] == "complete"


def test_a_recipe_beside_a_run_starts_at_its_size_and_fully_grown(tmp_path: Path) -> None:
    config = replace(tiny(family="stylegan", kimg=0.04), resolution="16x16", growth="0..1@0-0.5")
    origin = train(config, out=tmp_path, recipe="stylegan", quiet=True)
    for what in (None, "stylegan"):
        _, base, run = find_base(what, init_from=origin.path)
        assert run is None
        assert (base.dataset.resolution, dict(leaves(base))["growth"]) == ("16x16", 1.0)
    _, base, _ = find_base("cnn", init_from=origin.path)
    assert base.dataset.resolution == "16x16"


@pytest.mark.parametrize(("recipe", "normed"), [("wgan", True), ("sngan", False)])
def test_without_a_recipe_spectral_norm_is_that_of_the_run(
    recipe: str, normed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.training.start.measure_speed", lambda *_: 1000.0)
    config = replace(tiny(family="cnn", kimg=0.04), spectral_norm=normed)
    origin = train(config, out=tmp_path, recipe=recipe, quiet=True)
    _, base, _ = find_base(init_from=origin.path)
    assert base.loss.spectral_norm == normed
    found = transfer.find_origin(replace(base, init_from=str(origin.path)))
    assert found is not None
    transfer.check_fit(base, Shape(1, 8, 8), found)
    _, base, _ = find_base(init_from=origin.latest_snapshot)
    assert base.loss.spectral_norm == (not normed), "without a D it is the recipe's"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(), out=tmp_path_factory.mktemp("digits"), quiet=True)


@pytest.mark.slow
def test_an_interrupted_transfer_ends_as_an_uninterrupted_one(digits: Run, tmp_path: Path) -> None:
    config = replace(tiny(), init_from=str(digits.path), freeze_d=1, g_lr=1e-3, d_lr=1e-3)
    whole = train(config, out=tmp_path, name="whole", quiet=True)
    train(replace(config, kimg=0.1), out=tmp_path, name="parts", quiet=True)
    parts = train(config, out=tmp_path, name="parts", quiet=True)
    one, other = (checkpoint.load(run.state_file)[0] for run in (whole, parts))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_lineage_is_in_configuration_and_card_and_is_shown(digits: Run, tmp_path: Path) -> None:
    run = train(replace(tiny(), init_from=str(digits.path)), out=tmp_path, name="next", quiet=True)
    lineage = json.loads((run.path / "config.json").read_text())["lineage"]
    assert lineage["from"] == str(digits.path)
    assert lineage["kimg"] == 0.2
    assert snapshot.load(run.latest_snapshot)[1].lineage == lineage
    shown = f"{digits.path.name} at 0.2 kimg"
    part = train(replace(tiny(), init_from=str(digits.latest_snapshot)), out=tmp_path, name="part", quiet=True)
    assert part.origin == shown
    assert shown in repr(run)
    assert overview.summarise(run.path).origin == shown
    assert train(replace(tiny(), init_from=str(digits.path)), out=tmp_path, name="next", quiet=True) == run


def test_the_lineage_names_the_weights_that_are_taken(
    digits: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The origin saves once more while the other training begins."""
    origin = Run(shutil.copytree(digits.path, tmp_path / "origin"))
    other = train(replace(tiny(), seed=5), out=tmp_path, name="other", quiet=True)

    def save_once_more(*_: object) -> float:
        shutil.copy(other.state_file, origin.state_file)
        return 1000.0

    monkeypatch.setattr("ganvas.training.start.measure_speed", save_once_more)
    run = train(replace(tiny(kimg=0.04), init_from=str(origin.path)), out=tmp_path, name="next", quiet=True)
    digest = hashlib.sha256(other.state_file.read_bytes()).hexdigest()
    assert run.metadata["lineage"]["sha256"] == digest
    assert snapshot.load(run.latest_snapshot)[1].lineage == run.metadata["lineage"]


def test_the_weights_are_read_once_by_the_main_process(
    digits: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The origin saves once more after they are read: what is taken and its lineage are of the same bytes."""
    origin = Run(shutil.copytree(digits.path, tmp_path / "origin"))
    other = train(replace(tiny(kimg=0.02), seed=5), out=tmp_path, name="other", quiet=True)
    main: list[None] = []
    read, take_over = transfer.read_weights, transfer.take_over

    def on_main(function: Callable[[], object]) -> object:
        main.append(None)
        result = function()
        main.pop()
        return result

    def read_on_main(*arguments: object) -> object:
        assert main, "other processes would read it for themselves"
        return read(*arguments)  # type: ignore[arg-type]

    def save_once_more(*arguments: object) -> list[str]:
        shutil.copy(other.state_file, origin.state_file)
        return take_over(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("ganvas.training.start.measure_speed", lambda *_: 1000.0)
    monkeypatch.setattr(distributed, "run_on_main", on_main)
    monkeypatch.setattr(transfer, "read_weights", read_on_main)
    monkeypatch.setattr(transfer, "take_over", save_once_more)
    config = replace(tiny(kimg=0.02), init_from=str(origin.path), g_lr=0.0, d_lr=0.0)
    run = train(config, out=tmp_path, name="next", quiet=True)
    assert run.metadata["lineage"]["sha256"] == hashlib.sha256(digits.state_file.read_bytes()).hexdigest()
    taken, saved = (checkpoint.load(one.state_file)[0] for one in (run, digits))
    assert torch.equal(taken["G/to_image.weight"], saved["G/to_image.weight"])


def test_an_origin_that_saves_while_it_is_read_is_read_again(
    digits: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = transfer.find_origin(replace(tiny(), init_from=str(digits.path)))
    assert found is not None
    before = dataclasses.replace(found, nimg=100)
    answers = iter([before, found, found])
    monkeypatch.setattr(transfer, "find_origin", lambda *_: next(answers))
    weights = transfer.read_weights(replace(tiny(), init_from=str(digits.path)))
    assert weights is not None
    assert weights.lineage["kimg"] == digits.progress()["nimg"] / 1000


def test_freezing_on_a_machine_with_several_gpus_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch warns where all of them are prepared for one."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.random, "_fork_rng_warned_already", False)
    D = build(NARROW["cnn"], Shape(1, 8, 8))[1]
    assert freezing.freeze_first_layers(D, 1, Shape(1, 8, 8), torch.device("cpu")) == ["layers.0"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("runs/00000-cnn-photos", "00000-cnn-photos"),
        ("runs/a/snapshots/000100", "a"),
        ("/runs/a/snapshots/best", "a"),
        ("snapshots/000100", "000100"),
        ("a#b", "a#b"),
        (".", "."),
        ("pretrained:digits", "pretrained:digits"),
        ("hf:owner/name@main", "hf:owner/name@main"),
        (f"https:/host/x/faces.safetensors#sha256={'0' * 64}", "faces.safetensors"),
    ],
)
def test_an_origin_has_a_short_name(given: str, name: str) -> None:
    assert lookup.origin_name({"from": given}) == name


def test_an_origin_is_the_same_however_its_path_is_written(
    digits: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(digits.path)
    config, name = replace(tiny(kimg=0.02), init_from="."), digits.path.name
    run = train(config, out=tmp_path, name="next", quiet=True)
    assert run.config.transfer.init_from == "."
    assert run.origin == f"{name} at 0.2 kimg"
    for same in ("./", f"../{name}", f"../{name}/", str(digits.path), f"snapshots/../../{name}"):
        assert not folder.differing_knobs(run.config, replace(config, init_from=same))
        assert train(replace(config, init_from=same), out=tmp_path, name="next", quiet=True) == run
    snapshot = f"snapshots/{digits.latest_snapshot.name}"
    for other in (snapshot, "..", "pretrained:digits", None):
        (differing,) = folder.differing_knobs(run.config, replace(config, init_from=other))
        assert differing == ("init_from", ".", other)
    assert lookup.is_same_place(snapshot, f"{digits.path}/{snapshot}/G.safetensors")
    assert not lookup.is_same_place("pretrained:digits", "./pretrained:digits/x")
    (tmp_path / "link").symlink_to(digits.path)
    assert lookup.is_same_place(".", str(tmp_path / "link"))


def test_code_of_the_users_own_is_the_same_however_its_path_is_written() -> None:
    config = replace(TrainConfig(network=Projected()), features_net="nets.py:Frozen(layer=2)")
    for spec, same in (
        (f"{Path.cwd()}/nets.py:Frozen(layer=2)", True),
        ("./nets.py:Frozen(layer=2)", True),
        ("nets.py:Frozen(layer=3)", False),
        ("../nets.py:Frozen(layer=2)", False),
        ("eye", False),
    ):
        assert (not folder.differing_knobs(config, replace(config, features_net=spec))) is same, spec


def test_schedules_and_addresses_with_colons_are_no_code() -> None:
    config = TrainConfig()
    for knob, values in {
        "g_lr": ("1e-3..0:linear", "1e-3..0:cosine", 1e-3),
        "d_lr": ("2e-3..0:cosine@0.2-1", 2e-3),
        "data": ("cifar10", "hf:someone/set", "https://host/set.zip"),
        "log_to": ("jsonl:log", "tensorboard:log"),
    }.items():
        for old, new in itertools.permutations(values, 2):
            differing = folder.differing_knobs(replace(config, **{knob: old}), replace(config, **{knob: new}))
            assert [name for name, *_ in differing] == ([] if knob in ("data", "log_to") else [knob]), (old, new)


def test_the_average_goes_on_from_that_of_the_origin(digits: Run) -> None:
    for path in (digits.path, digits.latest_snapshot):
        state = first_state(replace(tiny(), init_from=str(path), ema=10.0))
        before = {name: weight.clone() for name, weight in state.g_ema.named_parameters()}
        state.train_round([(torch.full((20, 1, 8, 8), 255, dtype=torch.uint8), None)], 0)
        share = 1 - 0.5 ** (20 / 10_000)
        after, weights = dict(state.g_ema.named_parameters()), dict(state.game.G.named_parameters())
        assert any((weights[name] - before[name]).abs().max() > 1e-4 for name in before)
        for name, old in before.items():
            assert torch.allclose(after[name], old + share * (weights[name] - old), atol=1e-6)


def test_the_average_warms_up_where_layers_are_new(digits: Run) -> None:
    """They would stay in it as they begin for its whole half-life."""
    config = replace(tiny(), init_from=str(digits.path))
    assert first_state(config).ema_warmup == 0
    assert first_state(replace(config, conditional=True)).ema_warmup == config.optimisation.ema_warmup > 0


@pytest.mark.parametrize("part", ["run", "snapshot"])
def test_weights_that_are_not_finite_are_refused(digits: Run, tmp_path: Path, part: str) -> None:
    diverged = Run(Path(shutil.copytree(digits.path, tmp_path / "diverged")))
    path = diverged.path if part == "run" else diverged.latest_snapshot
    file = diverged.state_file if part == "run" else path / "G.safetensors"
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    name = next(name for name in tensors if name.endswith("weight") and name.startswith("D/") == (part == "run"))
    tensors[name].view(-1)[0] = torch.nan
    save_file(tensors, file, metadata)
    with pytest.raises(GanvasError, match=r"The weights of .+ are not finite"):
        train(replace(tiny(), init_from=str(path)), out=tmp_path, name="next", quiet=True)
    assert not (tmp_path / "next").exists()


def test_open_widths_are_those_of_the_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.training.start.measure_speed", lambda *_: 1000.0)
    config = replace(tiny(family="projected", kimg=0.02, r1=0.0, r2=0.0), watch=False)
    first = train(config, out=tmp_path, quiet=True)
    open_width = replace(config, g_width=None, init_from=str(first.path))
    assert dict(leaves(transfer.like_origin(open_width)))["g_width"] == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "nothing"], "nothing, which does not exist"),
        (["--from", "empty"], "is no run"),
        (["--freeze-d", "2"], "without --from"),
        (["--from", "RUN", "--freeze-d", "99"], "D has 2 layers"),
        (["--from", "RUN", "--freeze-d", "-1"], "a whole number from 0"),
        (["--from", "SNAPSHOT", "--freeze-d", "1"], "which has no D"),
        (["--from=RUN", "--g-widths", "900"], "Only 0 of 2 layers of G fit"),
        (["--from", "damaged"], "damaged"),
        (["--from", "foreign"], "card.json is damaged"),
        (["--from=RUN", "--out", "taken"], "could not be written"),
    ],
)
def test_what_cannot_be_a_beginning_is_said(
    digits: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("damaged").mkdir()
    Path("damaged/card.json").write_text("{}")
    Path("damaged/G.safetensors").write_text("x")
    shutil.copytree("damaged", "foreign")
    Path("foreign/card.json").write_text('{"model": "of another program"}')
    Path("taken").write_text("in the way")
    config = tmp_path / "tiny"
    train(tiny(kimg=0.02), out=tmp_path, name="tiny", quiet=True)
    paths = {"RUN": str(digits.path), "SNAPSHOT": str(digits.latest_snapshot), "--from=RUN": f"--from={digits.path}"}
    done = call_cli("train", config, "--name", "new", *[paths.get(a, a) for a in arguments], check=1)
    assert words in done.stderr


def test_another_family_is_refused(digits: Run) -> None:
    with pytest.raises(GanvasError, match="of the family mlp"):
        transfer.find_origin(replace(tiny(family="cnn"), init_from=str(digits.path)))


def test_another_generator_alone_says_nothing_about_data(write_images: Callable[..., Path]) -> None:
    """Neither its own pictures nor digits are taken without a word."""
    data = write_images(40, 8, 8)
    run = train(replace(tiny(data), kimg=0.04), recipe="mlp", quiet=True)
    with pytest.raises(GanvasError, match=r"(?s)without --data\..*trained on .*pictures-8x8x1"):
        ganvas.train(init_from=run.path, kimg=0.02)
