import pickle

import numpy as np
import pytest

from mmsemiseg.datasets import CheckLabels


def results(mask, path='m.png', shape=None):
    mask = np.array(mask, np.uint8)
    image = np.zeros((*(shape or mask.shape[:2]), 3), np.uint8)
    return dict(gt_seg_map=mask, seg_map_path=path, img=image, img_path='i.jpg')


def test_good_masks_pass_unchanged():
    good = results([[0, 1, 255], [2, 2, 0]])
    assert CheckLabels(num_classes=3)(good) is good


def test_bad_values_name_file_values_pixels_rule_and_hint():
    bad = results([[0, 3, 9], [3, 255, 0]])
    with pytest.raises(ValueError) as error:
        CheckLabels(num_classes=3)(bad)
    text = str(error.value)
    assert 'm.png has the values 3, 9 in 3 of 6 pixels' in text
    assert 'num_classes=3' in text and 'ignore_index=255' in text
    assert 'reduce_zero_label' in text and 'tools/check_data.py' in text


def test_255_is_refused_where_another_value_is_ignored():
    with pytest.raises(ValueError, match='values 255 in 1 of 2'):
        CheckLabels(num_classes=3, ignore_index=7)(results([[7, 255]]))


def test_size_and_bands():
    with pytest.raises(ValueError, match=r'm\.png is 3x1 pixels.*i\.jpg is 5x4'):
        CheckLabels(num_classes=3)(results([[0, 1, 2]], shape=(4, 5)))
    with pytest.raises(ValueError, match='picture in colours'):
        CheckLabels(num_classes=3)(results(np.zeros((2, 2, 3))))


def test_a_file_is_checked_once_in_each_process():
    check = CheckLabels(num_classes=2)
    check(results([[0]], 'a.png'))
    check(results([[5]], 'a.png'))  # seen: costs nothing more
    with pytest.raises(ValueError, match=r'b\.png'):
        check(results([[5]], 'b.png'))
    with pytest.raises(ValueError, match=r'b\.png'):  # a bad file stays bad
        check(results([[5]], 'b.png'))
    with pytest.raises(ValueError, match=r'c\.png'):  # and a worker's copy works
        pickle.loads(pickle.dumps(check))(results([[5]], 'c.png'))


def test_bad_settings():
    with pytest.raises(ValueError, match='num_classes.*0'):
        CheckLabels(num_classes=0)
    with pytest.raises(ValueError, match='ignore_index.*-1'):
        CheckLabels(num_classes=2, ignore_index=-1)
