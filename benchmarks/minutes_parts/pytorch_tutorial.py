"""The network and loop of PyTorch's DCGAN tutorial (pytorch.org/tutorials/beginner/dcgan_faces_tutorial).

As its readers run it: its widths, batch, rates, initialisation and loss, at 64×64, with statistics read in every round.
In its favour, pictures are decoded before the clock starts; those of another size are resized to 64×64 in each batch,
as its transforms do, and the generated ones back. There is no weight average, and batch norm samples in training mode.
"""

import numpy as np
import torch
from marks import Marks, read_arguments
from torch import Tensor, nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader

image_size, batch_size, nz, ngf, ndf, lr, beta1 = 64, 128, 100, 64, 64, 0.0002, 0.5
pictures, folder, seed, minutes = read_arguments()
nc, size = pictures.shape[1], pictures.shape[2:]
torch.set_num_threads(2)
torch.manual_seed(seed)


def weights_init(m: nn.Module) -> None:
    if isinstance(m, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(m.weight, 0.0, 0.02)
    elif isinstance(m, nn.BatchNorm2d):
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.constant_(m.bias, 0)


def up(before: int, after: int, *geometry: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(before, after, *geometry, bias=False), nn.BatchNorm2d(after), nn.ReLU(True)]


def down(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2, inplace=True)]


netG = nn.Sequential(
    *up(nz, ngf * 8, 4, 1, 0),
    *up(ngf * 8, ngf * 4, 4, 2, 1),
    *up(ngf * 4, ngf * 2, 4, 2, 1),
    *up(ngf * 2, ngf, 4, 2, 1),
    nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False),
    nn.Tanh(),
)
netD = nn.Sequential(
    nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
    nn.LeakyReLU(0.2, inplace=True),
    *down(ndf, ndf * 2),
    *down(ndf * 2, ndf * 4),
    *down(ndf * 4, ndf * 8),
    nn.Conv2d(ndf * 8, 1, 4, 1, 0, bias=False),
    nn.Sigmoid(),
)
netG.apply(weights_init)
netD.apply(weights_init)


def resize(images: Tensor, to: tuple[int, ...]) -> Tensor:
    return images if images.shape[2:] == to else F.interpolate(images, to, mode="bilinear", antialias=True)


def transform(batch: list[Tensor]) -> Tensor:
    """Resize, ToTensor and Normalize(0.5, 0.5), of a whole batch."""
    return resize(torch.stack(batch).float() / 127.5 - 1, (image_size, image_size))


@torch.no_grad()
def sample(n: int) -> np.ndarray:
    noise = torch.randn(n, nz, 1, 1, generator=torch.Generator().manual_seed(0))
    fake = torch.cat([resize(netG(part), size) for part in noise.split(64)])
    return ((fake + 1) * 127.5).round().clamp(0, 255).byte().numpy()


def train() -> None:
    dataloader = DataLoader(torch.from_numpy(pictures), batch_size, shuffle=True, collate_fn=transform)  # type: ignore[arg-type]
    criterion = nn.BCELoss()
    real_label, fake_label = 1.0, 0.0
    optimizerD = optim.Adam(netD.parameters(), lr=lr, betas=(beta1, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=lr, betas=(beta1, 0.999))
    marks = Marks(folder, minutes, sample)
    while True:
        for real in dataloader:
            # Update D: maximise log D(x) + log(1 - D(G(z)))
            netD.zero_grad()
            b_size = real.size(0)
            label = torch.full((b_size,), real_label)
            output = netD(real).view(-1)
            errD_real = criterion(output, label)
            errD_real.backward()
            D_x = output.mean().item()
            fake = netG(torch.randn(b_size, nz, 1, 1))
            label.fill_(fake_label)
            output = netD(fake.detach()).view(-1)
            errD_fake = criterion(output, label)
            errD_fake.backward()
            D_G_z1 = output.mean().item()
            optimizerD.step()
            # Update G: maximise log D(G(z))
            netG.zero_grad()
            label.fill_(real_label)
            output = netD(fake).view(-1)
            errG = criterion(output, label)
            errG.backward()
            optimizerG.step()
            print(f"D(x) {D_x:.3f} D(G(z)) {D_G_z1:.3f} loss {errD_real + errD_fake:.3f} {errG:.3f}")
            if marks.after_round(b_size):
                return


train()
