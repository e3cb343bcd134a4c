"""What the papers and their authors' code have, beside which the site shows each recipe's own values.

Every value of others was read in the source that is named beside it, at the commit in the link, on 2026-11-28. Ours are
not written here where a knob says them: `site_tables` takes them from the recipe.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One value.

    Attributes:
        what: what it is.
        paper: the source's value.
        ours: the name of our knob, or of several with the same value; or our value in words, after a colon.
        why: where and why we differ; empty if both are the same.
    """

    what: str
    paper: str
    ours: str
    why: str = ""


@dataclass(frozen=True)
class Source:
    """The sources of a recipe, in Markdown.

    Attributes:
        seen: what was read.
        rows: the values.
        reported: the figure that the paper reports.
    """

    seen: str
    rows: tuple[Row, ...] = ()
    reported: str = ""


def _code(repository: str, commit: str, file: str) -> str:
    return f"[{repository}, {file}](https://github.com/{repository}/blob/{commit}/{file}), commit {commit}"


R3GAN = _code("brownvc/R3GAN", "19a7ddf", "train.py")
WGAN_GP = _code("igul222/improved_wgan_training", "fa66c57", "gan_cifar_resnet.py")
TORCH_DCGAN = _code("soumith/dcgan.torch", "6eaac63", "main.lua")
KERAS_GUIDE = _code("keras-team/keras-io", "0d5f327", "examples/generative/dcgan_overriding_train_step.py")

AVERAGE = "the saved generator is an average; `--ema 0` turns it off"
LAST_FAKES = ": the fakes of D's last update"
ONE_PASS = "one pass of G for both; `--no-shared-fakes` turns it off"
BETA2 = "Keras' default, as Radford et al. 2015 leave it"

_NO_FID = "None that can be compared: the paper is older than the Fréchet distance."


_R3GAN_RATES = "2e-4..5e-5:cosine@0k-20000k"


def _both_rates(reason: str = "") -> Row:
    return Row("learning rates", _R3GAN_RATES, "g_lr d_lr", reason)


def _rpgan_only(gamma: str, *rates: Row) -> tuple[Row, ...]:
    """R3GAN's CIFAR-10 values, for recipes that have its loss and other networks; with the rows of their rates."""
    other = "other networks and data"
    return (
        Row("objective", "rpgan", "objective"),
        Row("γ of R1 and R2", "0.05..0.005:cosine@0k-20000k", "r1 r2", gamma),
        *rates,
        Row("β1", "0", "beta1"),
        Row("β2", "0.9..0.99:cosine@0k-20000k", "beta2", "constant"),
        Row("batch", "512", "batch", other),
        Row("EMA half-life, kimg", "0..5000:cosine@0k-20000k", "ema", "shorter runs"),
    )


_TRIALS = "found by [trials](../log.md)"
_CIFAR_PRESET = (
    f"{R3GAN}: the preset CIFAR10. Of the paper this recipe has only the loss; networks, data and length are ours."
)

_WGAN_GP_ROWS = (
    Row("data", "cifar10", "data"),
    Row("objective", "wasserstein", "objective"),
    Row("λ of the gradient penalty", "10", "gp"),
    Row("updates of D for one of G", "5", "d_steps"),
    Row("z", "128", "latent"),
    Row("batch of D", "64", "batch"),
    Row("batch of G", "128, drawn anew", LAST_FAKES, ONE_PASS),
    Row(
        "learning rates",
        "2e-4, falling linearly to 0",
        "g_lr d_lr",
        "constant, as in the authors' gan_64x64.py; not compared",
    ),
    Row("β1", "0", "beta1"),
    Row("β2", "0.9", "beta2"),
    Row("EMA half-life, kimg", "none", "ema", AVERAGE),
)

SOURCES: dict[str, Source] = {
    "digits28": Source(
        _CIFAR_PRESET,
        (
            *_rpgan_only(
                _TRIALS,
                Row("learning rate of G", _R3GAN_RATES, "g_lr", "a run of a minute"),
                Row("learning rate of D", _R3GAN_RATES, "d_lr", "a run of a minute"),
            ),
            Row("penalties in every n-th update", "1", "penalty_every", "time on a CPU"),
        ),
    ),
    "digits": Source(_CIFAR_PRESET, _rpgan_only(_TRIALS, _both_rates("a run of a minute"))),
    "fast": Source(
        f"{_code('autonomousvision/projected-gan', 'e1c246b', 'train.py')}, and its folder pg_modules: the "
        "configuration "
        "fastgan. Of dos Santos et al. the idea of matching moments ([decision "
        "19](../decisions/0019-a-projected-gan-for-laptops.md)).",
        (
            Row("frozen network", "EfficientNet-Lite0, four scales", ": `lite0`, three scales", "time on a CPU"),
            Row(
                "images in it",
                "enlarged to 224 pixels if smaller",
                ": enlarged by a whole factor if small",
                "time on a CPU",
            ),
            Row(
                "heads of D",
                "one a scale, to 8×8, at most 512 channels",
                ": one a scale, to 4×4, 64 channels, and one on the pixels",
                "without the one on the pixels two colours and a checkerboard ([log](../log.md))",
            ),
            Row("batch norm in the heads", "yes", ": yes"),
            Row("spectral norm", "yes", "spectral_norm"),
            Row("objective", "hinge", "objective"),
            Row(
                "G",
                "FastGAN, z 256",
                ": a plain stack of convolutions, z 64",
                "the gates take half of the speed, and users report grid patterns from its skip-layer excitation",
            ),
            Row("augmentation", "colour, translation, cutout", "augment", "not compared"),
            Row("moment matching", "none", "moments", "more variety ([log](../log.md))"),
            Row("batch", "64", "batch", "time on a CPU"),
            Row("learning rate of G", "2e-4", "g_lr", "a run of ten minutes"),
            Row("learning rate of D", "2e-4", "d_lr", "better than that of G ([log](../log.md))"),
            Row("β1", "0", "beta1"),
            Row("β2", "0.99", "beta2"),
            Row("EMA half-life, kimg", "20 (10/32 of the batch)", "ema", "a run of ten minutes"),
            Row("EMA, at most a part of the images", "0.05", "ema_warmup"),
            Row("length", "10,000 kimg (README)", ": ten minutes, some 80 kimg at 64×64", "what a laptop can do"),
        ),
        "FID 1.59 on LSUN church and 3.39 on FFHQ (read in [a list of the paper's "
        "results](https://www.wizwand.com/paper/68fa6b2f1e209131cea2cb1e)). "
        "It sees through ImageNet's features, as D does.",
    ),
    "mlp": Source(
        f"{_code('eriklindernoren/Keras-GAN', '01c19e4', 'gan/gan.py')}. The networks of Goodfellow et al. 2014 are "
        "others "
        f"({_code('goodfeli/adversarial', '1720041', 'mnist.yaml')}): uniform z, two layers of 1,200 ReLU and a "
        "sigmoid in G, two of 240 maxout "
        "units with dropout in D, SGD with momentum, batch 100.",
        (
            Row("data", "mnist", "data"),
            Row("objective", "non-saturating", "objective"),
            Row("z, normal", "100", "latent"),
            Row("hidden units of G", "256, 512, 1024", "g_widths", "half as wide"),
            Row("hidden units of D", "512, 256", "d_widths"),
            Row("normalisation of G", "batch", "g_norm"),
            Row("output of G", "tanh", "output"),
            Row("batch", "32; D's with 16 real and 16 generated images", "batch", "not compared"),
            Row("learning rates", "2e-4", "g_lr d_lr"),
            Row("β1", "0.5", "beta1"),
            Row("β2", "not set", "beta2", BETA2),
            Row("length, kimg", "480", "kimg", "a longer run"),
            Row("EMA half-life, kimg", "none", "ema", AVERAGE),
        ),
        "None.",
    ),
    "mlp-stable": Source(_CIFAR_PRESET, _rpgan_only(_TRIALS, _both_rates("a shorter run"))),
    "cnn": Source(
        f"{KERAS_GUIDE}. The rates are those of Radford et al. 2015 ([dcgan](#dcgan)); batch norm, which they have, "
        "is left out as in the guide.",
        (
            Row("data", "mnist", "data"),
            Row("objective", "non-saturating, labels with noise up to 0.05", "objective", "no noise"),
            Row("z, normal", "128", "latent", "as Radford et al. 2015"),
            Row("dense layer of G", "7×7×128", ": 7×7×256", "channels double where sides are halved"),
            Row("transposed 4×4 convolutions of G", "128, 128", ": 128, 64", "channels double where sides are halved"),
            Row("last layer of G", "7×7, sigmoid", ": 7×7, tanh", "`cnn-sigmoid` has the sigmoid"),
            Row("convolutions of D", "3×3, 64 and 128", ": 4×4, 64 and 128", "as in dcgan.torch"),
            Row("head of D", "maximum over the map, dense layer", ": dense layer", "all of the map counts"),
            Row("batch", "64", "batch", "as Radford et al. 2015"),
            Row("learning rates", "3e-4", "g_lr d_lr", "as Radford et al. 2015"),
            Row("β1", "not set", "beta1", "as Radford et al. 2015"),
            Row("length, kimg", "2,100", "kimg", "minutes on a CPU"),
            Row("EMA half-life, kimg", "none", "ema", AVERAGE),
        ),
        "None.",
    ),
    "cnn-sigmoid": Source(
        f"{KERAS_GUIDE}, and for the dropout {_code('eriklindernoren/Keras-GAN', '01c19e4', 'dcgan/dcgan.py')}. The "
        "rest is as in [cnn](#cnn).",
        (
            Row("output of G", "sigmoid", "output"),
            Row("dropout in D", "0.25 (Keras-GAN), none (guide)", "dropout", "not compared"),
        ),
        "None.",
    ),
    "cnn-stable": Source(
        _CIFAR_PRESET, _rpgan_only("smaller ones fail at some seeds ([log](../log.md))", _both_rates("another length"))
    ),
    "transformer": Source(
        "No source that we know has these networks. From Vaswani et al. 2017 is the multi-head attention. The rates "
        "are those of Radford et al. 2015 "
        "([dcgan](#dcgan))."
    ),
    "transformer-stable": Source(
        _CIFAR_PRESET,
        (
            *_rpgan_only(_TRIALS, _both_rates("another length")),
            Row("penalties in every n-th update", "1", "penalty_every", "time on a CPU"),
        ),
    ),
    "transformer-modern": Source(
        "Of ViTGAN we read the abstract, not its settings, and found no code of its authors. The loss beside "
        f"{R3GAN}: the preset CIFAR10.",
        _rpgan_only("another D; not compared", _both_rates("constant; not compared")),
        "ViTGAN: FID 6.66 on CIFAR-10 (first version, as "
        "[listed](https://sotaverified.org/papers/vitgan-training-gans-with-vision-transformers)).",
    ),
    "dcgan": Source(
        f"{_code('Newmu/dcgan_code', 'e6e9cec', 'faces/train_uncond_dcgan.py')} (Theano), and {TORCH_DCGAN} (Torch), "
        "both by authors of the paper.",
        (
            Row("data", "350,000 faces, 64×64", ": CelebA, 64×64", "other faces"),
            Row("z", "100, uniform (Torch: normal)", ": 100, normal", "as in Torch"),
            Row(
                "channels of G's largest map", "128 (Torch: 64)", "g_width", "as in Theano, and in the paper's figure 1"
            ),
            Row("channels of D's first layer", "128 (Torch: 64)", "d_width", "as in Theano"),
            Row("kernels", "5×5 (Torch: 4×4)", ": 4×4", "as in Torch"),
            Row("normalisation of G and D", "batch", "g_norm d_norm"),
            Row("initial weights", "N(0, 0.02²)", ": N(0, 0.02²)"),
            Row("objective", "non-saturating", "objective"),
            Row("batch", "128 (Torch: 64)", "batch", "as in the paper and in Theano"),
            Row("learning rates", "2e-4", "g_lr d_lr"),
            Row("β1", "0.5", "beta1"),
            Row("β2", "not set in Torch", "beta2", "Adam's default"),
            Row("weight decay", "1e-5 (Torch: none)", ": none", "as in Torch"),
            Row("length, kimg", "4,375 for D", "kimg", "about as long"),
            Row("EMA half-life, kimg", "none", "ema", AVERAGE),
        ),
        _NO_FID,
    ),
    "wgan": Source(
        f"{_code('martinarjovsky/WassersteinGAN', 'f7a01e8', 'main.py')}.",
        (
            Row("data", "LSUN bedrooms, 64×64", ": CIFAR-10, 32×32", "smaller and quicker to have"),
            Row(
                "networks",
                "DCGAN with 64 channels, batch norm in both",
                ": upsampling G with batch norm, D without",
                "a logit should not depend on the other images",
            ),
            Row("z", "100", "latent", "as in the residual networks"),
            Row("objective", "wasserstein", "objective"),
            Row("clipping of weights", "0.01", "clip"),
            Row(
                "updates of D for one of G",
                "5; 100 in the first 25 rounds and in every 500th",
                "d_steps",
                "always the same",
            ),
            Row("batch", "64", "batch"),
            Row("batch of G", "64, drawn anew", LAST_FAKES, ONE_PASS),
            Row("optimiser", "rmsprop", "optimiser"),
            Row("learning rates", "5e-5", "g_lr d_lr"),
            Row("EMA half-life, kimg", "none", "ema", AVERAGE),
        ),
        _NO_FID,
    ),
    "wgan-gp": Source(
        f"{WGAN_GP}. As it stands, that file trains with classes (AC-GAN); these are its values without them.",
        (
            *_WGAN_GP_ROWS,
            Row("channels of G's blocks", "128", "g_width"),
            Row("channels of D's blocks", "128", "d_width"),
            Row("noise on real pixels", "uniform, up to 1/128", ": none", "not compared"),
            Row("length, kimg", "32,000 (100,000 updates of G)", "kimg", "a third"),
        ),
        "Inception score 7.86 on CIFAR-10 (as "
        "[quoted](https://github.com/pfnet-research/chainer-gan-lib/blob/cf9efba/README.md)).",
    ),
    "wgan-conditional": Source(
        f"{WGAN_GP}.",
        (
            *_WGAN_GP_ROWS,
            Row("networks", "residual, 128 channels", ": plain, 64 channels", "110 images/s on two CPU cores, for 19"),
            Row(
                "classes in G",
                "class-conditional batch norm",
                ": the same, and concatenated to z",
                "an effect from the start",
            ),
            Row(
                "classes in D",
                "a second head that names the class (AC-GAN)",
                ": projection head",
                "Miyato & Koyama 2018",
            ),
            Row("draw of classes", "as in the data", ": every class equally often", "no difference on CIFAR-10"),
            Row("length, kimg", "32,000 (100,000 updates of G)", "kimg", "a sixth"),
        ),
    ),
    "sngan": Source(
        f"{_code('pfnet-research/sngan_projection', 'e84b1a5', 'configs/sn_cifar10_unconditional.yml')}, and its "
        "networks for 32×32.",
        (
            Row("data", "cifar10", "data"),
            Row("objective", "hinge", "objective"),
            Row("spectral norm of D", "yes", "spectral_norm"),
            Row("updates of D for one of G", "5", "d_steps"),
            Row("z", "128", "latent"),
            Row(
                "channels of G's blocks",
                "256",
                "g_width",
                "those of WGAN-GP, a quarter of the operations; `--g-width 256`",
            ),
            Row("channels of D's blocks", "128", "d_width"),
            Row(
                "last map of D", "summed, no bias", ": averaged, bias", "the logits' scale does not depend on the size"
            ),
            Row("batch of D", "64", "batch"),
            Row("batch of G", "128, drawn anew", LAST_FAKES, ONE_PASS),
            Row("learning rates", "2e-4, falling linearly to 0", "g_lr d_lr", "constant, and an average of G"),
            Row("β1", "0", "beta1"),
            Row("β2", "0.9", "beta2"),
            Row("length, kimg", "16,000 (50,000 updates of G)", "kimg", "shorter"),
            Row("EMA half-life, kimg", "none", "ema", AVERAGE),
        ),
        "FID 21.7, Inception score 8.22 on CIFAR-10 (as "
        "[listed](https://paperswithcode.com/paper/spectral-normalization-for-generative)).",
    ),
    "stylegan": Source(
        f"{_code('NVlabs/stylegan', '1e0d5c7', 'train.py')}: the configuration for FFHQ at 1024×1024; the schedule "
        "in training/training_loop.py.",
        (
            Row("data", "FFHQ, 1024×1024", ": CIFAR-10, 32×32", "what can be trained without a GPU"),
            Row("mirrored", "yes", "mirror"),
            Row("z and w", "512", "latent", "a small StyleGAN"),
            Row("layers of the mapping network", "8", "mapping_layers", "a small StyleGAN"),
            Row("their learning rate, as a factor", "0.01", ": 0.01"),
            Row("channels", "512 up to 32×32, then halved", ": 256 up to 16×16, then halved", "a small StyleGAN"),
            Row("first size", "8×8", ": 4×4", "as ProGAN"),
            Row(
                "each size",
                "600 kimg fading in, 600 stable",
                ": 250 fading in, 250 stable, at 3,000 kimg in all",
                "a shorter run",
            ),
            Row("Adam's moments at a new size", "forgotten", ": kept", "not compared"),
            Row("style mixing", "0.9", "mixing_prob"),
            Row("objective", "non-saturating", "objective"),
            Row("γ of R1", "10", "r1", "other sizes; not compared"),
            Row("learning rates up to 64×64", "1e-3", "g_lr d_lr"),
            Row("β1", "0", "beta1"),
            Row("β2", "0.99", "beta2"),
            Row("batch at 32×32", "64", "batch"),
            Row("batch at 4×4 to 16×16", "512 to 128", "batch", "one batch throughout"),
            Row("EMA half-life, kimg", "10", "ema"),
            Row("length, kimg", "25,000", "kimg", "a small StyleGAN"),
        ),
        "FID 4.40 on FFHQ; the authors' README measures 4.4159.",
    ),
    "msg": Source(
        f"{_code('akanimax/BMSG-GAN', '863b1f3', 'sourcecode/train.py')}: an author's MSG-GAN on ProGAN's networks, "
        "whose README says that "
        "it is not the paper's code. The paper's other variant, on StyleGAN's, is akanimax/msg-stylegan-tf.",
        (
            Row("objective", "rahinge", "objective"),
            Row("z", "512", "latent", "smaller networks"),
            Row("channels", "512 up to 32×32, then halved", ": 256 up to 16×16, then halved", "smaller networks"),
            Row(
                "images in D",
                "after a 1×1 convolution",
                ": as they are",
                "the paper's φ_simple, its best for ProGAN's networks",
            ),
            Row("mirrored", "yes", "mirror"),
            Row("batch", "20", "batch", "not compared"),
            Row("learning rates", "3e-3", "g_lr d_lr"),
            Row("optimiser", "adam", "optimiser"),
            Row("β1", "0", "beta1"),
            Row("β2", "0.99", "beta2"),
            Row("EMA", "0.999 in each update", ": half-life of 10 kimg", "14 kimg at a batch of 20"),
        ),
        "MSG-StyleGAN: FID 5.80 on FFHQ, 5.20 on LSUN church "
        "([README](https://github.com/akanimax/msg-stylegan-tf/blob/41fb4eb/README.md)).",
    ),
    "r3gan": Source(
        f"{R3GAN}: the preset CIFAR10, and the command of its README. The duration is Table 9's of the paper; the "
        "code's own default is "
        "10,000,000 kimg.",
        (
            Row("data", "cifar10", "data"),
            Row("mirrored", "yes", "mirror"),
            Row("with classes", "yes", "conditional"),
            Row("z", "64", "latent"),
            Row("channels", "768", "width"),
            Row("blocks a size", "2", "blocks"),
            Row("channels a group", "16", "group_size"),
            Row("objective", "rpgan", "objective"),
            Row("γ of R1 and R2", "0.05..0.005:cosine@0k-20000k", "r1 r2"),
            Row("batch", "512", "batch"),
            _both_rates(),
            Row("β1", "0", "beta1"),
            Row("β2", "0.9..0.99:cosine@0k-20000k", "beta2"),
            Row("EMA half-life, kimg", "0..5000:cosine@0k-20000k", "ema"),
            Row("probability of ADA", "0..0.55:cosine@0k-20000k", "augment_p"),
            Row("ADA's colours", "at half of it", ": at it", "one probability for all"),
            Row("ADA's resampling", "with a wavelet filter", ": bilinear", "left out"),
            Row("reals in G's update", "drawn anew", ": those of D's last update", "one pass less"),
            Row(
                "activations",
                "bfloat16 at the three largest sizes",
                ": bfloat16 where the GPU computes in it, else float32",
                "runs on any device",
            ),
            Row("length, kimg", "250,000", "kimg"),
        ),
        "FID 1.96 on CIFAR-10 (Table 6). We have not trained it to the end.",
    ),
    "r3gan-short": Source(
        f"{R3GAN}: the preset CIFAR10.",
        (
            Row("with classes", "yes", "conditional", "a simpler start"),
            Row("γ of R1 and R2", "0.05..0.005:cosine@0k-20000k", "r1 r2", "the burn-in is a fifth of the run"),
            _both_rates("the burn-in is a fifth of the run"),
            Row("β2", "0.9..0.99:cosine@0k-20000k", "beta2", "the burn-in is a fifth of the run"),
            Row(
                "EMA half-life, kimg",
                "0..5000:cosine@0k-20000k",
                "ema",
                "the burn-in is a fifth of the run; a shorter half-life",
            ),
            Row("augmentation", "ada", "augment", "for few images shown"),
            Row("batch", "512", "batch"),
            Row("length, kimg", "250,000", "kimg", "our own, shorter schedule; not measured to the end"),
        ),
    ),
    "custom": Source(
        f"{TORCH_DCGAN}, for all but the networks that are yours.",
        (
            Row("z", "100", "latent", "not compared"),
            Row("channels of G and D", "64", ": 64"),
            Row("objective", "non-saturating", "objective"),
            Row("batch", "64", "batch"),
            Row("learning rates", "2e-4", "g_lr d_lr"),
            Row("β1", "0.5", "beta1"),
            Row("EMA half-life, kimg", "none", "ema", AVERAGE),
        ),
    ),
}
