"""Keras' two DCGAN tutorials, as their readers run them: Keras on TensorFlow, compiled.

Colour: "DCGAN to generate face images", keras.io/examples/generative/dcgan_overriding_train_step, at 64×64: `fit` with
an own `train_step`, batches of 32. Grey: "Deep Convolutional Generative Adversarial Network",
tensorflow.org/tutorials/generative/dcgan, at 28×28: a `tf.function` in a loop, batches of 256. Pictures are in memory.

Keras and TensorFlow are no dependencies of Ganvas; this runs in the environment that benchmarks/throughput.py makes.
"""

# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalOperand=false

import os

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

from typing import Any

import keras  # pyright: ignore[reportMissingImports]
import numpy as np
import tensorflow as tf  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
from keras import layers  # pyright: ignore[reportMissingImports]
from marks import Marks, read_arguments

pictures, folder, seed, minutes = read_arguments()
tf.config.threading.set_intra_op_parallelism_threads(2)
tf.config.threading.set_inter_op_parallelism_threads(2)
keras.utils.set_random_seed(seed)
images = np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))


def to_uint8(generated: Any, low: float) -> np.ndarray:
    """Pictures in [low, 1], float [n h w c] -> uint8 [n c h w]."""
    unit = (np.asarray(generated) - low) / (1 - low)
    return (255 * unit).round().clip(0, 255).astype(np.uint8).transpose(0, 3, 1, 2)


def sample_from(generator: Any, latent: int, low: float) -> Any:
    """Pictures of fixed latents, with batch norm as in use."""

    def sample(n: int) -> np.ndarray:
        z = np.random.RandomState(0).randn(n, latent).astype(np.float32)
        return np.concatenate([to_uint8(generator(z[i : i + 50], training=False), low) for i in range(0, n, 50)])

    return sample


class GAN(keras.Model):
    """The model of the tutorial on faces: fakes have label 1, and labels have noise."""

    def __init__(self, discriminator: Any, generator: Any, latent_dim: int) -> None:
        super().__init__()
        self.discriminator, self.generator, self.latent_dim = discriminator, generator, latent_dim

    def compile(self, d_optimizer: Any, g_optimizer: Any, loss_fn: Any) -> None:
        super().compile()
        self.d_optimizer, self.g_optimizer, self.loss_fn = d_optimizer, g_optimizer, loss_fn

    def train_step(self, real_images: Any) -> dict[str, Any]:
        batch_size = tf.shape(real_images)[0]
        generated = self.generator(tf.random.normal((batch_size, self.latent_dim)))
        combined = tf.concat([generated, real_images], axis=0)
        labels = tf.concat([tf.ones((batch_size, 1)), tf.zeros((batch_size, 1))], axis=0)
        labels += 0.05 * tf.random.uniform(tf.shape(labels))
        with tf.GradientTape() as tape:
            d_loss = self.loss_fn(labels, self.discriminator(combined, training=True))
        weights = self.discriminator.trainable_weights
        self.d_optimizer.apply_gradients(zip(tape.gradient(d_loss, weights), weights, strict=True))
        z = tf.random.normal((batch_size, self.latent_dim))
        with tf.GradientTape() as tape:
            fooled = self.discriminator(self.generator(z), training=True)
            g_loss = self.loss_fn(tf.zeros((batch_size, 1)), fooled)
        weights = self.generator.trainable_weights
        self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, weights), weights, strict=True))
        return {"d_loss": d_loss, "g_loss": g_loss}


def train_colour() -> None:
    latent_dim, batch = 128, 32

    def act() -> Any:
        return layers.LeakyReLU(negative_slope=0.2)

    def down(width: int) -> Any:
        return layers.Conv2D(width, kernel_size=4, strides=2, padding="same")

    def up(width: int) -> Any:
        return layers.Conv2DTranspose(width, kernel_size=4, strides=2, padding="same")

    discriminator = keras.Sequential([
        keras.Input((64, 64, 3)), down(64), act(), down(128), act(), down(128), act(),
        layers.Flatten(), layers.Dropout(0.2), layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    generator = keras.Sequential([
        keras.Input((latent_dim,)), layers.Dense(8 * 8 * 128), layers.Reshape((8, 8, 128)),
        up(128), act(), up(256), act(), up(512), act(),
        layers.Conv2D(3, kernel_size=5, padding="same", activation="sigmoid"),
    ])  # fmt: skip
    assert (discriminator.count_params(), generator.count_params()) == (404_801, 3_979_651)  # as the tutorial prints
    gan = GAN(discriminator, generator, latent_dim)
    adam = keras.optimizers.Adam
    gan.compile(adam(learning_rate=0.0001), adam(learning_rate=0.0001), keras.losses.BinaryCrossentropy())
    dataset = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images)).batch(batch, drop_remainder=False)
    dataset = dataset.map(lambda x: tf.cast(x, tf.float32) / 255.0)
    marks = Marks(folder, minutes, sample_from(generator, latent_dim, low=0.0))

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, step: int, logs: Any = None) -> None:
            last = step == -(-len(images) // batch) - 1
            if marks.after_round(len(images) - step * batch if last else batch):
                self.model.stop_training = True

    gan.fit(dataset, epochs=1_000_000, verbose=0, callbacks=[Watch()])


def train_grey() -> None:
    noise_dim, batch = 100, 256

    def norm() -> list[Any]:
        return [layers.BatchNormalization(), layers.LeakyReLU()]

    def up(width: int, stride: int, **others: Any) -> Any:
        return layers.Conv2DTranspose(width, 5, strides=stride, padding="same", use_bias=False, **others)

    generator = keras.Sequential([
        keras.Input((noise_dim,)), layers.Dense(7 * 7 * 256, use_bias=False), *norm(), layers.Reshape((7, 7, 256)),
        up(128, 1), *norm(), up(64, 2), *norm(), up(1, 2, activation="tanh"),
    ])  # fmt: skip
    discriminator = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Conv2D(64, 5, strides=2, padding="same"), layers.LeakyReLU(),
        layers.Dropout(0.3), layers.Conv2D(128, 5, strides=2, padding="same"), layers.LeakyReLU(),
        layers.Dropout(0.3), layers.Flatten(), layers.Dense(1),
    ])  # fmt: skip
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    g_adam, d_adam = keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-4)
    g_adam.build(generator.trainable_variables)
    d_adam.build(discriminator.trainable_variables)

    @tf.function
    def train_step(batch_of: Any) -> None:
        noise = tf.random.normal([tf.shape(batch_of)[0], noise_dim])
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            fakes = generator(noise, training=True)
            on_real, on_fake = discriminator(batch_of, training=True), discriminator(fakes, training=True)
            g_loss = cross_entropy(tf.ones_like(on_fake), on_fake)
            d_loss = cross_entropy(tf.ones_like(on_real), on_real) + cross_entropy(tf.zeros_like(on_fake), on_fake)
        g_adam.apply(g_tape.gradient(g_loss, generator.trainable_variables))
        d_adam.apply(d_tape.gradient(d_loss, discriminator.trainable_variables))

    scaled = (images.astype(np.float32) - 127.5) / 127.5
    dataset = tf.data.Dataset.from_tensor_slices(scaled).shuffle(len(scaled)).batch(batch)
    marks = Marks(folder, minutes, sample_from(generator, noise_dim, low=-1.0))
    while True:
        for image_batch in dataset:
            train_step(image_batch)
            if marks.after_round(len(image_batch)):
                return


train_grey() if images.shape[3] == 1 else train_colour()
