"""Data against config when a run or a test starts."""

import numpy as np
import pytest
from PIL import Image
from tiny_run import build, config, sup_only, write_data

from mmsemiseg.engine.runner import data_checks


@pytest.fixture
def root(tmp_path):
    return write_data(tmp_path / 'data')


def run(root, model=None, **settings):
    """A runner that has built its training loop, and with it checked the data."""
    cfg = config(root, root.parent / 'run', sup_only(), **settings)
    cfg.merge_from_dict(dict(model=model or {}))
    runner = build(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    return runner


def logged(root):
    return ''.join(path.read_text() for path in (root.parent / 'run').rglob('*.log'))


def spoil(root, part, value=7):
    for path in (root / part / 'masks').glob('*.png'):
        Image.fromarray(np.full_like(Image.open(path), value)).save(path)


def test_validation_data_are_refused_before_training(root):
    spoil(root, 'val')
    with pytest.raises(ValueError, match="'val': 3 masks have values that are no cla"):
        run(root)
    run(root, train_cfg=dict(check_data=False))


def test_heads_metrics_and_padding_must_agree_with_the_data(root):
    with pytest.raises(ValueError) as error:
        run(
            root,
            model=dict(student=dict(decode_head=dict(num_classes=2))),
            val_evaluator=dict(ignore_index=9),
        )
    text = str(error.value)
    assert 'model.student.decode_head has 2 classes, but train_dataloader' in text
    assert '9 by val_evaluator (IoUMetric).ignore_index' in text
    assert 'model.data_preprocessor.seg_pad_val' in text


def test_test_data_alone_do_not_forbid_training(root):
    dataset = dict(data_root=str(root / 'nowhere'))
    run(root, test_dataloader=dict(dataset=dataset))
    assert 'the test data cannot be used: img_path is no folder' in logged(root)


def test_masks_of_0_and_255_are_a_warning(root):
    spoil(root, 'labeled', 255)
    path = next((root / 'labeled/masks').glob('*.png'))
    Image.fromarray(np.zeros_like(Image.open(path))).save(path)
    run(root)
    assert (
        "NOTE: the classes 'b', 'c' have no pixel in any labeled mask; 255 is"
        in logged(root)
    )


def test_every_file_is_decoded_on_request(root):
    path = root / 'unlabeled/images/u0.png'
    content = bytearray(path.read_bytes())
    content[-30:-20] = bytes(10)
    path.write_bytes(content)
    run(root)
    with pytest.raises(ValueError, match="'unlabeled': 1 files cannot be decoded"):
        run(root, train_cfg=dict(check_data='full'))
    assert (root.parent / 'run' / data_checks.CACHE).is_file()


def test_a_misspelt_choice_is_refused(root):
    with pytest.raises(ValueError, match="train_cfg.check_data must be one of .*'ful'"):
        run(root, train_cfg=dict(check_data='ful'))


def test_a_test_checks_its_data_first(root):
    spoil(root, 'val')
    cfg = config(root, root.parent / 'run', sup_only())
    with pytest.raises(ValueError, match="'test': 3 masks have values that are no cl"):
        build(cfg).test()
    cfg.train_cfg.check_data = False
    data_checks.check_testing(build(cfg))


def test_another_ignored_label_works_with_padding(root):
    """Masks ignore 9, and crops are padded to the size of the batch."""
    for part in ('labeled', 'val'):
        for path in (root / part / 'masks').glob('*.png'):
            mask = np.array(Image.open(path))
            mask[:4] = 9
            Image.fromarray(mask).save(path)
    dataset = dict(ignore_index=9)
    head = dict(ignore_index=9)
    runner = run(
        root,
        dict(
            student=dict(
                decode_head=head,
                data_preprocessor=dict(seg_pad_val=9, size=(48, 48)),
            )
        ),
        max_iters=1,
        train_dataloader=dict(labeled=dict(dataset=dataset)),
        val_dataloader=dict(dataset=dataset),
        val_evaluator=head,
        test_dataloader=dict(dataset=dataset),
        test_evaluator=head,
    )
    runner.train()
    assert runner.val_loop.run()['student/mIoU'] > 0
