"""The third blind set: tools, columns, and faults that the first two leave out; written without a look at the rules."""

import json

import numpy as np
from blind_rows import Rows, blind, eta, hinge, only, printed, sigmoid, softplus, stamp
from numpy.typing import NDArray


def squares(score: NDArray, target: float, spread: float) -> NDArray:
    """Least squares over a batch of such scores."""
    return (score - target) ** 2 + spread**2


@blind("healthy", rows=700)
def hifigan_that_prints_only_g(run: Rows) -> str:
    step, mel = run.every(100), run.settling(1.9, 0.235, pace=14, times=0.06) + run.settling(0.06, 0, pace=2)
    features = run.settling(1.2, 6.4, pace=4, times=0.09)
    adversarial = 8 * squares(run.settling(0.2, 0.47, pace=6, plus=0.04), 1, 0.2)
    line = "Steps : {:d}, Gen Loss Total : {:4.3f}, Mel-Spec. Error : {:4.3f}, s/b : {:4.3f}\n"
    pace = run.noisy(np.full(run.rows, 0.313), times=0.02)
    rows = zip(step, 45 * mel + features + adversarial, mel, pace, strict=True)
    epoch = "Time taken for epoch {} is {} sec\n\nEpoch: {}\n"
    return "Epoch: 1\n" + "".join(
        line.format(*row) + (epoch.format(at // 8 + 1, 256 + at % 7, at // 8 + 2) if at % 8 == 7 else "")
        for at, row in enumerate(rows)
    )


@blind("healthy", rows=100)
def monai_autoencoder_at_a_quarter(run: Rows) -> str:
    fake, real = run.through((0, 0.3), (0.1, 0.42), (1, 0.47), plus=0.02), run.through((0, 0.4), (0.1, 0.55), (1, 0.53))
    g, d = squares(fake, 1, 0.1), (squares(fake, 0, 0.1) + squares(real, 1, 0.1)) / 2
    rows = zip(run.settling(0.19, 0.0212, pace=7, times=0.03), g, d, strict=True)
    val = run.settling(0.17, 0.0231, pace=7, times=0.02)
    return "".join(
        f"Epoch {at}: 100%|██████████████| 96/96 [01:{12 + at % 4}<00:00,  1.3{at % 3}it/s, "
        f"recons_loss={rec:.3g}, gen_loss={g:.3g}, disc_loss={d:.3g}]\n"
        + (f"epoch {at + 1} val loss: {val[at]:.4f}\n" if at % 10 == 9 else "")
        for at, (rec, g, d) in enumerate(rows)
    )


@blind("healthy", rows=1500)
def began_whose_measure_falls(run: Rows) -> str:
    real = run.settling(0.31, 0.052, pace=6, times=0.05) + run.through((0, 0.012), (0.4, 0.012), (0.41, 0.004), (1, 0))
    fake = 0.5 * real + run.wander(0.003, 0.6)
    k = np.clip(run.settling(0, 0.21, pace=5) + run.wander(0.015, 0.995), 0, 1)
    line = "[{step}/500000] Loss_D: {d:.6f} Loss_G: {g:.6f} measure: {m:.4f}, k_t: {k:.4f}"
    return printed(line, step=run.every(50), d=real - k * fake, g=fake, m=real + abs(0.5 * real - fake), k=k)


@blind("healthy", rows=1200)
def spade_on_coco_stuff(run: Rows) -> str:
    fake = run.settling(-0.1, -0.75, pace=4) + run.wander(0.2, 0.3)
    real = run.settling(0.1, 0.7, pace=4) + run.wander(0.2, 0.3)
    line = "(epoch: {epoch}, iters: {it}, time: {t:.3f}) KLD: {kld:.3f} GAN: {g:.3f} GAN_Feat: {gf:.3f} VGG: {vgg:.3f} "
    return "================ Training Loss (Tue Mar  2 09:14:55 2021) ================\n" + printed(
        line + "D_Fake: {df:.3f} D_real: {dr:.3f} ", epoch=run.every(1) // 30 + 1, it=100 * (run.every(1) % 30 + 1),
        t=run.noisy(np.full(run.rows, 0.67), times=0.01), kld=run.settling(0.4, 2.9, pace=30, times=0.15), g=-fake,
        gf=run.settling(12, 8.1, pace=9, times=0.12), vgg=run.settling(17, 8.6, pace=5, times=0.12),
        df=hinge(fake), dr=hinge(-real),
    )  # fmt: skip


@blind("healthy", rows=300)
def ctgan_whose_losses_wander_about_zero(run: Rows) -> str:
    g = run.through((0, 1.74), (0.04, 0.6), (0.12, -0.4), (1, -0.9), plus=0.12) + run.wander(0.45, 0.95)
    d = run.through((0, 0.02), (0.03, -0.35), (0.1, 0.0), (1, 0.02), plus=0.13)
    return printed("Epoch {at}, Loss G: {g: .4f},Loss D: {d: .4f}", at=run.every(1, 1), g=g, d=d)


@blind("healthy", rows=150)
def flax_with_a_dynamic_loss_scale(run: Rows) -> str:
    fake, real = run.settling(0, -1.6, pace=3, plus=0.06), run.settling(0, 1.45, pace=3, plus=0.06)
    norm, scale = run.settling(3.1, 1.2, times=0.15), 65536.0 * 2.0 ** (np.arange(run.rows) // 20)
    for skipped in (58, 97, 131):
        norm[skipped], scale[skipped:] = np.inf, scale[skipped:] / 4
    fid = only(run.settling(214, 11.4, pace=5, times=0.03), 5)
    columns = {"d_loss": hinge(fake) + hinge(-real), "fid_10k": fid, "g_grad_norm": norm, "g_loss": -fake,
               "loss_scale": scale}  # fmt: skip
    rows = zip(*columns.values(), strict=True)
    return "".join(
        f"I0614 {7 + at // 20:02d}:{at * 3 % 60:02d}:{at * 7 % 60:02d}.48291{at % 10} 139812 logging_writer.py:48] "
        f"[{2000 * (at + 1)}] " + ", ".join(f"{k}={v:.6g}" for k, v in zip(columns, row, strict=True) if v == v) + "\n"
        for at, row in enumerate(rows)
    )


@blind("healthy", rows=3000)
def stargan_whose_critic_has_no_fixed_zero(run: Rows) -> str:
    middle, apart = run.wander(35, 0.997) - run.through((0, 0), (1, 60)), run.settling(22, 5.5, pace=6, times=0.15)
    apart = apart * (1 - 0.97 * np.exp(-np.arange(run.rows) / 15))
    line = (
        "Elapsed [{t}], Iteration [{it}/300000], D/loss_real: {r:.4f}, D/loss_fake: {f:.4f}, D/loss_cls: {c:.4f}, "
        "D/loss_gp: {gp:.4f}, G/loss_fake: {g:.4f}, G/loss_rec: {rec:.4f}, G/loss_cls: {gc:.4f}"
    )
    t = [f"{at * 9 // 3600}:{at * 9 // 60 % 60:02d}:{at * 9 % 60:02d}" for at in range(run.rows)]
    return printed(
        line, t=np.array(t), it=run.every(100, 100), r=-middle - apart / 2, f=middle - apart / 2,
        c=run.settling(2.9, 0.16, pace=9, times=0.35), gp=run.settling(0.3, 0.045, pace=7, times=0.3),
        g=-middle + apart / 2 + run.wander(1.5, 0.2), rec=run.settling(0.47, 0.105, pace=8, times=0.08),
        gc=run.settling(3.2, 0.34, pace=9, times=0.3),
    )  # fmt: skip


@blind("healthy", rows=420)
def progressive_growing_with_a_jump_at_each_size(run: Rows) -> str:
    stage, within = np.arange(run.rows) // 70, np.arange(run.rows) % 70
    jump = (2 + 5 * stage) * np.exp(-within / 9)
    critic = run.noisy(-(3.1 + 0.4 * stage + jump), times=0.12)
    swd = only(run.noisy(190 * 0.56 ** (stage + within / 70) * (1 + 0.3 * np.exp(-within / 5) * (stage > 0)), 0.02), 7)
    gen, penalty = run.wander(6, 0.98) + jump, run.noisy(0.11 + jump / 40, times=0.3)
    rows = zip(stage, within, critic, gen, penalty, swd, strict=True)
    return "".join(
        f"[{4 * 2**s}x{4 * 2**s} alpha={min(1, w / 35) if s else 1:.2f}] step {500 * (at + 1)} | critic {c:+.3f} | "
        f"gen {g:+.3f} | gp {gp:.4f}\n" + (f"    >> SWD(x1e3, upsampled to 128): {swd:.2f}\n" if swd == swd else "")
        for at, (s, w, c, g, gp, swd) in enumerate(rows)
    )


@blind("failing", "D too strong", "quality regressing", rows=200, since=(30, 100))
def text_to_image_whose_matching_d_is_certain(run: Rows) -> str:
    real = run.through((0, 0.1), (0.15, 1.2), (0.35, 8), (1, 11), plus=0.3)
    fake = run.through((0, 0), (0.15, -1.3), (0.35, -9), (1, -13), plus=0.3)
    wrong = run.through((0, 0), (0.15, -0.6), (0.35, -6.5), (1, -9), plus=0.3)
    d = softplus(-real) + (softplus(fake) + softplus(wrong)) / 2
    g = softplus(-fake) + run.settling(21, 16, pace=8, times=0.03)
    g = g + run.through((0, 2), (0.4, 11), (1, 14), times=0.05)
    score = run.through((0, 1.2), (0.18, 3.0), (0.4, 1.9), (1, 1.5), times=0.02)
    rows = zip(d, g, sigmoid(real), sigmoid(fake), strict=True)
    return "".join(
        f"Epoch: {at}, d_loss= {d:f}, g_loss= {g:f}, D(X)= {x:f}, D(G(X))= {gx:f}\n"
        + (f"Inception score: {score[at]:.3f} +- {0.02 * score[at]:.3f}\n" if at % 8 == 7 else "")
        for at, (d, g, x, gx) in enumerate(rows)
    )


@blind("failing", "D too weak", "quality regressing", rows=400, since=(2500, 5500))
def composer_run_whose_d_is_fooled(run: Rows) -> str:
    real = run.through((0, 0), (0.1, 1.1), (0.3, 0.9), (0.5, -0.1), (1, -0.3), plus=0.1)
    fake = run.through((0, -0.2), (0.1, -1.1), (0.3, -0.8), (0.5, 1.7), (1, 2.4), plus=0.1)
    fid = run.through((0, 290), (0.1, 120), (0.28, 61), (0.5, 168), (1, 231), times=0.03)
    columns = {"loss/train/d_real": softplus(-real), "loss/train/d_fake": softplus(fake),
               "loss/train/g": softplus(-fake), "disc/acc_real": sigmoid(real * 2), "disc/acc_fake": sigmoid(-fake * 2),
               "metrics/eval/FID": only(fid, 10)}  # fmt: skip
    rows = zip(*columns.values(), strict=True)
    return "".join(
        f"[epoch={at // 40}][batch={25 * (at + 1)}]: "
        + json.dumps({k: round(float(v), 5) for k, v in zip(columns, row, strict=True) if v == v}) + "\n"
        for at, row in enumerate(rows)
    )  # fmt: skip


@blind("failing", "mode collapse", "quality regressing", rows=60, since=(35, 42))
def fastai_table_with_fakes_all_alike(run: Rows) -> str:
    fake, real = run.settling(-0.2, -0.9, plus=0.08), run.settling(0.2, 0.85, plus=0.08)
    fake[38:], real[38:] = fake[38:] + run.wander(0.7, 0.5)[38:], real[38:] + run.wander(0.5, 0.5)[38:]
    score = run.through((0, 1.6), (0.2, 4.9), (0.62, 7.1), (0.66, 2.3), (1, 1.7), times=0.02)
    between = run.through((0, 0.22), (0.15, 0.47), (0.62, 0.53), (0.66, 0.09), (1, 0.03), times=0.03)
    g, critic = -fake, hinge(fake) + hinge(-real)
    names = ("epoch", "train_loss", "valid_loss", "gen_loss", "crit_loss", "inception_score", "lpips_diversity", "time")
    rows = zip(0.5 * (g + critic), g, critic, score, between, strict=True)
    return "  ".join(f"{name:<10}" for name in names) + "\n" + "".join(
        f"{at:<10}  {t:<10.6f}  {'None':<10}  {g:<10.6f}  {c:<10.6f}  {s:<15.6f}  {b:<15.6f}  04:{10 + at % 9}\n"
        for at, (t, g, c, s, b) in enumerate(rows)
    )  # fmt: skip


@blind("failing", "non-finite", rows=150, since=(111000, 115000))
def parallel_wavegan_a_line_for_each_loss(run: Rows) -> str:
    at, apart = run.every(1000, 1000), run.through((0, 0), (0.33, 0.0), (0.5, 0.18), (1, 0.22), plus=0.01)
    columns = {"spectral_convergence_loss": run.settling(0.9, 0.29, pace=9, times=0.02),
               "log_stft_magnitude_loss": run.settling(2.1, 0.94, pace=9, times=0.02),
               "adversarial_loss": squares(0.5 - apart, 1, 0.05), "generator_loss": np.zeros(run.rows),
               "real_loss": run.noisy(squares(0.5 + apart, 1, 0.05), times=0.04),
               "fake_loss": run.noisy(squares(0.5 - apart, 0, 0.05), times=0.04)}  # fmt: skip
    columns["log_stft_magnitude_loss"][111:] = np.nan
    for name in columns:
        columns[name][112:] = np.nan
    early, late = list(columns)[:2], list(columns)
    columns["generator_loss"] = sum(columns[name] for name in early) + np.where(at > 50000, 4, 0) * columns[late[2]]
    return "".join(
        f"{stamp('2021-01-09', 640 * row)},{17 * row % 1000:03d} (train:521) INFO: (Steps: {step}) "
        f"train/{name} = {columns[name][row]:.4f}.\n"
        for row, step in enumerate(at) for name in (late if step > 50000 else [*early, "generator_loss"])
    )  # fmt: skip


@blind("failing", "non-finite", "divergence", rows=200, since=(15100, 15900))
def gigagan_whose_penalty_overflows(run: Rows) -> str:
    blow = np.concatenate([np.zeros(152), np.expm1(2.6 * np.arange(1, 49.0))])
    d, g = run.settling(2.0, 1.1, times=0.08) + blow, run.settling(0.2, 0.7, plus=0.12) + 0.3 * blow
    penalty = run.settling(0.9, 0.03, pace=20, times=0.5) + 40 * blow
    curves = {"G": g, "MSG": run.settling(1.1, 2.9, times=0.06) + blow, "D": d,
              "MSD": run.settling(8.0, 4.6, times=0.05) + 2 * blow, "GP": penalty,
              "SSL": run.settling(0.9, 0.31, times=0.1) + 0.01 * blow}  # fmt: skip
    for name in curves:
        curves[name] = np.where(curves[name] > 3e5, np.inf, curves[name])
        curves[name][158:] = np.nan
    rows = zip(*curves.values(), strict=True)
    return "".join(
        f"step {100 * at}/100000: " + " | ".join(f"{k}: {v:.2f}" for k, v in zip(curves, row, strict=True)) + "\n"
        + (f"  saving to ./results/sample-{at // 10}.png\n" if at % 10 == 0 else "")
        for at, row in enumerate(rows)
    )  # fmt: skip


@blind("failing", "oscillation", "mode cycling", rows=240, since=(0, 90))
def infogan_whose_fid_swings(run: Rows) -> str:
    phase = 2 * np.pi * (np.arange(run.rows) + run.wander(1.0, 0.95)) / 17
    swing = run.through((0, 0), (0.1, 1), (1, 1)) * np.sin(phase + 1.9)
    fake, real = -0.5 + 2.4 * swing + run.wander(0.15, 0.3), 0.6 - 1.5 * swing + run.wander(0.15, 0.3)
    fid = run.through((0, 250), (0.1, 86), (1, 84), times=0.03) * np.exp(0.75 * swing)
    line = "Epoch {at}/240 [D loss: {d:.4f} | D acc: {acc:.1f}%] [G loss: {g:.4f}] [Q loss: {q:.4f}] [FID: {fid:.2f}]"
    return printed(line, at=run.every(1, 1), d=(softplus(-real) + softplus(fake)) / 2,
                   acc=50 * (sigmoid(3 * real) + sigmoid(-3 * fake)), g=softplus(-fake),
                   q=run.settling(2.3, 0.4, pace=4, times=0.1) + 0.15 * abs(swing), fid=fid)  # fmt: skip


@blind("failing", "D frozen", "critic without gradient", rows=500, since=(20500, 22500))
def sagan_whose_d_dies(run: Rows) -> str:
    alive, left = np.arange(run.rows) < 212, 0.013842
    fake, real = (np.where(alive, run.settling(0, sign * 0.8, plus=0.15), left) for sign in (-1, 1))
    line = (
        "Elapsed [{t}], G_step [{it}/100000], D_step[{it}/100000], d_out_real: {real:.6f}, d_out_fake: {fake:.6f}, "
        "d_loss_real: {dr:.6f}, d_loss_fake: {df:.6f}, g_loss: {g:.6f}, grad_D: {gd:.6f}, grad_G: {gg:.6f}, "
        "ave_gamma_l3: {l3:.4f}, ave_gamma_l4: {l4:.4f}"
    )
    gammas = run.through((0, 0), (0.424, 0.061), (1, 0.061)), run.through((0, 0), (0.424, -0.038), (1, -0.038))
    times = np.array([f"{at // 360}:{at // 6 % 60:02d}:{at * 10 % 60:02d}.{at * 1931:06d}" for at in range(run.rows)])
    return printed(
        line, t=times, it=run.every(100, 100), real=real, fake=fake, dr=np.where(alive, hinge(-real), 1 - left),
        df=np.where(alive, hinge(fake), 1 + left), g=-fake, gd=run.settling(2.5, 0.9, times=0.2) * alive,
        gg=run.settling(0.4, 1.1, times=0.2) * alive, l3=gammas[0], l4=gammas[1],
    )  # fmt: skip


@blind("failing", "critic without gradient", rows=300, since=(95000, 128000))
def chainer_array_whose_critic_falls_silent(run: Rows) -> str:
    size = run.through((0, -1.0), (0.05, -0.2), (0.33, -0.9), (0.42, -6.3), (1, -6.9))
    apart = 10 ** run.noisy(size, plus=0.05)
    middle = run.wander(0.15, 0.9) * 10**size + run.through((0, 0.02), (0.36, 0.0113), (1, 0.0113))
    records = [
        {"dis/loss": -float(d), "gen/loss": float(g), "dis/max_abs_weight": 0.009999999776482582, "epoch": at // 2,
         "iteration": 1000 * (at + 1), "elapsed_time": 141.93 * (at + 1) + at % 7 / 3}
        for at, (d, g) in enumerate(zip(apart, middle + apart / 2, strict=True))
    ]  # fmt: skip
    return json.dumps(records, indent=4)


@blind("failing", "critic unconstrained", "divergence", rows=180, since=(0, 16000))
def wavegan_whose_penalty_is_too_small(run: Rows) -> str:
    norm = 10 ** run.through((0, 0.3), (0.15, 0.9), (0.5, 2.1), (1, 3.1), plus=0.03)
    apart = 10 ** run.through((0, 0.2), (0.15, 1.6), (0.5, 3.7), (1, 5.3), plus=0.05)
    penalty = 1e-3 * (norm - 1) ** 2
    line = "INFO:tensorflow:D_loss = {d:.7g}, G_loss = {g:.7g}, gp = {gp:.7g}, slope = {norm:.7g}, step = {it} "
    return printed(line + "({t:.3f} sec)", d=penalty - apart, g=apart * (0.45 + run.wander(0.25, 0.8)), gp=penalty,
                   norm=norm, it=run.every(200, 200), t=run.noisy(np.full(run.rows, 31.4), times=0.01))  # fmt: skip


@blind("failing", "quality regressing", rows=100)
def srgan_that_gets_worse_slowly(run: Rows) -> str:
    real, fake = run.settling(0.5, 1.5, plus=0.2), run.settling(-0.5, -1.5, plus=0.2)
    lpips = run.through((0, 0.34), (0.12, 0.165), (0.28, 0.121), (0.6, 0.158), (1, 0.214), times=0.03)
    psnr = run.through((0, 19.1), (0.12, 23.6), (0.28, 24.8), (0.6, 23.6), (1, 21.7), plus=0.12)
    ssim = run.through((0, 0.52), (0.12, 0.69), (0.28, 0.738), (0.6, 0.69), (1, 0.612), plus=0.004)
    rows = zip(1 - sigmoid(real) + sigmoid(fake), run.settling(0.021, 0.0071, pace=9, times=0.05), sigmoid(real),
               sigmoid(fake), psnr, ssim, lpips, strict=True)  # fmt: skip
    return "".join(
        f"[{at}/100] Loss_D: {d:.4f} Loss_G: {g:.4f} D(x): {x:.4f} D(G(z)): {gz:.4f}: 100%|██████████| 262/262 "
        f"[02:{at % 9 + 11}<00:00,  1.9it/s]\n[converting LR images to SR images] PSNR: {p:.4f} dB SSIM: {s:.4f} "
        f"LPIPS: {lpips:.4f}: 100%|██████████| 425/425 [01:1{at % 9}<00:00,  5.8it/s]\n"
        for at, (d, g, x, gz, p, s, lpips) in enumerate(rows, 1)
    )


@blind("failing", "no improvement", rows=48)
def markdown_table_whose_kid_never_falls(run: Rows) -> str:
    real, fake = run.settling(0.2, 0.9, pace=12, plus=0.12), run.settling(-0.2, -0.9, pace=12, plus=0.12)
    kid = run.noisy(np.full(run.rows, 0.3127), times=0.025)
    head = "| epoch | loss D (real) | loss D (fake) | loss G | KID (mean) | min/epoch |\n|" + 6 * "---:|" + "\n"
    line = "| {at} | {dr:.4f} | {df:.4f} | {g:.4f} | {kid:.4f} | {t:.1f} |"
    return head + printed(line, at=run.every(1, 1), dr=softplus(-real), df=softplus(fake), g=softplus(-fake), kid=kid,
                          t=run.noisy(np.full(run.rows, 6.4), times=0.01))  # fmt: skip


@blind("failing", "quality regressing", rows=240, since=(18, 60))
def paddle_whose_swd_was_best_early(run: Rows) -> str:
    real, fake = run.settling(0.3, 1.3, plus=0.1), run.settling(-0.3, -1.3, plus=0.1)
    swd = run.through((0, 96), (0.05, 31), (0.1, 15.2), (0.17, 25.5), (1, 26.4), times=0.035)
    shares = {"swd_64": 1.2, "swd_32": 0.9, "swd_16": 0.9}
    parts = {name: run.noisy(swd * share, times=0.03) for name, share in shares.items()}
    parts["swd_avg"] = sum(parts.values()) / 3
    losses = np.transpose([(softplus(-real) + softplus(fake)) / 2, softplus(-fake)])
    return "".join(
        (head := f"[{stamp('2021-11-14', 95 * at)[5:].replace('-', '/')}] ppgan.engine.trainer INFO: ")
        + f"Epoch: {at + 1}/240 iter: 390/390 lr: {2e-4 * min(1, (240 - at) / 120):.3e} D_loss: {d:.3f} "
        f"G_loss: {g:.3f} batch_cost: 0.24{at % 10}11 sec reader_cost: 0.00017 sec ips: 132.9{at % 9} images/s "
        f"eta: {eta(95 * (240 - at))}\n"
        + "".join(f"{head}Metric {name}: {values[at]:.4f}\n" for name, values in parts.items() if at % 4 == 3)
        for at, (d, g) in enumerate(losses)
    )


@blind("ambiguous", rows=2000)
def keras_gan_wgan_that_prints_one_minus_its_loss(run: Rows) -> str:
    apart, middle = run.settling(4e-4, 3.2e-5, pace=9, plus=9e-6), run.wander(3e-5, 0.9) + 6e-5
    return printed("{at} [D loss: {d:f}] [G loss: {g:f}]", at=run.every(1), d=1 - apart, g=1 + middle)


@blind("ambiguous", rows=40)
def own_loop_with_one_decimal(run: Rows) -> str:
    real, fake = run.settling(0.4, 0.02, pace=10, plus=0.03), run.settling(-0.4, -0.02, pace=10, plus=0.03)
    d, g = (softplus(-real, 0.1) + softplus(fake, 0.1)) / 2, softplus(-fake, 0.1)
    line = "--> epoch {at:>2} done in 14s, generator: {g:.1f}, discriminator: {d:.1f}"
    return printed(line, at=run.every(1, 1), g=g, d=d)


@blind("ambiguous", rows=260)
def accelerate_resumed_without_its_average(run: Rows) -> str:
    fake, real = run.settling(-0.2, -1.2, plus=0.15), run.settling(0.2, 1.2, plus=0.15)
    fid = run.through((0, 160), (0.2, 55), (0.855, 22), (0.857, 51), (0.93, 37), (1, 27.5), times=0.02)
    logger, rows = " - INFO - __main__ - ", zip(softplus(-real) + softplus(fake), softplus(-fake), fid, strict=True)
    return "".join(
        (when := stamp("2024-03-02", 410 * at + 9000 * (at > 221)))
        + (f"{logger}Resuming from checkpoint checkpoint-111000 (no ema_generator found)\n{when}" if at == 222 else "")
        + f"{logger}Steps: {500 * (at + 1)}/200000, step_loss_d={d:.4f}, step_loss_g={g:.4f}, lr=0.0001\n"
        + (f"{when}{logger}eval at {500 * (at + 1)}: FID-10k (EMA) = {fid:.3f}\n" if at % 6 == 5 else "")
        for at, (d, g, fid) in enumerate(rows)
    )


@blind("ambiguous", rows=300)
def mmgen_whose_is_and_fid_disagree(run: Rows) -> str:
    fake, real = run.settling(-0.1, -1.1, plus=0.12), run.settling(0.1, 1.2, plus=0.12)
    fid = run.through((0, 140), (0.3, 25.5), (0.5, 24.0), (0.75, 26.8), (1, 30.0), times=0.04)
    score = run.through((0, 2.1), (0.3, 6.4), (0.5, 6.9), (1, 7.7), plus=0.07)
    logger, rows = ",411 - mmgen - INFO - ", zip(hinge(fake), hinge(-real), -fake, fid, score, strict=True)
    return "".join(
        (when := stamp("2021-04-01", 66 * at)) + f"{logger}Iter [{500 * (at + 1)}/150000]\tlr_generator: 2.000e-04, "
        f"lr_discriminator: 2.000e-04, eta: {eta(66 * (300 - at))}, time: 0.13{at % 10}, data_time: 0.004, "
        f"memory: 2371, loss_disc_fake: {df:.4f}, loss_disc_real: {dr:.4f}, loss_disc_fake_g: {g:.4f}, loss: {g:.4f}\n"
        + (f"{when}{logger}Iter(val) [{500 * (at + 1)}]\tfid: {fid:.4f}, is_mean: {s:.4f}\n" if at % 10 == 9 else "")
        for at, (df, dr, g, fid, s) in enumerate(rows)
    )
