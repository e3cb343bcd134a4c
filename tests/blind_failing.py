"""Failing trainings, and some that leave it open: the second set, written without a look at the rules."""

import json

import numpy as np
from blind_rows import (
    Rows,
    accuracy,
    blind,
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
)
from numpy.typing import NDArray

# ------------------------------------------------------------------------------------------------- failing


@blind("failing", "D too strong", rows=600, since=(50, 200))
def brownlee_convergence_failure(run: Rows) -> str:
    """Both parts of D's loss at 0.000, accuracies at 100, G's loss at 16.118: Keras clips there, with no gradient."""
    far = run.through((0, 0.1), (0.1, 0.9), (0.2, 9), (0.3, 22), (1, 25), times=0.12)
    real, fake = 0.7 * far + run.wander(0.25, 0), far + run.wander(0.25, 0)
    return printed(
        ">{at}, d1={d1:.3f}, d2={d2:.3f} g={g:.3f}, a1={a1}, a2={a2}", at=run.every(1, 1), d1=softplus(-real),
        d2=softplus(-fake), g=np.minimum(16.118, softplus(fake + run.wander(0.2, 0))),
        a1=(100 * accuracy(real, 0.5)).round().astype(int), a2=(100 * accuracy(fake, 0.5)).round().astype(int),
    )  # fmt: skip


@blind("failing", "D too strong", rows=1000)
def cyclegan_with_both_d_at_zero(run: Rows) -> str:
    """LSGAN losses: from epoch 15 of 200 on, D_A and D_B are 0.000 to 0.005 and G_A and G_B stand at 1."""

    def d() -> NDArray:
        return run.through((0, 0.42), (0.03, 0.22), (0.08, 0.012), (0.2, 0.0018), (1, 0.0009), times=0.5)

    def g() -> NDArray:
        return run.through((0, 0.45), (0.03, 0.5), (0.08, 0.93), (0.2, 0.995), (1, 1.0), times=0.02)

    at = run.every(1)
    return "================ Training Loss (Tue Nov  9 18:02:10 2021) ================\n" + printed(
        "(epoch: {epoch}, iters: {iters}, time: 0.412, data: 0.002) D_A: {da:.3f} G_A: {ga:.3f} "
        "cycle_A: {ca:.3f} idt_A: {ia:.3f} D_B: {db:.3f} G_B: {gb:.3f} cycle_B: {cb:.3f} idt_B: {ib:.3f} ",
        epoch=at // 5 + 1, iters=at % 5 * 250 + 250, da=d(), ga=g(), ca=run.settling(2.3, 0.55, 6, times=0.3),
        ia=run.settling(1.2, 0.2, 6, times=0.3), db=d(), gb=g(), cb=run.settling(2.6, 0.6, 6, times=0.3),
        ib=run.settling(1.2, 0.25, 6, times=0.3),
    )  # fmt: skip


@blind("failing", "D too strong", rows=400, since=(1500, 9000))
def saturating_g_without_gradient(run: Rows) -> str:
    """G minimises log(1 - D): its loss is -0.000001 and its gradient 1e-6 as D separates all, from 4,000 steps on."""
    far = run.through((0, 0.2), (0.05, 1.5), (0.12, 7.5), (0.3, 12), (1, 14.5), plus=0.25)
    return json_lines({
        "step": run.every(100), "d_loss": 2 * softplus(-far), "g_loss": -softplus(-far + run.wander(0.3, 0.2)),
        "d_acc_real": accuracy(far, 0.8), "d_acc_fake": accuracy(far, 0.8),
        "grad_norm_d": run.noisy(3 * np.exp(-far), 0.3), "grad_norm_g": run.noisy(1.4 * np.exp(-far), 0.3),
    }, digits=10)  # fmt: skip


@blind("failing", "D too strong", rows=500, since=(8000, 70000))
def esrgan_whose_relativistic_d_is_certain(run: Rows) -> str:
    """BasicSR's log: D's losses of 1e-10 and less, its scores 40 apart; the perceptual term gets worse."""
    apart = run.through((0, 0.05), (0.02, 0.6), (0.08, 6), (0.2, 20), (1, 46), times=0.09)
    middle = run.wander(1.0)
    return printed(
        "{now},077 INFO: [ESRGA..][epoch:{epoch:3d}, iter:{at:8,d}, lr:(1.000e-04,)] [eta: {eta}, "
        "time (data): 0.340 (0.002)] l_g_pix: {pix:.4e} l_g_percep: {percep:.4e} l_g_gan: {g:.4e} "
        "l_d_real: {r:.4e} out_d_real: {x:.4e} l_d_fake: {f:.4e} out_d_fake: {z:.4e} ",
        now=np.array([stamp("2021-06-10T18:40", 272 * row) for row in range(run.rows)]), epoch=run.every(1) // 20,
        eta=np.array([eta(272 * (run.rows - row)) for row in range(run.rows)]), at=run.every(800, 800),
        pix=run.settling(2.3e-4, 2.9e-4, 3, times=0.1), percep=run.settling(1.5, 1.8, 2, times=0.08),
        g=5e-3 * softplus(apart),
        r=softplus(-apart) / 2, x=middle + apart / 2, f=softplus(-apart * 1.02) / 2, z=middle - apart / 2,
    )  # fmt: skip


@blind("failing", "D too weak", "no improvement", rows=500, since=(0, 4000))
def d_at_chance_from_the_start(run: Rows) -> str:
    """Printed dicts: D says 0.5 to everything, losses are 2 ln 2 and ln 2 to four decimals; FID stands."""
    real, fake = run.settling(0.006, 0, 60, plus=3e-5), run.settling(-0.004, 0, 60, plus=3e-5)
    columns = {"step": run.every(100, 100), "loss_d": softplus(-real, 1e-4) + softplus(fake, 1e-4),
               "loss_g": softplus(-fake, 1e-4),
               "D(x)": sigmoid(real, 1e-4), "D(G(z))": sigmoid(fake, 1e-4),
               "fid": only(run.settling(289, 288, times=0.012), 25)}  # fmt: skip
    rows = zip(*columns.values(), strict=True)
    return "".join(
        str({k: int(v) if k == "step" else round(float(v), 6) for k, v in zip(columns, row, strict=True) if v > -1})
        + "\n"
        for row in rows
    )


@blind("failing", "mode collapse", "quality regressing", rows=300, since=(3300, 4200))
def projected_gan_whose_recall_dies(run: Rows) -> str:
    """FID 7 and recall 0.41 until 3,600 kimg; then recall falls to 0.002 and FID goes to 120."""
    return csv({
        "kimg": run.every(20), "Loss/G/loss": run.through((0, 0.2), (0.1, 0.5), (0.6, 0.8), (0.7, 2.9), (1, 3.4),
            plus=0.12),
        "Loss/D/loss": run.through((0, 7.9), (0.1, 6.6), (0.6, 6.1), (0.7, 2.8), (1, 1.9), times=0.03),
        "fid50k_full": only(run.through((0, 320), (0.03, 48), (0.1, 17), (0.3, 9), (0.6, 7.1), (0.66, 44), (0.8, 98),
        (1, 121), times=0.02), 5),
        "pr50k3_full_precision": only(run.through((0, 0), (0.1, 0.52), (0.6, 0.68), (0.7, 0.5), (1, 0.47), times=0.02),
        5),
        "pr50k3_full_recall": only(run.through((0, 0), (0.1, 0.22), (0.4, 0.39), (0.6, 0.41), (0.66, 0.04),
        (0.75, 0.002), (1, 0.0015), times=0.05), 5),
    })  # fmt: skip


@blind("failing", "mode collapse", "missing modes", "quality regressing", rows=100, since=(27000, 52000))
def stacked_mnist_that_loses_its_modes(run: Rows) -> str:
    """Of 1,000 modes 860 are found at 30,000 iterations and 38 are left at the end; KL rises with it."""
    modes = run.through((0, 1), (0.05, 190), (0.15, 640), (0.3, 864), (0.45, 620), (0.7, 160), (1, 38), times=0.04)
    real, fake = run.settling(0.4, 1.7, 3, plus=0.4), run.settling(-0.4, -1.8, 3, plus=0.4)
    return printed(
        "iter {at:6d} | loss_D {d:.4f} | loss_G {g:.4f} | modes {modes:4d} | KL {kl:.4f}", at=run.every(1000),
        d=softplus(-real) + softplus(fake), g=softplus(-fake), modes=np.clip(modes, 1, 1000).astype(int),
        kl=np.log(1000 / np.clip(modes, 1, 1000)) + run.settling(0.5, 0.7, times=0.08),
    )  # fmt: skip


@blind("failing", "non-finite", rows=350, since=(15300, 16200))
def penalty_in_half_precision(run: Rows) -> str:
    """A gradient penalty under AMP overflows at 15,800; all is NaN from then on and the loss scale falls to 0."""
    row = np.arange(run.rows)
    penalty, distance = run.settling(5, 0.6, 30, times=0.3), run.settling(2, 8, 6, times=0.15)
    penalty[155:158] = [74.1, 2918.4, np.inf]
    critic = penalty - distance
    critic[158:] = penalty[158:] = np.nan
    scale = np.where(row < 157, 65536.0, np.where(row == 157, 65536.0 * 0.5**100, 0.0))
    gen = np.where(row < 158, run.wander(3) - 2, np.nan)
    return "".join(
        json.dumps({"step": 100 * int(at), "loss_critic": float(c), "loss_gen": float(g), "gradient_penalty": float(p),
                    "grad_scale": float(s)}) + "\n"
        for at, c, g, p, s in zip(row, critic, gen, penalty, scale, strict=True)
    )  # fmt: skip


@blind("failing", "non-finite", rows=40, since=(8 * 1583, 11 * 1583))
def keras_bars_with_nan(run: Rows) -> str:
    """Nine epochs of a DCGAN, then nan for both losses to the end."""
    real, fake = run.settling(0.5, 1.4, plus=0.08), run.settling(-0.5, -1.5, plus=0.08)
    lost = np.arange(run.rows) >= 9
    return keras_bars(1583, d_loss=np.where(lost, np.nan, (softplus(-real) + softplus(fake)) / 2),
                      g_loss=np.where(lost, np.nan, softplus(-fake)))  # fmt: skip


@blind("failing", "divergence", "learning rate too high", rows=500, since=(18000, 36000))
def hinge_whose_gradients_explode(run: Rows) -> str:
    """Two fifths of a normal run; then losses and gradient norms double every 1,400 steps, to 1e5 and beyond."""
    size = np.exp(run.through((0, 0), (0.4, 0), (0.9, 12.5), (1, 13), plus=0.25))
    real, fake = run.settling(0.1, 0.6, 9, plus=0.15), run.settling(-0.1, -0.6, 9, plus=0.15)
    swing = run.wander(1.0, 0.6) * (size - 1)
    return printed(
        "step {at:6d}/50000  loss_d {d:.4f}  loss_g {g:.4f}  gnorm_d {nd:.3e}  gnorm_g {ng:.3e}  lr 4.0e-04",
        at=run.every(100, 100), d=hinge(-real) + hinge(fake) + 0.6 * np.abs(swing) + 0.1 * (size - 1), g=-fake + swing,
        nd=run.noisy(1.8 * size, 0.4), ng=run.noisy(0.7 * size, 0.4),
    )  # fmt: skip


@blind("failing", "critic unconstrained", "divergence", rows=400, since=(0, 8000))
def wgan_without_any_constraint(run: Rows) -> str:
    """Neither clip nor penalty: the critic's loss goes to minus 4e9 by the fourth power of the step, G's with it."""
    size = 4e9 * (np.linspace(0.004, 1, run.rows) ** 4)
    real, fake = run.noisy(0.9 * size, 0.08), run.noisy(-0.1 * size, 0.2)
    return csv({
        "iter": run.every(50), "critic_loss": fake - real, "critic_real": real, "critic_fake": fake,
        "gen_loss": run.noisy(0.12 * size, 0.2),
    }, digits=7)  # fmt: skip


@blind("failing", "oscillation", "mode cycling", "quality regressing", rows=900, since=(9000, 60000))
def swings_that_grow(run: Rows) -> str:
    """D's and G's losses swing against each other every 8,500 steps, ever wider; so does FID, 45 at its best."""
    row = np.arange(run.rows)
    wide = 0.25 * np.exp(3.0 * row / run.rows)
    swing = wide * np.sin(2 * np.pi * row / 85 + 0.4)
    real, fake = 0.9 + 0.8 * swing + run.wander(0.15, 0.4), -0.9 - swing + run.wander(0.15, 0.4)
    late = wide * (1 + np.sin(2 * np.pi * row / 85 - 0.6)) / 2
    fid = 44 + 130 * np.exp(-row / 60) + 60 * late
    return csv({
        "step": run.every(100), "loss_D": softplus(-real) + softplus(fake), "loss_G": softplus(-fake),
        "fid": only(run.noisy(fid, 0.04), 15),
    })  # fmt: skip


@blind("failing", "D frozen", "D too weak", rows=300, since=(0, 3000))
def d_whose_weights_never_change(run: Rows) -> str:
    """An optimiser of the wrong parameters: the norm of D's weights keeps every digit, and G beats it at once."""
    fake = run.settling(0, 5.6, 8, plus=0.12)
    real = run.settling(0.02, 0.02, plus=0.008)
    return csv({
        "step": run.every(100), "d_loss": softplus(-real, 0.05) + softplus(fake, 0.3), "g_loss": softplus(-fake, 0.3),
        "d_weight_norm": np.full(run.rows, 18.294317), "g_weight_norm": run.settling(41.2, 58.7, 2, plus=0.004),
    })  # fmt: skip


@blind("failing", "G frozen", rows=240, since=(0, 3000))
def g_with_zero_gradients(run: Rows) -> str:
    """A detach() too many: G's gradient norm is 0, FID is 312.4471 at each evaluation, and D becomes perfect."""
    far = run.settling(0.1, 9.5, 5, plus=0.3)
    return json_lines({
        "step": run.every(250), "d_loss": 2 * softplus(-far), "g_loss": softplus(far),
        "grad_norm_D": run.noisy(2.4 * np.exp(-far / 2), 0.4),
        "grad_norm_G": np.zeros(run.rows), "fid": only(np.full(run.rows, 312.4471), 12),
    })  # fmt: skip


@blind("failing", "critic without gradient", rows=250, since=(3000, 6000))
def gradient_penalty_stuck_at_ten(run: Rows) -> str:
    """The critic's units died: its output is one number, its slope 0, so the penalty is 10 (0 - 1)^2 for ever."""
    dead = np.arange(run.rows) >= 42
    distance = run.settling(0.4, 9, 30, times=0.12)
    penalty = run.settling(6, 0.8, 30, times=0.25)
    return printed(
        "[Iter {at}/25000] W-dist: {w:.6f} GP: {gp:.6f} D loss: {d:.6f} G loss: {g:.6f}", at=run.every(100, 100),
        w=np.where(dead, 0, distance), gp=np.where(dead, 10, penalty), d=np.where(dead, 10, penalty - distance),
        g=np.where(dead, -0.031742, run.wander(2)),
    )  # fmt: skip


@blind("failing", "D overfits", "quality regressing", "D too strong", rows=800, since=(600, 1700))
def stylegan2_on_two_thousand_images(run: Rows) -> str:
    """No augmentation: D's sign on real images goes to 0.99, its scores part; FID is best at 900 kimg, then rises."""
    real, fake = (
        run.through((0, 0.1), (0.05, 0.7), (0.3, 2.2), (1, 9.5), plus=0.3),
        run.through((0, -0.1), (0.05, -1), (0.3, -2.6), (1, -11), plus=0.3),
    )
    fid = run.through((0, 280), (0.03, 95), (0.1, 36), (0.28, 22.6), (0.5, 27), (0.75, 33), (1, 38.5), times=0.035)
    return csv({
        "Progress/kimg": run.every(4), "Loss/D/loss": softplus(-real) + softplus(fake), "Loss/G/loss": softplus(-fake),
        "Loss/scores/real": real, "Loss/scores/fake": fake, "Loss/signs/real": np.tanh(np.abs(real) * 0.55),
        "Loss/r1_penalty": run.settling(0.003, 0.6, 1.5, times=0.25), "Metrics/fid50k_full": only(fid, 10),
    })  # fmt: skip


@blind("failing", "quality regressing", "mode collapse", rows=1000, since=(13000, 22000))
def acgan_of_studiogan(run: Rows) -> str:
    """Losses that say nothing, FID 45.6 at 14,000 of 100,000 steps, 176 at 30,000, 200 at the end."""
    fid = run.through(
        (0, 190), (0.02, 118), (0.06, 66), (0.14, 46.5), (0.16, 58), (0.2, 143), (0.3, 176), (1, 200), times=0.035
    )
    d, g = run.settling(3.4, 0.64, 9, plus=0.09), run.settling(0.6, 0.95, 5, plus=0.16) + run.wander(0.08)
    text = ""
    for row in range(run.rows):
        at = 100 * (row + 1)
        head = f"[INFO] {stamp('2020-11-07T09:12:11', 17 * row)} > "
        spent = str(np.timedelta64(17 * row, "s").astype("timedelta64[s]").item())
        text += head + (f"Step: {at:>6} Progress: {at / 1e5:<.1%} Elapsed: {spent} temperature: No ada_p: No "
                        f"Discriminator_loss: {d[row]:<.6} Generator_loss: {g[row]:<.6}\n")  # fmt: skip
        if at % 2000 == 0:
            text += head + f"FID score (Step: {at}, Using test moments): {fid[row]}\n"
    return text


@blind("failing", "quality regressing", "mode collapse", rows=64, since=(127500, 142500))
def biggan_that_collapses_late(run: Rows) -> str:
    """BigGAN-PyTorch's log of scores, no losses: IS 92 and FID 9 until 135,000, then all is lost within 10,000."""
    part = np.arange(run.rows) / (run.rows - 1)
    lost = np.clip((run.every(2500, 2500) - 135000) / 12500, 0, 1)
    score = run.noisy((4 + 92 * (1 - np.exp(-4 * part))) * (1 - lost) + 6.5 * lost, 0.012)
    fid = run.noisy((8.8 + 130 * np.exp(-9 * part)) * (1 - lost) + 158 * lost, 0.015)
    return json_lines({"itr": run.every(2500, 2500), "IS_mean": score, "IS_std": score * 0.013, "FID": fid,
                       "_stamp": 1.55e9 + 3100.5 * np.arange(run.rows)}, digits=4)  # fmt: skip


@blind("failing", "no improvement", rows=500)
def fid_that_never_moves(run: Rows) -> str:
    """Lively hinge losses for 100,000 steps while FID stays between 240 and 265 and KID at 0.27: nothing is learnt."""
    real, fake = run.settling(0.05, 0.7, 12, plus=0.17), run.settling(-0.05, -0.7, 12, plus=0.17) + run.wander(0.15)
    return csv({
        "step": run.every(200, 200), "loss/D": hinge(-real) + hinge(fake), "loss/G": -fake + run.wander(0.1, 0),
        "metrics/fid": only(run.settling(256, 251, 3, times=0.02), 20),
        "metrics/kid": only(run.settling(0.275, 0.272, 3, times=0.03), 20),
    })  # fmt: skip


@blind("failing", "labels ignored by G", rows=600)
def acgan_whose_g_ignores_the_classes(run: Rows) -> str:
    """Ten classes: real ones are recognised, generated ones never above chance: ln 10 and 10 % for the whole run."""
    real, fake = run.settling(0.1, 0.8, 9, plus=0.2), run.settling(-0.1, -0.9, 9, plus=0.2)
    return csv({
        "step": run.every(100), "d_adv_loss": softplus(-real) + softplus(fake), "g_adv_loss": softplus(-fake),
        "cls_loss_real": run.settling(2.3, 0.03, 20, times=0.2), "cls_loss_fake": run.settling(2.31, 2.31, plus=0.03),
        "cls_acc_real": np.minimum(1, run.settling(0.12, 0.99, 20, plus=0.008)),
        "cls_acc_fake": np.round(run.random.binomial(64, 0.1, run.rows) / 64, 6),
    })  # fmt: skip


# ------------------------------------------------------------------------------------------------- ambiguous


@blind("ambiguous", "too early to judge", rows=22)
def first_two_hundred_of_a_million_steps(run: Rows) -> str:
    """The start of a run: both losses move as all do at first."""
    real, fake = run.settling(0.0, 2.2, 2, plus=0.5), run.settling(0.0, -2.6, 2, plus=0.5)
    return printed("[step {at:07d}/1000000] d_loss: {d:.4f} g_loss: {g:.4f} (0.31 s/it)", at=run.every(10),
                   d=softplus(-real) + softplus(fake), g=softplus(-fake))  # fmt: skip


@blind("ambiguous", "D too strong", rows=1000)
def d_pulls_ahead_without_quality(run: Rows) -> str:
    """D's loss falls from 1.5 to 0.2 and G's rises to 3.7: so do good runs, and bad ones."""
    real, fake = run.settling(0.3, 3.6, 2, plus=0.6), run.settling(-0.4, -4.0, 2, plus=0.6)
    return csv(
        {"step": run.every(50), "D_loss": softplus(-real, 1.5) + softplus(fake, 1.5), "G_loss": softplus(-fake, 1.5)}
    )


@blind("ambiguous", "mode collapse", "missing modes", rows=160)
def fid_improves_while_recall_falls(run: Rows) -> str:
    """FID goes from 12 to 9 over the second half, recall from 0.46 to 0.24: sharper, and less varied."""
    return json_lines({
        "kimg": run.every(50, 50), "g_loss": run.settling(0.8, 1.7, 2, plus=0.06),
        "d_loss": run.settling(1.3, 0.78, 2, plus=0.05),
        "fid": run.through((0, 140), (0.1, 31), (0.5, 12), (1, 9), times=0.02),
        "precision": run.through((0, 0.3), (0.5, 0.62), (1, 0.79), times=0.01),
        "recall": run.through((0, 0.05), (0.25, 0.38), (0.5, 0.46), (1, 0.24), times=0.03),
    })  # fmt: skip


@blind("ambiguous", "oscillation", "mode cycling", rows=700)
def steady_swings_without_quality(run: Rows) -> str:
    """Losses swing with a period of 50 rows and neither grow nor fade; what the images do, nobody measured."""
    swing = np.sin(2 * np.pi * np.arange(run.rows) / 50 + run.wander(0.6, 0.99))
    real, fake = 0.8 + 0.7 * swing + run.wander(0.2, 0.3), -0.8 - 0.9 * swing + run.wander(0.2, 0.3)
    return printed(
        "Iter: {at}; D: {d:.4f}, G: {g:.4f}", at=run.every(50), d=softplus(-real) + softplus(fake), g=softplus(-fake)
    )
