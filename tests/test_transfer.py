"""--from and --freeze-d: weights are taken over where shapes agree, and frozen layers of D stay as they are."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import BATCH_NORM_IN_D, FAMILY_CASES, call_cli, tiny

from ganvas.config import TrainConfig, leaves, replace
from ganvas.errors import GanvasError
from ganvas.networks import Shape
from ganvas.runs import checkpoint, overview, snapshot
from ganvas.runs.folder import Run
from ganvas.training import transfer
from ganvas.training.start import train
from ganvas.training.state import TrainState


def first_state(config: TrainConfig) -> TrainState:
    """The state at the beginning, after weights are taken over."""
    shape = Shape(1, 8, 8, 10 if config.dataset.conditional else 0)
    state = TrainState.build(config, shape, torch.device("cpu"))
    origin = transfer.find_origin(config)
    assert origin is not None
    transfer.take_over(state, origin)
    return state


@pytest.fixture(scope="module", params=FAMILY_CASES)
def origin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    penalty = 0.0 if request.param in BATCH_NORM_IN_D else 0.1
    config = tiny(family=request.param, kimg=0.1, r1=penalty, r2=penalty)
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
    config = replace(origin.config, init_from=str(origin.path), freeze_d=1, kimg=0.2)
    shape = Shape(1, 8, 8)
    D = TrainState.build(config, shape, torch.device("cpu")).game.D
    layers = transfer._layers_in_order(D, shape, torch.device("cpu"))
    if len(layers) < 2:
        pytest.skip("this D has one layer")
    transfer.freeze_first_layers(D, 1, shape, torch.device("cpu"))
    frozen = [name for name, weight in D.named_parameters() if not weight.requires_grad]
    assert 0 < len(frozen) < len(list(D.parameters()))

    run = train(config, out=tmp_path, name="whole", quiet=True)
    before, after = (checkpoint.load(one.state_file)[0] for one in (origin, run))
    equal = {name for name, _ in D.named_parameters() if torch.equal(before[f"D/{name}"], after[f"D/{name}"])}
    assert equal >= set(frozen)
    assert any(name not in equal for name, weight in D.named_parameters() if weight.dim() > 1)


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
    assert shown in repr(run)
    assert overview.summarise(run.path).origin == shown
    assert train(replace(tiny(), init_from=str(digits.path)), out=tmp_path, name="next", quiet=True) == run


def test_open_widths_are_those_of_the_origin(tmp_path: Path) -> None:
    config = tiny(family="projected", r1=0.0, r2=0.0)
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
        (["--from=RUN", "--g-widths", "900"], "weights of G fit"),
        (["--from", "damaged"], "damaged"),
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
    config = tmp_path / "tiny"
    train(tiny(kimg=0.02), out=tmp_path, name="tiny", quiet=True)
    paths = {"RUN": str(digits.path), "SNAPSHOT": str(digits.latest_snapshot), "--from=RUN": f"--from={digits.path}"}
    done = call_cli("train", config, "--name", "new", *[paths.get(a, a) for a in arguments], check=1)
    assert words in done.stderr


def test_another_family_is_refused(digits: Run) -> None:
    with pytest.raises(GanvasError, match="of the family mlp"):
        transfer.find_origin(replace(tiny(family="cnn"), init_from=str(digits.path)))
