import numpy as np
import pytest
from PIL import Image

from mmsemiseg.datasets import CamVidDataset


def original(root, listed=True):
    generator = np.random.default_rng(0)
    for part, names in dict(train=('0001TP_1', '0006R0_2'), val=('0016E5_3',)).items():
        for folder in (part, f'{part}annot'):
            (root / folder).mkdir(parents=True)
        lines = []
        for name in names:
            image = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / part / f'{name}.png')
            mask = np.arange(48, dtype=np.uint8).reshape(6, 8) % 12
            Image.fromarray(mask).save(root / f'{part}annot' / f'{name}.png')
            file = f'{name}.png'
            lines.append(f'/SegNet/CamVid/{part}/{file} /SegNet/{part}annot/{file}\n')
        if listed:
            (root / f'{part}.txt').write_text('\n'.join(lines))


@pytest.mark.parametrize('listed', [True, False])
def test_converts_masks_and_copies_images(tmp_path, load_tool, listed):
    original(tmp_path / 'CamVid', listed)
    out = tmp_path / 'out'
    load_tool('dataset_converters/camvid').main(
        [str(tmp_path / 'CamVid'), '--out', str(out)]
    )
    mask = np.asarray(Image.open(out / 'labels/train/0001TP_1.png'))
    expected = np.arange(48).reshape(6, 8) % 12
    assert (mask == np.where(expected == 11, 255, expected)).all()
    copied = (out / 'images/val/0016E5_3.png').read_bytes()
    assert copied == (tmp_path / 'CamVid/val/0016E5_3.png').read_bytes()
    assert not (out / 'images/test').exists()
    prefix = dict(img_path='images/train', seg_map_path='labels/train')
    assert len(CamVidDataset(data_root=str(out), data_prefix=prefix)) == 2


def test_jpeg(tmp_path, load_tool):
    original(tmp_path / 'CamVid')
    tool = load_tool('dataset_converters/camvid')
    tool.main([str(tmp_path / 'CamVid'), '--out', str(tmp_path), '--jpeg', '90'])
    with Image.open(tmp_path / 'images/train/0001TP_1.jpg') as image:
        assert image.format == 'JPEG' and image.size == (8, 6)
    with pytest.raises(SystemExit):
        tool.main([str(tmp_path / 'CamVid'), '--jpeg', '0'])


def test_errors_name_the_file(tmp_path, load_tool):
    tool = load_tool('dataset_converters/camvid')
    with pytest.raises(FileNotFoundError, match='none of the folders train, val, test'):
        tool.main([str(tmp_path)])
    root = tmp_path / 'CamVid'
    original(root)
    arguments = [str(root), '--out', str(tmp_path / 'out')]
    Image.fromarray(np.full((6, 8), 12, np.uint8)).save(root / 'valannot/0016E5_3.png')
    with pytest.raises(ValueError, match=r'0016E5_3\.png has the values \[12\]'):
        tool.main(arguments)
    (root / 'valannot/0016E5_3.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 files are missing: .*0016E5_3'):
        tool.main(arguments)
