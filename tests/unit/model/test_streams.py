import pytest
import torch
from torch import Tensor, nn

from blitznet.model.downscale import DownscaleStep, DownscaleStream
from blitznet.model.upscale import UpscaleStream
from blitznet.model_info import BLITZNET300, ModelConfig

STAGE_CHANNELS = [4, 8, 16]


def stages_of(config: ModelConfig, rng: torch.Generator) -> list[Tensor]:
    sizes = config.level_sizes[:3]
    return [
        torch.randn(2, channels, size, size, generator=rng)
        for channels, size in zip(STAGE_CHANNELS, sizes, strict=True)
    ]


@pytest.mark.parametrize("size", [64, 100, 130, 300])
def test_skips_have_the_sizes_of_the_levels_and_the_channels_that_they_say(
    tiny_config: ModelConfig, rng: torch.Generator, size: int
) -> None:
    config = tiny_config.model_copy(update={"image_size": size})
    stream = DownscaleStream(config, STAGE_CHANNELS)
    skips = stream(stages_of(config, rng))
    expected = [(2, c, s, s) for c, s in zip(stream.channels, config.level_sizes, strict=True)]
    assert [tuple(skip.shape) for skip in skips] == expected
    assert set(stream.channels[3:]) == {32 if len(stream.steps) else 16}


def test_first_skips_are_the_stages_and_the_last_is_the_mean_of_the_one_before(
    tiny_config: ModelConfig, rng: torch.Generator
) -> None:
    config = tiny_config.model_copy(update={"image_size": 130})
    stages = stages_of(config, rng)
    copies = [stage.clone() for stage in stages]
    skips = DownscaleStream(config, STAGE_CHANNELS)(stages)
    assert all(torch.equal(skip, copy) for skip, copy in zip(skips, copies, strict=False))
    torch.testing.assert_close(skips[-1][:, :, 0, 0], skips[-2].flatten(2).mean(dim=2))


def test_a_step_down_is_a_bottleneck_of_stride_2_and_one_of_stride_1() -> None:
    convolutions = [m for m in DownscaleStep(16, 32).modules() if isinstance(m, nn.Conv2d)]
    layout = [(m.kernel_size[0], m.stride[0], m.in_channels, m.out_channels) for m in convolutions]
    shrink = [(1, 1, 16, 8), (3, 2, 8, 8), (1, 1, 8, 32), (1, 2, 16, 32)]  # the last: its residual
    assert layout == [*shrink, (1, 1, 32, 8), (3, 1, 8, 8), (1, 1, 8, 32)]


def test_step_down_whose_branches_are_silent_is_its_residual_path(rng: torch.Generator) -> None:
    step = DownscaleStep(16, 32).eval()
    for block in (step.shrink, step.refine):
        nn.init.zeros_(block.transform[-1].weight)
    features = torch.randn(2, 16, 5, 5, generator=rng)
    assert torch.equal(step(features), step.shrink.project(features).relu())


def test_authors_variant_streams_down_with_2048_maps_and_a_bottleneck_of_512() -> None:
    config = BLITZNET300.model_copy(update={"downscale_width": 2048})
    with torch.device("meta"):
        stream = DownscaleStream(config, [256, 512, 1024, 2048])
    assert stream.channels == [256, 512, 1024, 2048, 2048, 2048, 2048]
    assert [step.refine.transform[0].out_channels for step in stream.steps] == [512, 512]


@pytest.mark.parametrize("fusion", ["hourglass", "refine", "resskip_without_residual", "resskip"])
def test_features_have_the_sizes_of_the_skips_and_the_coarsest_is_the_skip_itself(
    tiny_config: ModelConfig, rng: torch.Generator, fusion: str
) -> None:
    config = tiny_config.model_copy(update={"image_size": 130, "fusion": fusion})
    down = DownscaleStream(config, STAGE_CHANNELS)
    up = UpscaleStream(config, down.channels)
    skips = down(stages_of(config, rng))
    features = up(skips)
    expected = [(2, c, s, s) for c, s in zip(up.channels, config.level_sizes, strict=True)]
    assert [tuple(feature.shape) for feature in features] == expected
    assert features[-1] is skips[-1]


def test_every_step_up_fuses_the_feature_below_with_the_skip_of_its_size(
    tiny_config: ModelConfig, rng: torch.Generator
) -> None:
    down = DownscaleStream(tiny_config, STAGE_CHANNELS)
    up = UpscaleStream(tiny_config, down.channels).eval()
    skips = down(stages_of(tiny_config, rng))
    features = up(skips)
    below = skips[-1]
    for block, skip, feature in zip(up.blocks, skips[-2::-1], features[-2::-1], strict=True):
        below = block(below, skip)
        assert torch.equal(feature, below)
