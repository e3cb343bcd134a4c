"""Three loops in which Keras GANs are usually written, watched by Ganvas: with a classic fault, and cured.

    KERAS_BACKEND=tensorflow python examples/keras_loops.py train-on-batch d-frozen
    KERAS_BACKEND=torch      python examples/keras_loops.py fit sigmoid-twice
    KERAS_BACKEND=tensorflow python examples/keras_loops.py tape d-moves

On scikit-learn's digits, float32 [n 8 8 1]. The images of both, the fault's above, are written to LOOP-FAULT.png.
"""

import argparse
import importlib
import os
import sys
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import ganvas

keras: Any = importlib.import_module("keras")

LATENT, BATCH = 32, 64

FAULTS = {
    "healthy": "nothing is wrong",
    "d-frozen": "train-on-batch: D.trainable = False once, for the combined model; in Keras 3 D never moves at all",
    "d-moves": "D is not frozen in the combined model, or G's gradients are applied to the weights of both",
    "sigmoid-twice": "fit, with PyTorch: D ends in a sigmoid, and its loss takes logits",
}


def has_fault(loop: str, fault: str) -> bool:
    """Whether a loop can have a fault; TensorFlow's cross-entropy takes the logits before a sigmoid itself."""
    loops = {"d-frozen": ["train-on-batch"], "sigmoid-twice": ["fit"]}.get(fault, LOOPS)
    return loop in loops and (fault != "sigmoid-twice" or keras.config.backend() != "tensorflow")


def networks(last: str | None) -> tuple[Any, Any]:
    """G ends in tanh; D in `last`, or in logits."""
    layers, hidden = keras.layers, {"negative_slope": 0.2}
    G = [keras.Input((LATENT,)), layers.Dense(256), layers.LeakyReLU(**hidden), layers.Dense(64, activation="tanh")]
    D = [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(256), layers.LeakyReLU(**hidden)]
    return keras.Sequential([*G, layers.Reshape((8, 8, 1))]), keras.Sequential([*D, layers.Dense(1, activation=last)])


def adam() -> Any:
    return keras.optimizers.Adam(1e-3, beta_1=0.5)


def train_on_batch(data: Any, fault: str, steps: int) -> tuple[Any, ganvas.Probe]:
    """`predict`, and `train_on_batch` of D and of a combined model in which D is frozen."""
    G, D = networks("sigmoid")
    D.compile(loss="binary_crossentropy", optimizer=adam(), metrics=["accuracy"])
    D.trainable = fault == "d-moves"
    z = keras.Input((LATENT,))
    combined = keras.Model(z, D(G(z)))
    combined.compile(loss="binary_crossentropy", optimizer=adam())
    ones, zeros, random = np.ones((BATCH, 1)), np.zeros((BATCH, 1)), np.random.default_rng(0)
    with ganvas.watch(G, D, data=data, every=25) as probe:
        for _ in range(steps):
            real = data[random.integers(len(data), size=BATCH)]
            fake = G.predict(random.normal(size=(BATCH, LATENT)), verbose=0)
            if fault != "d-frozen":
                D.trainable = True
            d_loss = 0.5 * np.add(D.train_on_batch(real, ones), D.train_on_batch(fake, zeros))
            if fault != "d-moves":
                D.trainable = False
            g_loss = combined.train_on_batch(random.normal(size=(BATCH, LATENT)), ones)
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    return G, probe


class GAN(keras.Model):
    """A model whose `train_step` updates D and then G; with PyTorch and with TensorFlow."""

    def __init__(self, G: Any, D: Any, fault: str) -> None:
        super().__init__()
        self.G, self.D, self.d_adam, self.g_adam = G, D, adam(), adam()
        self.moved = [*G.trainable_weights, *(D.trainable_weights if fault == "d-moves" else [])]
        self.seeds = keras.random.SeedGenerator(0)
        self.cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
        self.built = True

    def loss_on(self, images: Any, target: float) -> Any:
        judged = self.D(images, training=True)
        return self.cross_entropy(target * keras.ops.ones_like(judged), judged)

    def d_loss(self, real: Any, z: Any) -> Any:
        fake = keras.ops.stop_gradient(self.G(z, training=True))
        return self.loss_on(real, 1.0) + self.loss_on(fake, 0.0)

    def g_loss(self, real: Any, z: Any) -> Any:
        return self.loss_on(self.G(z, training=True), 1.0)

    def train_step(self, real: Any) -> dict[str, Any]:
        z = keras.random.normal((BATCH, LATENT), seed=self.seeds)
        update = update_tensorflow if keras.config.backend() == "tensorflow" else update_torch
        d_loss = update(self, self.d_adam, self.d_loss, self.D.trainable_weights, real, z)
        return {"d_loss": d_loss, "g_loss": update(self, self.g_adam, self.g_loss, self.moved, real, z)}


def update_torch(gan: Any, optimiser: Any, loss: Any, weights: list[Any], *inputs: Any) -> Any:
    import torch

    gan.zero_grad()
    value = loss(*inputs)
    value.backward()
    with torch.no_grad():
        optimiser.apply([weight.value.grad for weight in weights], weights)
    return value.detach()


def update_tensorflow(gan: Any, optimiser: Any, loss: Any, weights: list[Any], *inputs: Any) -> Any:
    with sys.modules["tensorflow"].GradientTape() as tape:
        value = loss(*inputs)
    optimiser.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
    return value


def fit(data: Any, fault: str, steps: int) -> tuple[Any, ganvas.Probe]:
    """`fit` of a model with its own `train_step`, and a callback."""
    G, D = networks("sigmoid" if fault == "sigmoid-twice" else None)
    gan = GAN(G, D, fault)
    gan.compile()
    data = data[: len(data) // BATCH * BATCH]
    with ganvas.watch(G, D, data=data, every=25) as probe:
        epochs = max(1, steps * BATCH // len(data))
        gan.fit(data, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[probe.callback(latents=LATENT)])
    return G, probe


def tape(data: Any, fault: str, steps: int) -> tuple[Any, ganvas.Probe]:
    """A compiled step with GradientTape."""
    tf: Any = importlib.import_module("tensorflow")
    G, D = networks(None)
    step = tf.function(GAN(G, D, fault).train_step)
    random = np.random.default_rng(0)
    with ganvas.watch(G, D, data=data, every=25) as probe:
        for _ in range(steps):
            real = data[random.integers(len(data), size=BATCH)]
            losses = step(tf.constant(real))
            fake = G(random.normal(size=(BATCH, LATENT)), training=False)
            probe.step(real=real, fake=fake, **losses)
    return G, probe


LOOPS = {"train-on-batch": train_on_batch, "fit": fit, "tape": tape}


def images_of(G: Any) -> Any:
    """Sixteen images in a row, uint8 [8 128]."""
    fakes = G.predict(np.random.default_rng(1).normal(size=(16, LATENT)), verbose=0)[..., 0]
    return ((np.concatenate(list(fakes), 1) + 1) * 127.5).astype(np.uint8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("loop", choices=LOOPS)
    parser.add_argument("fault", choices=FAULTS)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    if not has_fault(arguments.loop, arguments.fault):
        backend = keras.config.backend()
        parser.error(f"{arguments.loop} cannot have this fault with {backend}: {FAULTS[arguments.fault]}")
    digits = (load_digits(return_X_y=True)[0].reshape(-1, 8, 8, 1) / 8 - 1).astype(np.float32)
    rows = []
    for fault in dict.fromkeys([arguments.fault, "healthy"]):
        keras.utils.set_random_seed(0)
        print(f"{arguments.loop}, {fault}: {FAULTS[fault]}, computed with {os.environ.get('KERAS_BACKEND', 'Keras')}")
        trained, _ = LOOPS[arguments.loop](digits, fault, arguments.steps)
        rows.append(images_of(trained))
    grid = Image.fromarray(np.concatenate(rows))
    grid.resize((grid.width * 6, grid.height * 6), Image.Resampling.NEAREST).save(
        f"{arguments.loop}-{arguments.fault}.png"
    )
