"""Pseudo masks from image-level labels: a tag classifier and its activation maps.

Trains a multi-label classifier on the tags of images, then writes one mask for each
image: classes where the activation is high, background where it is low, 255 between.
`OUT/index.json` names images and masks, as `PseudoMaskDataset` reads it. Run again it
goes on where it stopped: training from its checkpoint, then the masks that are missing.

Tags are a file (text: a line `name: class class` for each image; or JSON:
`{"name": ["class"]}`), or are taken from the masks of labeled images.

examples:
  # tags of the 9 118 images of SBD from their masks, masks for CAC with image labels
  python tools/cam_masks.py --images data/VOCdevkit/VOC2012/JPEGImages \\
      --masks data/VOCdevkit/VOC2012/SegmentationClassAug \\
      --names data/VOCdevkit/VOC2012/ImageSets/Segmentation/aug.txt \\
      --classes PascalVOCDataset --out data/VOCdevkit/VOC2012/cam

  # tags from a file, a smaller backbone with random weights
  python tools/cam_masks.py --images data/x/images --tags data/x/tags.txt \\
      --classes background cat dog --out data/x/cam \\
      --cfg-options model.backbone.depth=18 model.backbone.init_cfg=None
"""

import argparse
import hashlib
import json
import os
import time

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, RUNNERS

import mmsemiseg  # noqa: F401, fills the registries
from mmsemiseg.datasets.files import find_images, read_names, strip_suffix
from mmsemiseg.datasets.split_files import MaskFolder
from mmsemiseg.datasets.tags import read_tags
from mmsemiseg.engine.runner.mask_writer import write_masks
from mmsemiseg.utils.command import exit_with

LOAD = dict(type='LoadImageFromFile')
PACK = dict(
    type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'img_shape', 'tags')
)
RESNET50 = dict(
    type='ResNetV1c',
    depth=50,
    strides=(1, 2, 2, 1),
    dilations=(1, 1, 1, 2),
    init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet50_v1c'),
)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--images', required=True, help='folder of the images')
    parser.add_argument('--out', required=True, help='folder of all that is written')
    parser.add_argument(
        '--classes',
        nargs='+',
        required=True,
        help='names of all classes in the order of their labels, or a dataset type',
    )
    tags = parser.add_mutually_exclusive_group(required=True)
    tags.add_argument('--tags', help='file of tags')
    tags.add_argument('--masks', help='folder of masks to take the tags from')
    parser.add_argument(
        '--names', help='with --masks: file that lists the images [all]'
    )
    parser.add_argument(
        '--mask-suffix', default='.png', help='end of mask names [.png]'
    )
    parser.add_argument(
        '--reduce-zero-label',
        action='store_true',
        help='0 in the masks is ignored, and class k is k + 1',
    )
    parser.add_argument(
        '--background',
        default='background',
        help='name of the background class, if there is one [background]',
    )
    parser.add_argument(
        '--high',
        type=float,
        default=0.3,
        help='activation above which a pixel gets a class [0.3]',
    )
    parser.add_argument(
        '--low',
        type=float,
        default=0.05,
        help='activation below which a pixel is background [0.05]',
    )
    parser.add_argument(
        '--scales',
        type=float,
        nargs='+',
        default=[1.0],
        help='factors of the image size whose maps are added up [1]',
    )
    parser.add_argument(
        '--flip', action='store_true', help='add the maps of the mirrored image'
    )
    parser.add_argument(
        '--checkpoint', help='a trained tag classifier, in place of training'
    )
    parser.add_argument('--iters', type=int, default=3000, help='iterations [3000]')
    parser.add_argument(
        '--crop',
        type=int,
        default=512,
        help='side of the training crops in pixels [512]',
    )
    parser.add_argument('--batch-size', type=int, default=16, help='images [16]')
    parser.add_argument('--workers', type=int, default=4, help='loading processes [4]')
    parser.add_argument(
        '--lr',
        type=float,
        default=0.01,
        help='learning rate of the backbone [0.01]; the new layer has ten times it',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the training [0]')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args(argv)
    if args.names and not args.masks:
        parser.error('--names needs --masks')
    return args


def class_names(given):
    """The names themselves, or those of a registered dataset type."""
    kind = DATASETS.get(given[0]) if len(given) == 1 else None
    if len(given) == 1 and 'classes' not in getattr(kind, 'METAINFO', {}):
        raise ValueError(
            f'--classes must be at least two names, or a dataset type with classes of '
            f'its own, but is {given[0]!r}'
        )
    return list(kind.METAINFO['classes'] if kind else given)


def tags_of_masks(args, classes):
    """Name -> classes in its mask, without 255."""
    if args.names:
        names = [name for _, name in read_names(args.names)]
    else:
        names = [strip_suffix(name) for name in find_images(args.images)]
    folder = MaskFolder(
        args.masks, args.mask_suffix, reduce_zero_label=args.reduce_zero_label
    )
    counts = folder.count(names)
    wrong = [n for n, found in counts.items() if max(found, default=0) >= len(classes)]
    if wrong:
        raise ValueError(
            f'--masks: {len(wrong)} masks have labels of {len(classes)} or more, the '
            f'number of classes: {wrong[:10]}'
        )
    return {name: [classes[c] for c in sorted(found)] for name, found in counts.items()}


def config(args, tags, classes):
    """Config of the run that trains the classifier."""
    background = classes.index(args.background) if args.background in classes else None

    longest = args.crop * 5 // 4
    augment = [
        dict(
            type='RandomResize',
            scale=(longest, longest),
            ratio_range=(0.5, 1.0),
            keep_ratio=True,
        ),
        dict(type='RandomCrop', crop_size=(args.crop, args.crop)),
        dict(type='RandomFlip', prob=0.5),
    ]

    def dataset(*augment):
        return dict(
            type='TagDataset',
            tags=tags,
            image_dir=args.images,
            classes=classes,
            pipeline=[LOAD, *augment, PACK],
        )

    cfg = Config(
        dict(
            runner_type='SemiRunner',
            default_scope='mmseg',
            work_dir=os.path.join(args.out, 'classifier'),
            # MMEngine shares visualizers, and their folders, between runs of one name
            experiment_name=f'cam_masks_{time.time_ns()}',
            model=dict(
                type='TagClassifier',
                backbone=RESNET50,
                num_classes=len(classes),
                foreground=args.high,
                background=args.low,
                background_label=background,
                scales=args.scales,
                flip=args.flip,
                data_preprocessor=dict(
                    type='SemiDataPreProcessor',
                    mean=[123.675, 116.28, 103.53],
                    std=[58.395, 57.12, 57.375],
                    bgr_to_rgb=True,
                ),
            ),
            train_dataloader=dict(
                labeled=dict(
                    batch_size=args.batch_size,
                    num_workers=args.workers,
                    dataset=dataset(*augment),
                )
            ),
            mask_dataloader=dict(
                batch_size=1,
                num_workers=args.workers,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dataset(),
            ),
            train_cfg=dict(
                type='SemiTrainLoop', max_iters=args.iters, check_data=False
            ),
            optim_wrapper=dict(
                optimizer=dict(type='SGD', lr=args.lr, momentum=0.9, weight_decay=1e-4),
                paramwise_cfg=dict(custom_keys=dict(classifier=dict(lr_mult=10))),
            ),
            param_scheduler=[
                dict(type='PolyLR', power=0.9, by_epoch=False, end=args.iters)
            ],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
                checkpoint=dict(
                    type='SafeCheckpointHook',
                    by_epoch=False,
                    interval=500,
                    max_keep_ckpts=1,
                ),
            ),
            log_processor=dict(by_epoch=False),
            randomness=dict(seed=args.seed),
            load_from=args.checkpoint,
            resume=False if args.checkpoint else 'auto',
        )
    )
    cfg.merge_from_dict(args.cfg_options)
    return cfg


def check_settings(args, cfg, tags):
    """Refuse to go on with masks that other settings have made."""
    path = os.path.join(args.out, 'settings.json')
    with open(tags, 'rb') as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    keys = ('model', 'train_dataloader', 'optim_wrapper', 'train_cfg', 'randomness')
    content = {key: cfg.to_dict()[key] for key in keys}
    content.update(tags=digest, checkpoint=args.checkpoint)
    content['train_dataloader']['labeled'].pop('num_workers')
    content = json.loads(json.dumps(content))
    if not os.path.isfile(path):
        with open(path, 'w', encoding='utf-8') as file:
            json.dump(content, file, indent=1)
        return
    with open(path, encoding='utf-8') as file:
        before = json.load(file)
    changed = [key for key in content if content[key] != before.get(key)]
    if changed:
        raise ValueError(
            f'--out {args.out} has what a run with other settings wrote; they differ '
            f'in {changed}: delete the folder or name another one'
        )


def main(argv=None):
    args = parse_args(argv)
    init_default_scope('mmseg')
    classes = class_names(args.classes)
    os.makedirs(args.out, exist_ok=True)
    tags = args.tags
    if args.masks:
        tags = os.path.join(args.out, 'tags.json')
        content = tags_of_masks(args, classes)
        with open(tags, 'w', encoding='utf-8') as file:
            json.dump(content, file, indent=1)
    found = read_tags(tags, classes)
    print(f'{len(found)} images, {sum(map(len, found.values()))} tags')
    cfg = config(args, tags, classes)
    check_settings(args, cfg, tags)
    runner = RUNNERS.build(cfg)
    if args.checkpoint:
        runner.load_or_resume()
    else:
        runner.train()
    loader = runner.build_dataloader(cfg.mask_dataloader, seed=args.seed)
    index = os.path.join(args.out, 'index.json')
    write_masks(runner.model, loader, index, 'cam')
    print(f'\n{len(loader.dataset)} masks -> {index}')
    return 0


if __name__ == '__main__':
    exit_with(main)
