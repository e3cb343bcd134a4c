"""The two transformer families: parameter counts, attention against PyTorch's, positions, styles, any image size."""

import copy
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.config.families import Transformer, ViT
from ganvas.game.objectives import zero_centred_penalty
from ganvas.networks import Shape, count_flops, count_parameters, transformer, vit

CLASSIC = Transformer(latent=6, token_width=8, heads=2, head_width=6)
MODERN = ViT(latent=6, token_width=16, depth=2, heads=2, d_width=4)
FAMILIES = pytest.mark.parametrize(
    ("family", "config"), [(transformer, CLASSIC), (vit, MODERN)], ids=["classic", "vit"]
)


def pair(family: ModuleType, config: Any, shape: Shape) -> tuple[Any, Any]:
    torch.manual_seed(0)
    return family.Generator(config, shape), family.Discriminator(config, shape)


@FAMILIES
@pytest.mark.parametrize(
    "size", [(8, 8), (8, 23), (25, 40), (28, 28), (32, 32), (48, 64), (65, 64), (8, 65), (128, 8), (16, 256)]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("classes", [0, 3])
def test_any_size_channels_and_classes(
    family: ModuleType, config: Any, size: tuple[int, int], channels: int, classes: int
) -> None:
    generator, discriminator = pair(family, config, Shape(channels, *size, classes))
    labels = torch.tensor([0, 2]) if classes else None
    images = generator(torch.randn(2, 6), labels)
    assert images.shape == (2, channels, *size)
    assert images.abs().max() <= 1
    assert discriminator(images, labels).shape == (2,)


@FAMILIES
def test_class_affects_both_networks(family: ModuleType, config: Any) -> None:
    generator, discriminator = pair(family, config, Shape(1, 16, 16, 3))
    z = torch.randn(1, 6)
    one, two = (generator(z, torch.tensor([c])) for c in (0, 1))
    assert not torch.equal(one, two)
    assert discriminator(one, torch.tensor([0])) == discriminator(one, torch.tensor([1]))  # it starts at 0
    nn.init.normal_(discriminator.head.embedding.weight)
    assert discriminator(one, torch.tensor([0])) != discriminator(one, torch.tensor([1]))


@FAMILIES
@pytest.mark.parametrize("classes", [0, 3])
def test_d_can_be_differentiated_twice(family: ModuleType, config: Any, classes: int) -> None:
    _, discriminator = pair(family, config, Shape(3, 25, 40, classes))
    for weight in discriminator.parameters():
        nn.init.normal_(weight, std=0.2)  # instead of initial zeros
    images = torch.randn(4, 3, 25, 40, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0]) if classes else None
    zero_centred_penalty(images, discriminator(images, labels)).mean().backward()
    for name, parameter in discriminator.named_parameters():
        if parameter.ndim > 1:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


@FAMILIES
def test_logits_of_d_are_independent(family: ModuleType, config: Any) -> None:
    _, discriminator = pair(family, config, Shape(1, 16, 16))
    images = torch.randn(4, 1, 16, 16)
    assert discriminator.batch_dependent is False
    assert torch.allclose(discriminator(images)[:1], discriminator(images[:1]), atol=1e-6)


@FAMILIES
def test_token_affects_only_its_own_patch(family: ModuleType, config: Any) -> None:
    generator, _ = pair(family, config, Shape(1, 28, 20))
    z = torch.randn(1, 6)
    before = generator(z)[0, 0]
    last = generator.dense if family is transformer else generator.last_norm
    last.register_forward_hook(lambda _, __, tokens: tokens + torch.eye(35)[5 * 2 + 3][:, None])  # of 7×5 tokens
    rows, columns = (generator(z)[0, 0] != before).nonzero().T
    assert 4 <= rows.min() < 8 + 2 <= rows.max() < 16
    assert 8 <= columns.min() < 12 + 2 <= columns.max() < 20


@FAMILIES
def test_images_stay_in_range_for_any_weights(family: ModuleType, config: Any) -> None:
    generator, _ = pair(family, config, Shape(3, 16, 16))
    generator.to_image.weight.data *= 1000
    assert generator(torch.randn(2, 6)).abs().max() == 1


@FAMILIES
def test_copy_gives_the_same_output_and_the_state_is_plain_tensors(family: ModuleType, config: Any) -> None:
    shape = Shape(1, 20, 12)
    for network, x in zip(pair(family, config, shape), (torch.randn(3, 6), torch.randn(3, 1, 20, 12)), strict=True):
        assert torch.equal(network(x), copy.deepcopy(network)(x))
        assert all(type(value) is Tensor and value.is_floating_point() for value in network.state_dict().values())
        fresh = type(network)(config, shape)
        assert not torch.equal(network(x), fresh(x))
        fresh.load_state_dict(network.state_dict())
        assert torch.equal(network(x), fresh(x))


def test_flops_of_vit_are_proportional_to_the_batch() -> None:
    generator, _ = pair(vit, MODERN, Shape(1, 16, 16))
    assert count_flops(generator, torch.randn(4, 6)) == 2 * count_flops(generator, torch.randn(2, 6)) > 0


def test_classic_networks_have_the_published_sizes() -> None:
    generator, discriminator = pair(transformer, Transformer(), Shape(1, 28, 28))
    assert (count_parameters(generator), count_parameters(discriminator)) == (1_052_737, 5_996_929)
    assert [count_parameters(part) for part in generator.token_layers] == [633_472 + 6_272, 263_808, 256]
    assert [count_parameters(part) for part in discriminator.token_layers] == [4_923_520 + 6_272, 263_808, 256]


@pytest.mark.parametrize(
    ("size", "grid"), [((28, 28), (7, 7)), ((8, 8), (2, 2)), ((32, 25), (8, 7)), ((33, 64), (5, 8)), ((8, 65), (1, 5))]
)
def test_classic_grid_is_a_quarter_of_the_image_and_at_most_8(size: tuple[int, int], grid: tuple[int, int]) -> None:
    generator, discriminator = pair(transformer, CLASSIC, Shape(1, *size))
    assert generator.grid == grid
    assert discriminator.token_layers[0].pos_embed.shape == (grid[0] * grid[1], 8)


def test_classic_networks_are_initialised_as_in_keras() -> None:
    generator, _ = pair(transformer, Transformer(), Shape(1, 28, 28))
    tokens = generator.token_layers[0]
    assert tokens.pos_embed.abs().max() <= 0.05
    assert abs(tokens.pos_embed.std() - 0.05 / 3**0.5) < 0.001
    for layer in (m for m in generator.modules() if isinstance(m, nn.Linear)):
        bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
        assert 0.98 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()
    assert {m.eps for m in generator.modules() if isinstance(m, nn.LayerNorm)} == {1e-3}


def test_dropout_in_the_classic_d_is_random_only_in_training() -> None:
    _, discriminator = pair(transformer, Transformer(token_width=8, dropout=0.5), Shape(1, 8, 8))
    images = torch.randn(2, 1, 8, 8)
    assert not torch.equal(discriminator(images), discriminator(images))
    discriminator.eval()
    assert torch.equal(discriminator(images), discriminator(images))


def test_attention_equals_that_of_pytorch() -> None:
    torch.manual_seed(0)
    ours, reference = transformer.Attention(12, 3, 4), nn.MultiheadAttention(12, 3, batch_first=True)
    reference.in_proj_weight.data = torch.cat([layer.weight for layer in (ours.queries, ours.keys, ours.values)])
    reference.in_proj_bias.data = torch.cat([layer.bias for layer in (ours.queries, ours.keys, ours.values)])
    reference.out_proj.load_state_dict(ours.out.state_dict())
    tokens = torch.randn(2, 5, 12)
    assert torch.allclose(ours(tokens), reference(tokens, tokens, tokens, need_weights=False)[0], atol=1e-6)


def test_heads_may_be_of_any_width() -> None:
    torch.manual_seed(0)
    attention, tokens = transformer.Attention(6, 2, 5), torch.randn(3, 7, 6)
    q, k, v = (
        layer(tokens).view(3, 7, 2, 5).transpose(1, 2)
        for layer in (attention.queries, attention.keys, attention.values)
    )
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(3, 7, 10)
    assert torch.allclose(attention(tokens), attention.out(expected), atol=1e-6)


def test_only_positions_distinguish_classic_tokens() -> None:
    torch.manual_seed(0)
    tokens, attention = transformer.TokenEmbedding(6, 4, 8, 0.05), transformer.Attention(8, 2, 6)
    order = torch.tensor([2, 0, 3, 1])
    output = attention(tokens(torch.ones(2, 6)))
    assert torch.allclose(attention(tokens(torch.ones(2, 6))[:, order]), output[:, order], atol=1e-6)
    tokens.pos_embed.data = tokens.pos_embed[order].clone()
    assert not torch.allclose(attention(tokens(torch.ones(2, 6))), output, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "grid"),
    [((28, 28), (7, 7)), ((32, 32), (8, 8)), ((8, 8), (4, 4)), ((64, 48), (16, 12)), ((256, 256), (16, 16))],
)
def test_grid_is_finer_for_larger_images(size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert pair(vit, MODERN, Shape(1, *size))[0].grid == grid


def test_vit_attention_equals_that_of_pytorch_with_a_relative_position_bias() -> None:
    torch.manual_seed(0)
    ours, reference = vit.Attention(12, 3, (2, 3), gain=1.0), nn.MultiheadAttention(12, 3, batch_first=True)
    reference.in_proj_weight.data, reference.in_proj_bias.data = ours.qkv.weight, ours.qkv.bias
    reference.out_proj.load_state_dict(ours.out.state_dict())
    nn.init.normal_(ours.relative_bias)
    tokens = torch.randn(2, 6, 12)
    mask = torch.empty(3, 6, 6)
    for one in range(6):
        for other in range(6):
            down, right = other // 3 - one // 3, other % 3 - one % 3
            mask[:, one, other] = ours.relative_bias[:, (down + 1) * 5 + right + 2].detach()
    expected = reference(tokens, tokens, tokens, attn_mask=mask.repeat(2, 1, 1), need_weights=False)[0]
    assert torch.allclose(ours(tokens), expected, atol=1e-6)
    order = torch.tensor([2, 0, 3, 1, 5, 4])
    assert not torch.allclose(ours(tokens[:, order]), ours(tokens)[:, order], atol=1e-3)
    nn.init.zeros_(ours.relative_bias)
    assert torch.allclose(ours(tokens[:, order]), ours(tokens)[:, order], atol=1e-6)


def test_output_depends_on_the_order_of_tokens() -> None:
    generator, _ = pair(vit, MODERN, Shape(1, 16, 16))
    z = torch.randn(1, 6)
    before = generator(z)
    generator.tokens.data = generator.tokens.flip(0).clone()
    assert not torch.allclose(generator(z), before, atol=1e-2)


def test_modulation_is_a_layer_norm_with_scale_and_shift_from_the_style() -> None:
    torch.manual_seed(0)
    norm, tokens, w = vit.ModulatedLayerNorm(64), 3 + 5 * torch.randn(2, 9, 64), torch.randn(2, 64)
    plain = F.layer_norm(tokens, (64,))
    assert torch.equal(norm(tokens, torch.zeros(2, 64)), plain)
    assert not torch.allclose(norm(tokens, w)[0], norm(tokens, w.flip(0))[0], atol=0.5)
    nn.init.zeros_(norm.affine.weight)
    assert torch.equal(norm(tokens, w), plain)
    norm.affine.bias.data = torch.cat([torch.full((64,), 2.0), torch.full((64,), 7.0)])
    assert torch.allclose(norm(tokens, w), 3 * plain + 7, atol=1e-5)


def test_style_affects_every_block() -> None:
    generator, _ = pair(vit, MODERN, Shape(1, 16, 16))
    norms = [module for module in generator.modules() if isinstance(module, vit.ModulatedLayerNorm)]
    assert len(norms) == 2 * MODERN.depth + 1
    for norm in norms:
        nn.init.zeros_(norm.affine.weight)
    z = torch.randn(2, 6)
    assert torch.equal(*generator(z))  # z has no other input
    for norm in norms:
        nn.init.normal_(norm.affine.weight)
        one, two = generator(z)
        assert not torch.allclose(one, two, atol=1e-3)
        nn.init.zeros_(norm.affine.weight)


def test_z_has_more_effect_than_the_class_at_first() -> None:
    generator, _ = pair(vit, ViT(), Shape(1, 16, 16, 10))
    z, labels = torch.randn(16, 64), torch.arange(16) % 10
    by_z, by_class = (
        generator(z, labels * 0).var(dim=0).mean(),
        generator(z[:1].expand(16, -1), labels).var(dim=0).mean(),
    )
    assert 0 < by_class < by_z / 2


def test_vit_networks_start_at_a_moderate_scale() -> None:
    generator, discriminator = pair(vit, ViT(d_width=16), Shape(3, 32, 32))
    images, noise = generator(torch.randn(8, 64)), torch.rand(8, 3, 32, 32) * 2 - 1
    assert 0.3 < images.std() < 0.8
    assert images.std(dim=0).mean() > 0.1  # z has an effect from the first step on
    assert discriminator(noise).abs().max() < 1
    branches = [module.branch for module in discriminator.modules() if isinstance(module, vit.ResidualDownBlock)]
    assert [branch(torch.ones(1, c, 5, 5)).any() for branch, c in zip(branches, (16, 32, 64), strict=True)] == [
        False
    ] * 3
