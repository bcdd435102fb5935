"""VGG at output stride 8, which MMSegmentation lacks."""

from mmcv.cnn.vgg import VGG, make_vgg_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512, 512)


@MODELS.register_module()
class DilatedVGG(BaseModule):
    """The convolutions of VGG, without the last two poolings, conv5 dilated by 2.

    Its keys are ``features.<index>`` as in torchvision's checkpoints, which load
    (the fully connected layers of theirs are left out).

    Args:
        depth: Number of layers of the VGG: 11, 13, 16 or 19.
        with_bn: Whether BatchNorm follows each convolution.
        out_indices: Stages whose maps are returned, of 0 to 4, at strides 2, 4, 8, 8,
            8.
        init_cfg: Initialisation in MMEngine's form.
    """

    def __init__(
        self,
        depth: int = 16,
        with_bn: bool = False,
        out_indices: tuple[int, ...] = (4,),
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if depth not in VGG.arch_settings:
            raise ValueError(
                f'depth must be in {list(VGG.arch_settings)}, but got {depth}'
            )
        if not out_indices or not set(out_indices) <= set(range(len(WIDTHS))):
            raise ValueError(
                f'out_indices must be of 0 to {len(WIDTHS) - 1}, but got {out_indices}'
            )
        self.out_indices = tuple(out_indices)
        layers: list[nn.Module] = []
        self.ends = []
        in_channels = 3
        for stage, convs in enumerate(VGG.arch_settings[depth]):
            last = stage == len(WIDTHS) - 1
            layers += make_vgg_layer(
                in_channels, WIDTHS[stage], convs, 1 + last, with_bn
            )
            if stage >= 3:
                layers[-1] = nn.Identity()
            in_channels = WIDTHS[stage]
            self.ends.append(len(layers))
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for number, layer in enumerate(self.features, 1):
            x = layer(x)
            if number in self.ends:
                maps.append(x)
        return tuple(maps[index] for index in self.out_indices)
