"""Blocks of convolutions in front of a 1x1 convolution: a projector or a classifier."""

from mmcv.cnn import ConvModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...utils.settings import check_integers
from .split_head import SplitHead


@MODELS.register_module()
class ConvBlocks(SplitHead):
    """Blocks of 3x3 convolution, BatchNorm, ReLU and dropout; then a 1x1 convolution.

    With two blocks it is the head of U2PL, with three it is what ESL's text calls
    "three Conv-BN-ReLU blocks", with a linear layer at the end.

    Args:
        in_channels: Number of channels of the features.
        channels: Number of channels of the output.
        hidden_channels: Number of channels of the blocks.
        num_blocks: Number of blocks, at least 0.
        kernel_size: Size of the convolutions of the blocks, odd.
        dropout: Probability, in [0, 1), that a channel is dropped after a block.
        norm_cfg: Config of the normalisation in the blocks; None: BatchNorm.
        init_cfg: Initialisation in MMEngine's form.
    """

    linear_end = True

    def __init__(
        self,
        in_channels: int,
        channels: int = 512,
        hidden_channels: int = 256,
        num_blocks: int = 2,
        kernel_size: int = 3,
        dropout: float = 0.1,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_integers(1, in_channels=in_channels, channels=channels)
        check_integers(1, hidden_channels=hidden_channels)
        check_integers(0, num_blocks=num_blocks)
        check_integers(1, kernel_size=kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, but got {kernel_size}')
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), but got {dropout}')
        self.in_channels, self.channels = in_channels, channels
        layers, width = [], in_channels
        for _ in range(num_blocks):
            layers.append(
                ConvModule(
                    width,
                    hidden_channels,
                    kernel_size,
                    padding=kernel_size // 2,
                    norm_cfg=norm_cfg or dict(type='BN'),
                )
            )
            layers.append(nn.Dropout2d(dropout))
            width = hidden_channels
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, channels, 1))

    def body(self, features: Tensor) -> Tensor:
        return self.layers[:-1](features)

    def end(self, features: Tensor) -> Tensor:
        return self.layers[-1](features)


@MODELS.register_module(name='BlockClassifierHead')
def block_classifier_head(head: str, blocks: dict | None = None, **settings):
    """Any head of MMSegmentation with blocks of convolutions as its classifier.

    ``feature='pre_cls'`` of a contrast then gives the features in front of the blocks,
    so that a projector gets the same input as the classifier. In a config
    ``type='DeepLabV3PlusHead'`` becomes ``type='BlockClassifierHead',
    head='DeepLabV3PlusHead'``; what is built is the head itself.

    Args:
        head: Type of the head, as in a config of its own.
        blocks: Settings of the :class:`ConvBlocks`, without their channels in and out.
        settings: All other settings of the head.
    """
    built = MODELS.build(dict(settings, type=head, dropout_ratio=0))
    classifier = getattr(built, 'conv_seg', None)
    if not isinstance(classifier, nn.Conv2d):
        raise ValueError(
            f'head must have a convolution conv_seg as its classifier, but {head} has '
            'none'
        )
    built.conv_seg = ConvBlocks(
        classifier.in_channels, classifier.out_channels, **(blocks or {})
    )
    last = built.conv_seg.layers[-1]
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    if 'init_cfg' not in settings:
        built.init_cfg = None  # the head's own would reach the BatchNorms of the blocks
    return built
