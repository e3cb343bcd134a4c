"""Healthy trainings, as their tools log them: the second set, written without a look at the rules that judge them."""

import json

import numpy as np
from blind_rows import (
    Rows,
    accuracy,
    blind,
    clock,
    csv,
    eta,
    hinge,
    json_lines,
    keras_bars,
    only,
    printed,
    sigmoid,
    softplus,
    stamp,
    stats_jsonl,
)

# ------------------------------------------------------------------------------------------------- healthy


@blind("healthy", rows=1000)
def log_txt_of_stylegan2_ada(run: Rows) -> str:
    """Transfer from FFHQ: the status line of each tick, FID as a JSON line at each 50th; augmentation rises."""
    fid = 9.2 + 70 * np.exp(-9 * np.linspace(0, 1, run.rows)) + 2.4 * (1 - np.linspace(0, 1, run.rows))
    fid, augment = run.noisy(fid, times=0.025), np.maximum(0, run.settling(-0.05, 0.47, 3, plus=0.006))
    text = 'Resuming from "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/ffhq256.pkl"\n'
    text += "Training for 25000 kimg...\n\n"
    for tick in range(run.rows):
        text += (f"tick {tick:<5d} kimg {4 * tick:<8.1f} time {clock(55 + 141 * tick):<12s} "
                 f"sec/tick {138.2 + tick % 7 / 3:<7.1f} sec/kimg {34.6 + tick % 5 / 9:<7.2f} "
                 f"maintenance {0.0 if tick % 50 else 21.4:<6.1f} cpumem {5.21:<6.2f} "
                 f"gpumem {8.1:<6.2f} augment {augment[tick]:.3f}\n")  # fmt: skip
        if tick % 50 == 0:
            text += "Evaluating metrics...\n" + json.dumps({
                "results": {"fid50k_full": fid[tick]}, "metric": "fid50k_full", "total_time": 131.2,
                "total_time_str": "2m 11s", "num_gpus": 1, "snapshot_pkl": f"network-snapshot-{4 * tick:06d}.pkl",
                "timestamp": 1.62e9 + 141.0 * tick}) + "\n"  # fmt: skip
    return text


@blind("healthy", rows=2200)
def stylegan3_stats_with_g_ever_better(run: Rows) -> str:
    """No quality: as augmentation rises, D's loss creeps up and G's falls for the whole run; D's sign stays at 0.6."""
    real, fake = (
        run.through((0, 0.2), (0.03, 1.35), (1, 0.72), plus=0.06),
        run.through((0, -0.1), (0.03, -1.7), (1, -0.55), plus=0.06),
    )
    real, fake = real + run.wander(0.05), fake + run.wander(0.08)
    return stats_jsonl({
        "Loss/scores/fake": fake, "Loss/signs/fake": 2 * accuracy(fake) - 1, "Loss/G/loss": softplus(-fake),
        "Loss/scores/real": real, "Loss/signs/real": run.settling(0.1, 0.6, 60, plus=0.03),
        "Loss/D/loss": softplus(fake) + softplus(-real), "Loss/r1_penalty": run.settling(0.002, 0.021, times=0.2),
        "Loss/D/reg": run.settling(0.008, 0.086, times=0.2), "Progress/tick": run.every(1),
        "Progress/kimg": run.every(4), "Progress/augment": run.settling(0, 0.41, 2, plus=0.003),
        "Timing/sec_per_kimg": run.settling(29, 28.4, plus=0.1),
        "Resources/peak_gpu_mem_gb": run.settling(13, 9.8, 900),
    })  # fmt: skip


@blind("healthy", rows=1500)
def stylegan2_pytorch_of_lucidrains(run: Rows) -> str:
    """Hinge losses that cross zero; GP, PL, and FID are the last known; no step number; spikes of G."""
    gap, middle = run.settling(0.1, 1.5, 12, plus=0.15), run.wander(0.9, 0.995)
    fake, real = middle + gap / 2, middle - gap / 2
    g = fake + (run.random.random(run.rows) < 0.01) * run.random.normal(0, 4, run.rows)
    fid = np.repeat(run.settling(190, 24, 7, times=0.03)[::100], 100)
    lines = zip(g, hinge(real - middle) + hinge(middle - fake), run.settling(1.1, 0.07, 20, times=0.5),
                run.settling(0.2, 1.9, 3, times=0.02), fid, strict=True)  # fmt: skip
    return "".join(
        f"G: {a:.2f} | D: {b:.2f} | GP: {c:.2f} | PL: {d:.2f}" + (f" | FID: {e:.2f}" if at >= 100 else "") + "\n"
        for at, (a, b, c, d, e) in enumerate(lines)
    )


@blind("healthy", rows=24)
def keras_3_conditional_gan(run: Rows) -> str:
    """The example of keras.io: D's loss over real and fake together rises to 0.67, near chance, and that is fine."""
    real, fake = run.settling(0.9, 0.06, 6, plus=0.012), run.settling(-1.0, -0.08, 6, plus=0.012)
    return keras_bars(1094, "━━━━━━━━━━━━━━━━━━━━ ", d_loss=(softplus(-real, 0.5) + softplus(fake, 0.5)) / 2,
                      g_loss=softplus(-fake, 0.5))  # fmt: skip


@blind("healthy", rows=800)
def pix2pix_facades(run: Rows) -> str:
    """Batches of one image: all is noisy; G_GAN climbs to three while the L1 term falls."""
    real, fake = run.settling(0.3, 2.0, 3, plus=1.1), run.settling(-0.2, -2.1, 3, plus=1.1)
    at = run.every(100, 100)
    return "================ Training Loss (Mon May  3 10:12:44 2021) ================\n" + printed(
        "(epoch: {epoch}, iters: {iters}, time: {time:.3f}, data: {data:.3f}) "
        "G_GAN: {g:.3f} G_L1: {l1:.3f} D_real: {r:.3f} D_fake: {f:.3f} ",
        epoch=(at - 1) // 400 + 1, iters=(at - 1) % 400 + 1, time=run.settling(0.06, 0.05, times=0.1),
        data=run.settling(0.2, 0.004, 90, times=0.2), g=softplus(-fake + run.settling(-0.5, 0.9, 3, plus=0.6)),
        l1=run.settling(42, 15, 3, times=0.22), r=softplus(-real), f=softplus(fake),
    )  # fmt: skip


@blind("healthy", rows=400)
def real_esrgan_of_basicsr(run: Rows) -> str:
    """A U-Net D whose losses lie near 0.5 all along; G's adversarial loss is small as its weight is 0.1."""
    real, fake = run.settling(0.02, 0.75, 8, plus=0.25), run.settling(-0.02, -0.8, 8, plus=0.25)
    return printed(
        "{now},511 INFO: [train..][epoch:{epoch:3d}, iter:{at:8,d}, lr:(1.000e-04,)] [eta: {eta}, "
        "time (data): 0.661 (0.003)] l_g_pix: {pix:.4e} l_g_percep: {percep:.4e} l_g_gan: {g:.4e} "
        "l_d_real: {r:.4e} out_d_real: {x:.4e} l_d_fake: {f:.4e} out_d_fake: {z:.4e} ",
        now=np.array([stamp("2022-03-01T10:21", 661 * row) for row in range(run.rows)]), epoch=run.every(1) // 9,
        eta=np.array([eta(661 * (run.rows - row)) for row in range(run.rows)]), at=run.every(1000, 1000),
        pix=run.settling(0.041, 0.033, 3, times=0.2), percep=run.settling(3.3, 2.4, 4, times=0.13),
        g=0.1 * softplus(-fake + run.wander(0.15, 0)), r=softplus(-real), x=real, f=softplus(fake), z=fake,
    )  # fmt: skip


@blind("healthy", rows=1000)
def wgan_gp_whose_distance_shrinks(run: Rows) -> str:
    """JSON lines; the critic's loss goes from -42 to -3, G's wanders; the inception score rises to 6.2."""
    distance = run.through((0, 0.5), (0.02, 44), (0.1, 19), (0.3, 9), (0.6, 5.2), (1, 3.6), times=0.12)
    penalty = run.through((0, 7), (0.02, 2.6), (0.2, 0.9), (1, 0.33), times=0.3)
    return json_lines({
        "iteration": run.every(200), "critic_loss": penalty - distance, "gen_loss": run.wander(7, 0.99) + 4,
        "wasserstein_distance": distance, "gradient_penalty": penalty,
        "inception_score": only(run.settling(1.4, 6.2, 5, times=0.015), 25),
    })  # fmt: skip


@blind("healthy", rows=3000)
def wgan_clipped_of_arjovsky(run: Rows) -> str:
    """The first author's printed lines, of which the last pair has no colon; the losses shrink slowly by two thirds."""
    gap = run.through((0, 0.02), (0.01, 1.55), (0.1, 1.28), (0.4, 0.85), (1, 0.52), times=0.06)
    real = -gap / 2 + run.wander(0.06)
    at = run.every(1)
    return printed(
        "[{epoch}/25][{batch}/780][{step}] Loss_D: {d:.6f} Loss_G: {g:.6f} Loss_D_real: {r:.6f} Loss_D_fake {f:.6f}",
        epoch=at * 5 // 780, batch=at * 5 % 780, step=at, d=-gap, g=real + gap + run.wander(0.03, 0.3), r=real,
        f=real + gap,
    )  # fmt: skip


@blind("healthy", rows=630)
def lightning_csv_with_g_loss_to_five(run: Rows) -> str:
    """Losses and FID in rows of their own; G's loss goes to 5 and D's to 0.1 while FID improves to the end."""
    real, fake = run.settling(0.2, 4.4, 1.8, plus=0.45), run.settling(-0.3, -5.2, 1.8, plus=0.45)
    step, scored = run.every(50, 49), np.arange(run.rows) % 21 == 20
    fid = 13.5 + 190 * np.exp(-14 * np.linspace(0, 1, run.rows)) + 30 * np.exp(-2.5 * np.linspace(0, 1, run.rows))
    return csv({
        "epoch": step // 1050, "step": step,
        "train/d_loss": np.where(scored, np.nan, softplus(-real, 1.6) + softplus(fake, 1.6)),
        "train/g_loss": np.where(scored, np.nan, softplus(-fake, 1.6)),
        "val/fid": np.where(scored, run.noisy(fid, 0.02), np.nan),
    })  # fmt: skip


@blind("healthy", rows=1200)
def r3gan_exported_from_wandb(run: Rows) -> str:
    """Relativistic: the margin widens, so G's loss doubles and D's halves; FID as in the published rerun."""
    d_margin, g_margin = run.settling(0.02, 1.15, 3, plus=0.05), run.settling(0.02, 1.38, 3, plus=0.05)
    kimg = run.every(50)
    fid = np.interp(np.log(kimg + 50), np.log([50, 300, 1024, 2048, 4096, 10035, 25000, 60000]),
                    np.log([310, 90, 23.7, 10.3, 5.46, 4.18, 3.0, 2.35]))  # fmt: skip
    return csv({
        "Step": kimg, "Loss/D/loss": softplus(-d_margin), "Loss/G/loss": softplus(g_margin),
        "Loss/scores/real": run.wander(1.5) + d_margin, "Loss/r1_penalty": run.settling(0.4, 21, 2, times=0.1),
        "Loss/r2_penalty": run.settling(0.4, 20, 2, times=0.1),
        "Metrics/fid50k_full": only(np.exp(run.noisy(fid, plus=0.012)), 24),
    }, quote='"')  # fmt: skip


@blind("healthy", rows=20)
def twenty_rounded_epochs(run: Rows) -> str:
    """Means over epochs to two decimals, with a learning rate that falls to zero: many values repeat."""
    real, fake = run.settling(0.75, 0.46, 7, plus=0.012), run.settling(-0.8, -0.52, 7, plus=0.012)
    return printed("Epoch [{epoch}/20] Loss D: {d:.2f}, loss G: {g:.2f}", epoch=run.every(1, 1),
                   d=(softplus(-real) + softplus(fake)) / 2, g=softplus(-fake))  # fmt: skip


@blind("healthy", rows=150)
def keras_ada_with_noisy_kid(run: Rows) -> str:
    """The example of keras.io for small data: accuracies of 0.8 to 0.9 all along, KID of few samples, still falling."""
    real, fake = run.settling(0.4, 1.15, 9, plus=0.06), run.settling(-0.4, -1.45, 9, plus=0.06)
    kid = run.through((0, 6.5), (0.05, 1.4), (0.2, 0.62), (0.5, 0.36), (1, 0.24), times=0.17)
    return keras_bars(
        63, generator_loss=softplus(-fake), discriminator_loss=(softplus(-real) + softplus(fake)) / 2,
        real_accuracy=accuracy(real), generated_accuracy=accuracy(-fake),
        augmentation_probability=np.maximum(0, run.settling(0, 0.21, 2.5, plus=0.002)), val_kid=kid,
    )  # fmt: skip


@blind("healthy", rows=1200)
def acgan_whose_acc_is_of_classes(run: Rows) -> str:
    """PyTorch-GAN's acgan.py: acc is that of D's classes, so 99 % is as it should be; its loss has a floor of 1.46."""
    real, fake = run.settling(0.05, 0.32, 5, plus=0.15), run.settling(-0.05, -0.3, 5, plus=0.15)
    right = np.clip(run.settling(0.22, 0.985, 18, plus=0.012), 0, 1)
    classes, at = 1.461 + 0.9 * (1 - right), run.every(150)
    return printed(
        "[Epoch {epoch}/200] [Batch {batch}/938] [D loss: {d:.6f}, acc: {acc}%] [G loss: {g:.6f}]",
        epoch=at // 938, batch=at % 938, d=(softplus(-real) + softplus(fake) + 2 * classes) / 4,
        acc=(100 * right).astype(int), g=(softplus(-fake) + classes + run.settling(0.1, 0.01, times=0.5)) / 2,
    )  # fmt: skip


@blind("healthy", rows=700)
def lsgan_that_is_resumed(run: Rows) -> str:
    """Steps go back from 67,200 to 60,000; the optimisers' state was lost, so both losses jump there; SWD improves."""
    row = np.arange(run.rows)
    step = np.where(row < 225, 300 * row, 300 * (row - 25))
    jump = np.where(row < 225, 0, 0.75 * np.exp(-(row - 225) / 7.0)) + 0.5 * np.exp(-row / 5)
    real, fake = run.settling(0.58, 0.66, plus=0.05), run.settling(0.42, 0.33, plus=0.05)
    swd = 6.1 + 31 * np.exp(-step / 22e3)
    return csv({
        "step": step, "d_loss_real": (1 - real) ** 2 + 0.05 + jump * 0.8, "d_loss_fake": fake**2 + 0.05 + jump * 0.6,
        "g_loss": (1 - fake) ** 2 + 0.05 + jump, "swd": only(run.noisy(swd, 0.03), 10),
    })  # fmt: skip


@blind("healthy", rows=2000)
def sngan_of_mimicry(run: Rows) -> str:
    """Blocks of lines; hinge losses around 1 for 100,000 steps, the learning rate falls to zero; no quality."""
    real, fake = run.settling(0.05, 0.62, 5, plus=0.16), run.settling(-0.05, -0.6, 5, plus=0.16) + run.wander(0.1)
    at = run.every(50, 50)
    return printed(
        "INFO: [Epoch {epoch}/127][Global Step: {at}/100000]\n| D(G(z)): {z:.4f}\n| D(x): {x:.4f}\n| errD: {d:.4f}\n"
        "| errG: {g:.4f}\n| lr_D: {lr:.4g}\n| lr_G: {lr:.4g}\n| (0.2{epoch:03d} sec/idx)",
        epoch=1 + at // 782, at=at, z=sigmoid(fake, 0.6), x=sigmoid(real, 0.6), d=hinge(-real) + hinge(fake),
        g=-fake + run.wander(0.1, 0), lr=2e-4 * (1 - at / 100000),
    )  # fmt: skip


@blind("healthy", rows=900)
def vqgan_whose_d_starts_late(run: Rows) -> str:
    """taming-transformers: D's factor is 0 for the first 30,000 steps, so its loss is exactly 0 until then."""
    on = np.arange(run.rows) >= 300
    gap = np.where(on, 1 - np.exp(-(np.arange(run.rows) - 300) / 90), 0) * run.settling(0.5, 0.5, plus=0.07)
    real, fake = 0.02 + gap * 0.9 + run.wander(0.03), 0.02 - gap * 0.8 + run.wander(0.03)
    rec = run.settling(0.31, 0.115, 7, times=0.07) + 0.012 * on
    return csv({
        "epoch": run.every(1) // 60, "step": run.every(100), "train/rec_loss": rec,
        "train/p_loss": run.settling(0.6, 0.27, 6, 0.05),
        "train/quant_loss": run.settling(0.05, 0.013, 6, 0.1), "train/d_weight": run.settling(1.1, 0.7, times=0.3),
        "train/disc_factor": on * 1.0, "train/g_loss": -fake, "train/disc_loss": on * (hinge(-real) + hinge(fake)) / 2,
        "train/logits_real": real, "train/logits_fake": fake, "val/rec_loss": only(run.noisy(rec, 0.01), 60),
    })  # fmt: skip
