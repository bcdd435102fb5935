import pytest

from mmsemiseg.start.partition import partition


def data(count, labels=lambda i: {0, 1 + i % 2}, start=0):
    return {f'{i:03}': dict.fromkeys(labels(i), 5) for i in range(start, start + count)}


def alone(*names):
    return {name: number for number, name in enumerate(sorted({*names}))}


def test_a_share_is_held_out_with_all_classes():
    pixels = data(20)
    found = partition(pixels, ['u1', 'u2'], alone(*pixels, 'u1', 'u2'))
    assert len(found.val) == 4
    assert sorted([*found.labeled, *found.val]) == sorted(pixels)
    assert found.unlabeled == ['u1', 'u2']
    for part in (found.labeled, found.val):
        assert {label for name in part for label in pixels[name]} == {0, 1, 2}
    assert '4 of 20 images with masks are held out' in found.said[0]
    assert 'validation images are few' in found.said[1]
    again = partition(pixels, ['u1', 'u2'], alone(*pixels, 'u1', 'u2'))
    assert again == found
    other = partition(pixels, ['u1', 'u2'], alone(*pixels, 'u1', 'u2'), seed=3)
    assert other.val != found.val


def test_groups_stay_together():
    pixels = data(20)
    groups = {name: int(name) // 4 for name in pixels} | {'u': 99}
    found = partition(pixels, ['u'], groups)
    held = {groups[name] for name in found.val}
    assert held.isdisjoint(groups[name] for name in found.labeled)
    assert len(found.val) == 4


def test_the_only_image_of_a_class_trains():
    pixels = data(10, lambda i: {0, 1} if i else {0, 7})
    for seed in range(5):
        found = partition(pixels, ['u'], alone(*pixels, 'u'), seed)
        assert '000' in found.labeled


def test_one_video_is_cut_into_blocks():
    pixels = data(40)
    groups = dict.fromkeys(pixels, 0) | {'u': 1}
    found = partition(pixels, ['u'], groups)
    assert len(found.val) == 8
    numbers = sorted(int(name) for name in found.val)
    assert all(numbers[i + 3] - numbers[i] == 3 for i in (0, 4))
    assert 'validation flatters' in found.said[0]


def test_frames_of_validation_videos_are_set_aside():
    pixels = data(20)
    unlabeled = [f'{i:03}' for i in range(100, 120)]
    groups = {name: int(name) % 100 // 4 for name in [*pixels, *unlabeled]}
    found = partition(pixels, unlabeled, groups)
    assert len(found.aside) == 4
    held = {groups[name] for name in found.val}
    assert held.isdisjoint(groups[name] for name in found.unlabeled)
    assert '4 unlabeled images are near-copies' in found.said[-1]


def test_too_many_to_set_aside():
    pixels = data(8)
    groups = dict.fromkeys([*pixels, 'u', 'v', 'w'], 0)
    found = partition(pixels, ['u', 'v', 'w'], groups)
    assert (found.aside, found.unlabeled) == ([], ['u', 'v', 'w'])
    assert 'too many to leave out' in found.said[-1]


def test_given_validation_holds_nothing_out():
    pixels = data(3)
    groups = alone(*pixels, 'u', 'v') | {'v': 0, '000': 0}
    found = partition(pixels, ['u'], groups, given_val=['v'])
    assert found.labeled == ['000', '001', '002']
    assert found.val == ['v']
    assert '1 images with masks are near-copies of validation images' in found.said[0]


def test_some_labels():
    pixels = data(20)
    found = partition(pixels, [], alone(*pixels), labels=5)
    assert len(found.labeled) == 5
    assert len(found.unlabeled) == 11
    assert 'the other 11 images with masks count as unlabeled' in found.said[-1]


@pytest.mark.parametrize(
    ('count', 'options', 'message'),
    [
        (3, {}, '3 images have masks, but 4 are needed'),
        (8, {}, 'there is no image without a mask'),
        (8, dict(labels=9), '--labels must be from 2 to 6'),
        (8, dict(labels=1), '--labels must be from 2 to 6'),
    ],
)
def test_too_few(count, options, message):
    pixels = data(count)
    with pytest.raises(ValueError, match=message):
        partition(pixels, [], alone(*pixels), **options)
