import pytest

from mmsemiseg.start.naming import pair_names, tell_masks


@pytest.mark.parametrize(
    ('images', 'masks'),
    [
        (['1.jpg', '2.jpg', '3.jpg'], ['1.png', '3.png']),
        (['0001TP_06690.png', '0001TP_06720.png'], ['0001TP_06690_L.png']),
        (['a/1.JPG', 'b/1.JPG'], ['a/1_mask.png', 'b/1_mask.png']),
        (['a/x1.jpg', 'b/x2.jpg'], ['x1.png', 'x2.png']),
        (['img_1.jpg', 'img_12.jpg', 'img_2.jpg'], ['gt_12.png', 'gt_2.png']),
        (['frame_7_left.png', 'frame_8_left.png'], ['mask_7_gt.png', 'mask_8_gt.png']),
        (['s1_frame_07.png', 's1_frame_08.png'], ['s1_mask_07.png', 's1_mask_08.png']),
        (
            ['ulm_000_019_leftImg8bit.png', 'ulm_000_020_leftImg8bit.png'],
            ['ulm_000_019_gtFine_labelIds.png', 'ulm_000_020_gtFine_labelIds.png'],
        ),
        (['cat.jpg', 'dog.jpg'], ['cat_mask.png', 'dog_mask.png']),
        (['Zürich 1.jpg', 'Zürich 2.jpg'], ['Zürich 1 (mask).png']),
    ],
)
def test_names_are_paired(images, masks):
    found = pair_names(images, masks)
    assert list(found.masks.values()) == masks
    assert found.lonely == []
    numbers = [[c for c in name if c.isdigit()] for name in found.masks]
    for number, mask in zip(numbers, masks, strict=True):
        assert [c for c in mask if c.isdigit()][: len(number)] or not number


def test_the_right_image_is_taken_where_names_are_alike():
    images = [f'{seq}_{i}.jpg' for seq in ('a', 'b') for i in range(1, 13)]
    found = pair_names(images, ['b_11_lab.png', 'a_1_lab.png'])
    assert found.masks == {'b_11.jpg': 'b_11_lab.png', 'a_1.jpg': 'a_1_lab.png'}
    assert not found.same_names


def test_a_mask_without_image_is_told():
    found = pair_names(['1.jpg', '2.jpg'], ['1.png', '9.png'])
    assert found.lonely == ['9.png']
    assert found.same_names


def test_one_name_in_two_folders_of_images_is_nobodys():
    found = pair_names(['a/1.jpg', 'b/1.jpg', 'b/2.jpg'], ['1.png', '2.png'])
    assert found.masks == {'b/2.jpg': '2.png'}
    assert found.lonely == ['1.png']


def test_two_masks_of_one_image_are_refused():
    with pytest.raises(ValueError, match=r'more than one mask, as 1.jpg: 1.bmp, 1.png'):
        pair_names(['1.jpg'], ['1.bmp', '1.png'])


def test_names_that_have_nothing_in_common_are_refused():
    with pytest.raises(ValueError, match=r'masks are called x7.png, the images 1.jpg'):
        pair_names(['1.jpg', '2.jpg'], ['x7.png'])


@pytest.mark.parametrize(
    ('files', 'masks'),
    [
        (['1.jpg', '1.png', '2.jpg'], ['1.png']),
        (['1.png', '1_mask.png', '2.png'], ['1_mask.png']),
        (['1.png', '1_L.png'], ['1_L.png']),
        (['images/1.png', 'Masks/1.png'], ['Masks/1.png']),
        (['x_leftImg8bit.png', 'x_gtFine_labelIds.png'], ['x_gtFine_labelIds.png']),
        (['JPEGImages/1.jpg', 'SegmentationClass/1.png'], ['SegmentationClass/1.png']),
    ],
)
def test_masks_of_one_folder(files, masks):
    images, found = tell_masks(files)
    assert found == masks
    assert images == [name for name in files if name not in masks]


@pytest.mark.parametrize('files', [['1.png', '2.png'], ['1_mask.png', '2_mask.png']])
def test_one_folder_that_does_not_tell(files):
    with pytest.raises(ValueError, match='nothing tells images from masks'):
        tell_masks(files)
