"""Compares the training speed of the classic CNN: Ganvas, a plain PyTorch loop and two Keras 3 loops.

The networks are the classic teaching GAN for 28×28×1 images (G 1,925,633 parameters, D 138,561), batch 128,
cross-entropy with the non-saturating generator loss, Adam 2e-4 (0.5, 0.999), D actually training. Each loop runs in its
own process, with all cores, alternating (A B C A B C …), so that drift of the machine's speed affects all alike; each
process warms up before it is timed. The images are random, which does not affect the speed.

    python benchmarks/throughput.py [--repeats 5] [--rounds 20] [--json FILE]

Keras and TensorFlow are not dependencies of Ganvas: they are installed into a separate environment, .venv-keras, at the
first call. Without network access the Keras loops are left out.
"""

# pyright: reportArgumentType=false, reportCallIssue=false

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH, LATENT, WARM_UP_ROUNDS = 128, 100, 3
KERAS_HOME = Path(__file__).resolve().parent.parent / ".venv-keras"
KERAS = ["keras==3.15.1", "tensorflow-cpu==2.21.0"]
GFLOP_PER_ROUND = 56.4
"""3 · G + (2 · 3 + 2) · D forward passes over 128 images: G 14.1 GFLOP (trained: forward and two backward), D 1.76
(trained on reals and fakes; then passed through, without its weights' gradients, for G)."""


def run_ganvas(rounds: int) -> float:
    """ganvas.train, statistics included: images/s of the ticks after the first."""
    import numpy as np

    import ganvas
    from ganvas.runs.log import read_jsonl

    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANVAS_CACHE"] = folder
        images = Path(folder) / "random.npy"
        np.save(images, np.random.default_rng(0).integers(0, 256, (2048, 28, 28, 1), np.uint8))
        tick = BATCH * WARM_UP_ROUNDS / 1000
        run = ganvas.train(
            "cnn", data=str(images), batch=BATCH, kimg=BATCH * (WARM_UP_ROUNDS + rounds) / 1000, tick_kimg=tick,
            snapshot_kimg=1e6, plot=False, device="cpu", out=folder, quiet=True,
        )  # fmt: skip
        ticks = list(read_jsonl(run.path / "stats.jsonl"))
        images = ticks[-1]["nimg"] - ticks[0]["nimg"]
        return images / (ticks[-1]["seconds"] - ticks[0]["seconds"])


def run_pytorch(rounds: int) -> float:
    """The loop of PyTorch's tutorials (pytorch/examples, dcgan): D on reals, D on fakes, D again for G."""
    import torch
    from torch import nn

    def act() -> nn.Module:
        return nn.LeakyReLU(0.2)

    generator = nn.Sequential(
        nn.Linear(LATENT, 7 * 7 * 256), act(), nn.Unflatten(1, (256, 7, 7)),
        nn.ConvTranspose2d(256, 128, 4, 2, 1), act(), nn.ConvTranspose2d(128, 64, 4, 2, 1), act(),
        nn.ConvTranspose2d(64, 1, 7, 1, 3), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1), act(), nn.Conv2d(64, 128, 4, 2, 1), act(), nn.Flatten(), nn.Linear(6272, 1)
    )
    loss = nn.BCEWithLogitsLoss()
    g_adam = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    d_adam = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))
    images = torch.randint(0, 256, (2048, 1, 28, 28), dtype=torch.uint8)
    ones, zeros = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)

    def one_round() -> None:
        real = images[torch.randint(0, 2048, (BATCH,))].float() / 127.5 - 1
        discriminator.zero_grad()
        loss(discriminator(real), ones).backward()
        fake = generator(torch.randn(BATCH, LATENT))
        loss(discriminator(fake.detach()), zeros).backward()
        d_adam.step()
        generator.zero_grad()
        loss(discriminator(fake), ones).backward()
        g_adam.step()

    return measure_speed(one_round, rounds)


def build_keras_networks() -> tuple[Any, Any]:
    """The classic networks in Keras."""
    from keras import Sequential, layers  # pyright: ignore[reportMissingImports]

    def act() -> object:
        return layers.LeakyReLU(negative_slope=0.2)

    generator = Sequential([
        layers.Input((LATENT,)), layers.Dense(7 * 7 * 256), act(), layers.Reshape((7, 7, 256)),
        layers.Conv2DTranspose(128, 4, strides=2, padding="same"), act(),
        layers.Conv2DTranspose(64, 4, strides=2, padding="same"), act(),
        layers.Conv2DTranspose(1, 7, padding="same", activation="tanh"),
    ])  # fmt: skip
    discriminator = Sequential([
        layers.Input((28, 28, 1)), layers.Conv2D(64, 4, strides=2, padding="same"), act(),
        layers.Conv2D(128, 4, strides=2, padding="same"), act(), layers.Flatten(), layers.Dense(1),
    ])  # fmt: skip
    assert (generator.count_params(), discriminator.count_params()) == (1_925_633, 138_561)
    return generator, discriminator


def run_keras_classic(rounds: int) -> float:
    """The classic Keras loop: predict, train_on_batch on reals, on fakes, then on G and a frozen D.

    As it is usually written, D never trains under Keras 3 (`trainable = False` after `compile` freezes it permanently).
    Here D is unfrozen and frozen in every round, and a check asserts that its weights change.
    """
    import numpy as np
    from keras import Sequential, layers, losses, optimizers  # pyright: ignore[reportMissingImports]

    generator, discriminator = build_keras_networks()
    loss = losses.BinaryCrossentropy(from_logits=True)
    discriminator.compile(loss=loss, optimizer=optimizers.Adam(2e-4, 0.5))
    images = np.random.default_rng(0).integers(0, 256, (2048, 28, 28, 1), np.uint8)
    ones, zeros = np.ones((BATCH, 1)), np.zeros((BATCH, 1))

    def real() -> Any:
        return images[np.random.randint(0, 2048, BATCH)].astype("float32") / 127.5 - 1

    def z() -> Any:
        return np.random.randn(BATCH, LATENT).astype("float32")

    discriminator.train_on_batch(real(), ones)
    discriminator.trainable = False
    both = Sequential([layers.Input((LATENT,)), generator, discriminator])
    both.compile(loss=loss, optimizer=optimizers.Adam(2e-4, 0.5))

    def one_round() -> None:
        discriminator.trainable = True
        fake = generator.predict(z(), verbose=0)
        discriminator.train_on_batch(real(), ones)
        discriminator.train_on_batch(fake, zeros)
        discriminator.trainable = False
        both.train_on_batch(z(), ones)

    before = [network.layers[0].kernel.numpy().copy() for network in (generator, discriminator)]
    speed = measure_speed(one_round, rounds)
    for network, kernel in zip((generator, discriminator), before, strict=True):
        assert (network.layers[0].kernel.numpy() != kernel).any(), "a network did not train"
    return speed


def run_keras_compiled(rounds: int) -> float:
    """keras.io's GAN step (fakes for D, both halves in one batch, new fakes for G) as one tf.function."""
    import tensorflow as tf  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
    from keras import losses, optimizers  # pyright: ignore[reportMissingImports]

    generator, discriminator = build_keras_networks()
    loss = losses.BinaryCrossentropy(from_logits=True)
    g_adam, d_adam = optimizers.Adam(2e-4, 0.5), optimizers.Adam(2e-4, 0.5)
    g_adam.build(generator.trainable_variables)
    d_adam.build(discriminator.trainable_variables)
    images = tf.cast(tf.random.uniform((2048, 28, 28, 1), 0, 256, dtype=tf.int32), tf.uint8)
    targets = tf.concat([tf.ones((BATCH, 1)), tf.zeros((BATCH, 1))], 0)

    @tf.function
    def one_round() -> None:
        chosen = tf.gather(images, tf.random.uniform((BATCH,), 0, 2048, dtype=tf.int32))
        real = tf.cast(chosen, tf.float32) / 127.5 - 1
        fake = generator(tf.random.normal((BATCH, LATENT)))
        with tf.GradientTape() as tape:
            d_loss = loss(targets, discriminator(tf.concat([real, fake], 0)))
        d_adam.apply(tape.gradient(d_loss, discriminator.trainable_variables))
        with tf.GradientTape() as tape:
            g_loss = loss(tf.ones((BATCH, 1)), discriminator(generator(tf.random.normal((BATCH, LATENT)))))
        g_adam.apply(tape.gradient(g_loss, generator.trainable_variables))

    before = discriminator.trainable_variables[0].numpy().copy()
    speed = measure_speed(one_round, rounds)
    assert (discriminator.trainable_variables[0].numpy() != before).any(), "D did not train"
    return speed


def measure_speed(one_round: Callable[[], None], rounds: int) -> float:
    """images/s after a warm-up."""
    for _ in range(WARM_UP_ROUNDS):
        one_round()
    start = time.perf_counter()
    for _ in range(rounds):
        one_round()
    return BATCH * rounds / (time.perf_counter() - start)


def measure_matmul(rounds: int) -> float:
    """GFLOP/s of a float32 matrix product, for the roofline."""
    import torch

    a = torch.randn(2048, 2048)
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        torch.mm(a, a)
        best = max(best, 2 * 2048**3 / (time.perf_counter() - start) / 1e9)
    return best


LOOPS = {
    "ganvas": run_ganvas,
    "pytorch": run_pytorch,
    "keras-classic": run_keras_classic,
    "keras-compiled": run_keras_compiled,
    "matmul": measure_matmul,
}


def find_keras_python() -> Path | None:
    """The interpreter of the Keras environment, created if necessary; None if that fails."""
    python = KERAS_HOME / "bin" / "python"
    if not python.exists():
        print("Installing Keras and TensorFlow into .venv-keras …", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", KERAS_HOME], check=True)
        if subprocess.run([python, "-m", "pip", "install", "--quiet", *KERAS]).returncode:
            return None
    return (
        python
        if subprocess.run([python, "-c", "import keras, tensorflow"], capture_output=True).returncode == 0
        else None
    )


def measure_in_process(loop: str, rounds: int, python: Path | str) -> float:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    command = [str(python), __file__, "--loop", loop, "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{loop} failed:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--loop", choices=LOOPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop:
        print(LOOPS[arguments.loop](arguments.rounds))
        return
    keras_python = find_keras_python()
    pythons = {loop: keras_python if loop.startswith("keras") else Path(sys.executable) for loop in LOOPS}
    speeds: dict[str, list[float]] = {loop: [] for loop, python in pythons.items() if python}
    for repeat in range(arguments.repeats):
        for loop in speeds:
            speeds[loop].append(measure_in_process(loop, arguments.rounds, pythons[loop] or ""))
            print(f"{repeat + 1}/{arguments.repeats} {loop:14} {speeds[loop][-1]:8.1f}", file=sys.stderr)
    speeds["roofline"] = [BATCH * gflops / GFLOP_PER_ROUND for gflops in speeds.pop("matmul")]
    print(f"{'':14} {'median':>8} {'min':>8} {'max':>8}   images/s, batch {BATCH}, {os.cpu_count()} cores")
    for loop, values in speeds.items():
        print(f"{loop:14} {statistics.median(values):8.0f} {min(values):8.0f} {max(values):8.0f}")
    for loop, values in speeds.items():
        if loop != "ganvas":
            ratios = [a / b for a, b in zip(speeds["ganvas"], values, strict=True)]
            print(f"ganvas / {loop:14} {statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})")
    if arguments.json:
        arguments.json.write_text(json.dumps(speeds, indent=2) + "\n")


if __name__ == "__main__":
    main()
