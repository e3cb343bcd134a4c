"""Twenty logs of trainings that were written without a look at the rules that judge them.

Eight are of healthy trainings, eight of failed ones, four leave it open. They follow what is known of GANs and of what
their tools print: StyleGAN2, R3GAN, BigGAN, WGAN, WGAN-GP, CycleGAN, Real-ESRGAN, and the tutorials of PyTorch and
Keras. The numbers are synthetic, of fixed seeds; cross-entropies are computed from D's scores.
"""

import json

import numpy as np
from blind_rows import Rows, blind, csv, printed
from numpy.typing import NDArray


def softplus(score: NDArray) -> NDArray:
    return np.logaddexp(0, score)


@blind("healthy", rows=1200)
def stylegan2_with_d_ever_more_certain(run: Rows) -> str:
    """1,200 ticks of stats.jsonl: D's loss sinks and G's rises all along, as in published runs."""
    real, fake = run.settling(0.05, 1.0, 2.5, plus=0.12), run.settling(-0.05, -1.3, 2.5, plus=0.12)
    values = {
        "Loss/scores/fake": fake, "Loss/scores/real": real,
        "Loss/signs/fake": np.tanh(fake), "Loss/signs/real": np.tanh(real),
        "Loss/G/loss": softplus(-fake), "Loss/D/loss": softplus(fake) + softplus(-real),
        "Loss/r1_penalty": run.settling(0.002, 0.03, times=0.3), "Progress/kimg": run.every(4),
    }  # fmt: skip
    rows = zip(*values.values(), strict=True)
    return "".join(
        json.dumps({name: {"num": 64, "mean": float(mean), "std": 0.1} for name, mean in zip(values, row, strict=True)})
        + "\n"
        for row in rows
    )


@blind("healthy", rows=160)
def dcgan_tutorial_of_pytorch(run: Rows) -> str:
    """Five epochs, jumps of both losses, G's first ones high."""
    real, fake = run.settling(0.8, 2.1, plus=1.0), run.settling(-0.6, -1.9, plus=1.0)
    after = fake - np.abs(run.settling(6.0, 0.8, 12.0, plus=0.4))
    return "Starting Training Loop...\n" + printed(
        "[{epoch}/5][{batch}/1583]\tLoss_D: {d:.4f}\tLoss_G: {g:.4f}\tD(x): {x:.4f}\tD(G(z)): {z1:.4f} / {z2:.4f}",
        epoch=run.every(1) // 32, batch=run.every(1) % 32 * 50, d=softplus(-real) + softplus(fake), g=softplus(-after),
        x=np.exp(-softplus(-real)), z1=np.exp(-softplus(-fake)), z2=np.exp(-softplus(-after)),
    )  # fmt: skip


@blind("healthy", rows=800)
def wgan_gp_whose_g_loss_wanders(run: Rows) -> str:
    """The distance jumps up, then shrinks for the rest of the run; G's loss wanders over many units."""
    return csv({
        "iteration": run.every(100),
        "critic_loss": -run.through((0, 0.5), (0.02, 32), (0.15, 14), (1, 3.5), times=0.12),
        "gradient_penalty": run.settling(0.9, 0.05, times=0.3),
        "generator_loss": run.noisy(np.cumsum(run.through((0, 0), plus=1.6)), plus=1.5),
    })  # fmt: skip


@blind("healthy", rows=600)
def wgan_with_clipping(run: Rows) -> str:
    """The lines of the paper's own program, where one of the names has no colon."""
    loss = -run.settling(1.45, 0.32, times=0.08)
    real = run.noisy(loss / 2, plus=0.05)
    return printed(
        "[{epoch}/100][{batch}/3166][{step}] Loss_D: {d:f} Loss_G: {g:f} Loss_D_real: {real:f} Loss_D_fake {fake:f}",
        epoch=run.every(1) // 6, batch=run.every(1) % 6 * 500 + 5, step=run.every(100, 1),
        d=loss, g=run.noisy(real - loss, plus=0.01), real=real, fake=real - loss,
    )  # fmt: skip


@blind("healthy", rows=3000)
def biggan_with_hinge_near_zero(run: Rows) -> str:
    """D's hinge loss sinks to 0.15 over 3,000 rows and the rates decay, while IS and FID get better."""
    half, rate = run.settling(0.95, 0.075, 3.5, times=0.15), run.through((0, 1e-4), (0.5, 1e-4), (1, 1e-5))
    measured = np.where(run.every(1) % 50 == 49, 1.0, np.nan)
    return csv({
        "itr": run.every(50, 50), "G_loss": run.settling(0.1, 1.9, 3.0, plus=0.35),
        "D_loss_real": half, "D_loss_fake": run.noisy(half, times=0.2), "G_lr": rate, "D_lr": 4 * rate,
        "IS": measured * run.settling(9.0, 92.0, 3.0, times=0.01),
        "FID": measured * run.settling(85.0, 9.1, 3.5, times=0.015),
    })  # fmt: skip


@blind("healthy", rows=1000)
def cyclegan(run: Rows) -> str:
    """loss_log.txt of horse2zebra: both Ds sink to a tenth, both Gs rise, cycles improve."""
    ends = {"D": (0.27, 0.11, 0.5), "G": (0.31, 0.6, 0.35), "cycle": (2.4, 0.75, 0.2), "idt": (1.1, 0.3, 0.2)}
    columns = {f"{loss}_{side}": run.settling(*ends[loss][:2], 3.0, ends[loss][2]) for side in "AB" for loss in ends}
    losses = " ".join(f"{name}: {{{name}:.3f}}" for name in columns)
    return "================ Training Loss (Mon Mar  4 21:13:45 2019) ================\n" + printed(
        f"(epoch: {{epoch}}, iters: {{iters}}, time: 0.331, data: 0.002) {losses} ",
        epoch=run.every(1) // 13 + 1, iters=run.every(1) % 13 * 100 + 100, **columns,
    )  # fmt: skip


@blind("healthy", rows=40)
def r3gan_whose_d_loss_doubles(run: Rows) -> str:
    """40 measurements: D's relativistic loss doubles, G's halves, FID ends just above its best."""
    rate = run.through((0, 2e-4), (0.6, 5e-5), (1, 5e-5))
    return csv({
        "kimg": run.every(500, 500), "lr_g": rate, "lr_d": rate,
        "loss_g": run.through((0, 1.3), (1, 0.68), times=0.03), "loss_d": run.through((0, 0.31), (1, 0.66), times=0.03),
        "r1": run.settling(0.3, 0.05, times=0.1), "r2": run.settling(0.3, 0.05, times=0.1),
        "fid50k": run.settling(46.0, 2.8, 9.0, times=0.03),
    })  # fmt: skip


@blind("healthy", rows=30)
def keras_for_thirty_epochs(run: Rows) -> str:
    """The lines of `fit`, with the rate beside two losses that hardly move."""
    return printed(
        "Epoch {epoch}/30\n6332/6332 [==============================] - 561s 89ms/step - "
        "d_loss: {d:.4f} - g_loss: {g:.4f} - lr: 1.0000e-04",
        epoch=run.every(1, 1), d=run.settling(0.47, 0.61, 8.0, plus=0.012), g=run.settling(1.45, 0.98, 8.0, plus=0.04),
    )  # fmt: skip


@blind("failing", "non-finite", rows=500, since=(30_900, 31_100))
def nan_in_one_part(run: Rows) -> str:
    """Mixed precision: D's loss on fakes overflows at step 31,000 of 50,000; its other parts stay finite."""
    fake = np.where(run.every(100) < 31_000, run.settling(0.7, 0.45, times=0.15), np.nan)
    real, loss = run.settling(0.7, 0.5, times=0.15), run.settling(0.8, 1.2, times=0.15)
    line = '{{"step": {step}, "losses": {{"d_loss_real": {real}, "d_loss_fake": {fake}, "g_loss": {g}}}}}'
    return printed(line, step=run.every(100), real=real, fake=fake, g=loss).replace("nan", "NaN")


@blind("failing", "D too strong", rows=200, since=(30_000, 60_000))
def d_wins(run: Rows) -> str:
    """Cross-entropy, an even game for 40,000 of 200,000 steps, then D's loss is 0.001 and G's climbs to 14."""
    real = run.through((0, 0.4), (0.19, 0.6), (0.215, 7.5), (1, 9.0), plus=0.2)
    fake = run.through((0, -0.4), (0.19, -0.6), (0.215, -8.0), (1, -14.0), plus=0.2)
    return printed(
        "Step {step:,} | D loss {d:.4f} | G loss {g:.4f} | 8.1 it/s",
        step=run.every(1000, 1000), d=softplus(-real) + softplus(fake), g=softplus(-fake),
    )  # fmt: skip


@blind("failing", "G frozen", "layers frozen", rows=250)
def g_frozen(run: Rows) -> str:
    """Weights & Biases: no gradient reaches G and its loss follows D alone."""
    real, fake = run.settling(0.0, 5.0, plus=0.15), run.settling(0.0, -6.0, plus=0.15)
    return csv({
        "Step": run.every(200),
        "misty-lake-7 - d_loss": softplus(-real) + softplus(fake), "misty-lake-7 - g_loss": softplus(-fake),
        "misty-lake-7 - d_grad_norm": run.settling(1.5, 0.2, times=0.2), "misty-lake-7 - g_grad_norm": np.zeros(250),
    })  # fmt: skip


@blind("failing", "critic without gradient", rows=300)
def silent_critic(run: Rows) -> str:
    """Weights clipped at 0.01: scores no longer depend on the images, and nothing in the names says Wasserstein."""
    return printed(
        "epoch {epoch}: d_loss={d:.3e}, g_loss={g:.6f}",
        epoch=run.every(1, 1),
        d=run.through((0, 0), plus=4e-9), g=run.through((0, 0.21), (0.4, -0.28), (1, -0.30), plus=1e-6),
    )  # fmt: skip


@blind("failing", "quality regressing", rows=120, since=(20_000, 70_000))
def fid_rises_slowly(run: Rows) -> str:
    """FID is 23 at 30,000 of 120,000 steps and creeps to 38, with noise of 6 % on the way; losses are calm."""
    return csv({
        "global_step": run.every(1000, 1000),
        "train/d_loss": run.settling(1.3, 0.95, times=0.06), "train/g_loss": run.settling(0.8, 1.1, times=0.06),
        "val/fid": run.through((0, 190), (0.08, 40), (0.25, 23), (1, 38), times=0.06),
    })  # fmt: skip


@blind("failing", "quality regressing", rows=75, since=(8_000, 32_000))
def best_early(run: Rows) -> str:
    """Long form: the best FID, 18, after a twelfth of 150,000 steps; from a fifth on it stays near 31."""
    fid = run.through((0, 160), (0.04, 30), (0.08, 18), (0.2, 31), (1, 31), times=0.03)
    d_loss, g_loss = run.settling(1.3, 0.8, times=0.1), run.settling(0.8, 1.5, times=0.1)
    rows = "d_loss,{step},{d:.5f}\ng_loss,{step},{g:.5f}\nfid,{step},{fid:.3f}"
    return "name,step,value\n" + printed(rows, step=run.every(2000), d=d_loss, g=g_loss, fid=fid)


@blind("failing", "divergence", "learning rate too high", "critic unconstrained", rows=1000, since=(55_000, 75_000))
def explosion(run: Rows) -> str:
    """BasicSR: all is well for 60,000 iterations, then D's losses grow a hundredfold every 10,000."""
    growth = 0.6 * 10 ** run.through((0, 0), (0.6, 0), (1, 8))
    return printed(
        "2021-08-24 12:{epoch:02d}:18,118 INFO: [train..][epoch:{epoch:3d}, iter:{step:8,d}, lr:(1.000e-04,)] "
        "[eta: 1 day, 3:20:11, time (data): 0.412 (0.003)] "
        "l_g_pix: {pix:.4e} l_g_gan: {gan:.4e} l_d_real: {real:.4e} l_d_fake: {fake:.4e}",
        epoch=run.every(1) // 50, step=run.every(100, 100), pix=run.noisy(0.04 * np.sqrt(growth), times=0.1),
        gan=run.noisy(growth / 6, times=0.1), real=run.noisy(growth, times=0.1), fake=run.noisy(growth, times=0.1),
    )  # fmt: skip


@blind("failing", "no improvement", rows=60)
def never_better_than_at_its_start(run: Rows) -> str:
    """log.txt of StyleGAN2-ADA: after 60 measurements FID is what it was at first, near 370."""
    return "Loading training set...\nNum images:  4000\nTraining for 10000 kimg...\n\n" + printed(
        "tick {tick:<5d} kimg {kimg:<8.1f} time 1h 12m 10s     sec/tick 92.1    sec/kimg 23.02   maintenance 0.1    "
        'cpumem 4.61   gpumem 11.47  augment 0.000\n{{"results": {{"fid50k_full": {fid}}}, "metric": "fid50k_full", '
        '"total_time": 61.2, "num_gpus": 1, "snapshot_pkl": "network-snapshot-{kimg:06d}.pkl"}}',
        tick=run.every(40), kimg=run.every(160), fid=run.through((0, 370), times=0.02),
    )  # fmt: skip


@blind("ambiguous", rows=20)
def short_and_uneven(run: Rows) -> str:
    """Twenty epochs at two decimals: D is ahead, and that may pass."""
    d_loss, g_loss = run.settling(0.69, 0.16, times=0.08), run.settling(0.70, 3.1, times=0.08)
    return printed("Epoch [{n}/20] d_loss: {d:.2f} g_loss: {g:.2f}", n=run.every(1, 1), d=d_loss, g=g_loss)


@blind("ambiguous", rows=600)
def low_d_loss_without_quality(run: Rows) -> str:
    """D's cross-entropy is near 0.2 and G's near 4 for half of the run; many DCGANs draw well like that."""
    d_loss = run.through((0, 1.2), (0.5, 0.22), (1, 0.18), times=0.45)
    g_loss = run.through((0, 1.2), (0.5, 3.8), (1, 4.4), times=0.25)
    return csv({"step": run.every(50), "d_loss": d_loss, "g_loss": g_loss})


@blind("ambiguous", rows=400)
def distance_of_a_critic_grows(run: Rows) -> str:
    """From 2 to 12: a better critic or a worse G."""
    return csv({
        "step": run.every(250), "loss_critic": -run.through((0, 2.0), (1, 12.0), times=0.15),
        "loss_gen": run.through((0, 1.0), (1, -9.0), plus=1.5), "gp": run.through((0, 0.1), (1, 0.25), times=0.2),
    })  # fmt: skip


@blind("ambiguous", rows=80)
def fid_within_its_noise(run: Rows) -> str:
    """FID ends some 15 % above its best after a long flat stretch, and D's loss is a tenth."""
    d_loss, g_loss = run.settling(1.2, 0.1, 6.0, times=0.12), run.settling(0.9, 4.2, 6.0, times=0.08)
    fid = run.through((0, 120), (0.2, 22), (0.5, 15.2), (1, 16.6), times=0.03)
    return csv({"step": run.every(2500, 2500), "d_loss": d_loss, "g_loss": g_loss, "fid": fid})
