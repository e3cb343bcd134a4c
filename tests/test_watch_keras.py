"""`watch` on Keras models: a loop is not changed by it, and its faults are named. Each case works with both backends.

The cases run in a process of their own: with PyTorch in the suite, with TensorFlow by `make test-tensorflow`.
"""

import importlib.util
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_watch_page import KERAS_LOOP, SETUP

import ganvas
from ganvas import GanvasError, Probe
from ganvas.diagnosis.loops.keras_models import KerasModule

CASES = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-o", "python_functions=case_*", "-W", "ignore"]


@pytest.mark.slow
def test_cases_with_pytorch() -> None:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run([*CASES, __file__], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_keras_is_not_imported() -> None:
    watched = "import sys, torch, ganvas; ganvas.watch(*[torch.nn.Linear(1, 1) for _ in 'GD'], report=None).close()"
    subprocess.run([sys.executable, "-c", f"{watched}; assert 'keras' not in sys.modules"], check=True)


@pytest.fixture
def keras() -> Any:
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    return keras


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    """Compiled functions of one case are not kept for the next."""
    yield
    if (keras := sys.modules.get("keras")) is not None:
        keras.utils.clear_session()


Array = NDArray[Any]


def ring(n: int = 300) -> Array:
    """Points around a ring of eight modes, float32 [n 2]."""
    random = np.random.default_rng(0)
    angle = random.integers(8, size=n) * np.pi / 4
    points = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.05 * random.normal(size=(n, 2))
    return points.astype(np.float32)


def networks(keras: Any, last: str = "sigmoid") -> tuple[Any, Any]:
    """G with batch norm, D with dropout."""
    layers = keras.layers
    G = keras.Sequential(
        [keras.Input((4,)), layers.Dense(8), layers.BatchNormalization(), layers.ReLU(), layers.Dense(2)]
    )
    hidden = [layers.Dense(8), layers.LeakyReLU(), layers.Dropout(0.2)]
    return G, keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(1, activation=last)])


Loop = Callable[..., tuple[list[Any], Probe | None]]


def train_on_batch(keras: Any, fault: str = "", *, watching: bool = True, steps: int = 8) -> tuple[list[Any], Any]:
    """A combined model with a D that is frozen in it, or with a fault; what was trained, and the probe."""
    keras.utils.set_random_seed(0)
    G, D = networks(keras)
    loss = keras.losses.BinaryCrossentropy(from_logits=fault == "sigmoid twice")
    D.compile(loss=loss, optimizer=keras.optimizers.Adam(1e-3), metrics=["accuracy"])
    D.trainable = fault == "wrong optimiser"
    z = keras.Input((4,))
    combined = keras.Model(z, D(G(z)))
    combined.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(1e-3))
    data, random = ring(), np.random.default_rng(1)
    probe = ganvas.watch(G, D, data=data, every=2, report=None) if watching else None
    for _ in range(steps):
        real = data[random.integers(len(data), size=16)]
        fake = G.predict(random.normal(size=(16, 4)), verbose=0)
        D.trainable = fault != "D frozen"
        on_real, on_fake = (D.train_on_batch(x, np.full((16, 1), y)) for x, y in ((real, 1.0), (fake, 0.0)))
        D.trainable = fault == "wrong optimiser"
        g_loss = combined.train_on_batch(random.normal(size=(16, 4)), np.ones((16, 1)))
        if probe is not None:
            probe.step(real=real, fake=fake, d_loss=0.5 * np.add(on_real, on_fake), g_loss=g_loss)
    if probe is not None:
        probe.close()
    return [G, D, D.optimizer, combined.optimizer], probe


def gan(keras: Any, G: Any, D: Any, fault: str) -> Any:
    """A model whose train_step updates G and D: with backward passes of PyTorch, or tapes of TensorFlow."""

    class GAN(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.G, self.D, self.seeds = G, D, keras.random.SeedGenerator(0)
            self.d_adam, self.g_adam = (keras.optimizers.Adam(1e-3) for _ in "DG")
            self.built = True
            self.cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

        def loss_on(self, images: Any, target: float) -> Any:
            logits = self.D(images, training=True)
            return self.cross_entropy(target * keras.ops.ones_like(logits), logits)

        def d_loss(self, real: Any, z: Any) -> Any:
            return self.loss_on(real, 1.0) + self.loss_on(keras.ops.stop_gradient(self.G(z, training=True)), 0.0)

        def g_loss(self, z: Any) -> Any:
            return self.loss_on(self.G(z, training=True), 1.0)

        def update(self, optimiser: Any, loss: Callable[[], Any], weights: list[Any]) -> Any:
            if keras.config.backend() == "tensorflow":
                with sys.modules["tensorflow"].GradientTape() as tape:
                    value = loss()
                optimiser.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
                return value
            self.zero_grad()
            value = loss()
            value.backward()
            with torch.no_grad():
                optimiser.apply([weight.value.grad for weight in weights], weights)
            return value.detach()

        def train_step(self, real: Any) -> dict[str, Any]:
            z = keras.random.normal((16, 4), seed=self.seeds)
            d_loss = self.update(self.d_adam, partial(self.d_loss, real, z), self.D.trainable_weights)
            both = self.D.trainable_weights if fault == "wrong optimiser" else []
            g_loss = self.update(self.g_adam, partial(self.g_loss, z), self.G.trainable_weights + both)
            return {"d_loss": d_loss, "g_loss": g_loss}

    made = GAN()
    made.compile()
    return made


def fit(keras: Any, fault: str = "", *, watching: bool = True) -> tuple[list[Any], Any]:
    """The same by `fit`, four steps an epoch."""
    keras.utils.set_random_seed(0)
    G, D = networks(keras, "sigmoid" if fault == "sigmoid twice" else "linear")
    whole, data = gan(keras, G, D, fault), ring(64)
    probe = ganvas.watch(G, D, data=data, every=2, report=None) if watching else None
    callbacks = [probe.callback(latents=4)] if probe is not None else []
    whole.fit(data, batch_size=16, epochs=2, shuffle=False, callbacks=callbacks, verbose=0)
    if probe is not None:
        probe.close()
    return [whole, whole.d_adam, whole.g_adam], probe


loops = pytest.mark.parametrize("loop", [train_on_batch, fit])


def values(trained: list[Any]) -> list[Array]:
    """Weights, moving statistics, seeds, and what the optimisers keep."""
    return [np.array(v.numpy()) for one in trained for v in one.variables if "metric" not in v.path]


@loops
def case_watched_equals_unwatched(keras: Any, loop: Loop) -> None:
    (alone, _), (observed, probe) = loop(keras, watching=False), loop(keras)
    one, other = values(alone), values(observed)
    assert len(one) == len(other) > 20
    assert all(np.array_equal(before, now) for before, now in zip(one, other, strict=True))
    assert probe is not None
    assert probe.history.facts.probe_errors == {}
    assert len(probe.history["D/auc"]) == 4
    assert len(probe.history["D/loss"]) == 8
    assert probe.history["D/input_gradient"].value.all()
    assert probe.history.facts.shown == 128
    assert keras.optimizers.Optimizer.apply.__module__ != "ganvas.diagnosis.loops.keras_loop"


@pytest.mark.parametrize(
    ("loop", "fault"),
    [(train_on_batch, ""), (train_on_batch, "D frozen"), (train_on_batch, "wrong optimiser"), (fit, ""),
     (fit, "wrong optimiser")],
)  # fmt: skip
def case_fault_is_named(keras: Any, loop: Loop, fault: str) -> None:
    _, probe = loop(keras, fault)
    assert probe is not None
    found = probe.diagnosis().failures
    assert [finding.name for finding in found] == ([fault] if fault else [])
    if fault:
        assert "D.trainable" in found[0].advice()


@loops
def case_sigmoid_twice_is_named(keras: Any, loop: Loop) -> None:
    if keras.config.backend() != "torch":
        pytest.skip("with TensorFlow, Keras uses the logits before D's sigmoid, and says so")
    _, probe = loop(keras, "sigmoid twice")
    assert probe is not None
    assert "sigmoid twice" in [finding.name for finding in probe.diagnosis().findings]


def case_module_is_called_and_differentiated(keras: Any) -> None:
    """Also a D of several inputs and outputs, whose moving statistics and seeds stay."""
    layers = keras.layers
    images, labels = keras.Input((4,)), keras.Input((1,), dtype="int32")
    hidden = layers.BatchNormalization()(images) + layers.Flatten()(layers.Embedding(3, 4)(labels))
    D = keras.Model([images, labels], [layers.Dense(1)(hidden), layers.Dense(2)(layers.GaussianNoise(1.0)(hidden))])
    module = KerasModule(D)
    before = values([D])
    x = torch.randn(5, 4, requires_grad=True)
    first, second = module(x, torch.ones(5, 1, dtype=torch.int32), listed=True)
    assert (first.shape, second.shape) == ((5, 1), (5, 2))
    (gradient,) = torch.autograd.grad(first.sum(), x)
    slope = D.layers[-2 if D.layers[-1].units == 2 else -1].kernel.numpy()[:, 0] / np.sqrt(1 + 1e-3)
    assert np.allclose(gradient.numpy(), slope, atol=1e-5)
    assert all(np.array_equal(one, other) for one, other in zip(before, values([D]), strict=True))
    trained = len(list(module.parameters()))
    D.trainable = False
    module.refresh()
    assert len(list(module.parameters())) == trained == 7


def case_conditional_d_and_channels_last(keras: Any) -> None:
    layers = keras.layers
    G = keras.Sequential([keras.Input((4,)), layers.Dense(64), layers.Reshape((8, 8, 1)), layers.Activation("tanh")])
    images, labels = keras.Input((8, 8, 1)), keras.Input((1,), dtype="int32")
    both = layers.Concatenate()([layers.Flatten()(images), layers.Flatten()(layers.Embedding(3, 4)(labels))])
    D = keras.Model([images, labels], layers.Dense(1, activation="sigmoid")(both))
    random = np.random.default_rng(0)
    data = random.uniform(-1, 1, size=(64, 8, 8, 1))
    with ganvas.watch(G, D, data=data, every=1, report=None) as probe:
        for _ in range(3):
            kinds = random.integers(3, size=(16, 1))
            fake = G(random.normal(size=(16, 4)))
            probe.step(real=[data[:16], kinds], fake=[fake, kinds], d_loss=[0.7, 0.5], g_loss=0.7)
    assert probe.history.facts.output_activation == "tanh"
    assert probe.history.facts.probe_errors == {}
    assert probe.history["D/label_effect"].value.all()
    assert probe._observed.images()[0].shape == (48, 1, 8, 8)


def case_loop_of_the_page_runs_and_nothing_is_wrong_in_it(keras: Any, capsys: pytest.CaptureFixture[str]) -> None:
    if keras.config.backend() != "torch":
        pytest.skip("the page has it with PyTorch")
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(SETUP, "setup", "exec"), names)
    keras.utils.set_random_seed(0)
    exec(compile(KERAS_LOOP, "Keras 3", "exec"), names)
    probe = names["probe"]
    assert not probe.history.facts.probe_errors
    assert probe.history["D/auc"]
    print(probe.diagnosis())
    assert "has failed" not in capsys.readouterr().out


def case_example_refuses_a_fault_that_a_loop_cannot_have(
    keras: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for loop, fault in [("fit", "d-frozen"), ("tape", "sigmoid-twice")]:
        monkeypatch.setattr(sys, "argv", ["keras_loops.py", loop, fault])
        with pytest.raises(SystemExit):
            runpy.run_path(str(Path(__file__).parent.parent / "examples" / "keras_loops.py"), run_name="__main__")
        assert f"{loop} cannot have this fault" in capsys.readouterr().err


def case_mistakes_are_told(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    G, D = networks(keras)
    with pytest.raises(GanvasError, match="needs reals"):
        ganvas.watch(G, D, report=None).callback(latents=4)
    with pytest.raises(GanvasError, match="`latents` is 0"):
        ganvas.watch(G, D, data=ring(), report=None).callback(latents=0)
    with pytest.raises(GanvasError, match=r"`latents` is 7, and G's input has the shape \(None, 4\)"):
        ganvas.watch(G, D, data=ring(), report=None).callback(latents=7)
    with pytest.raises(GanvasError, match="`real` is a str"):
        ganvas.watch(G, D, report=None).step(real="x", fake=ring())  # type: ignore[arg-type]
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(GanvasError, match="computes with jax"):
        ganvas.watch(G, D)
