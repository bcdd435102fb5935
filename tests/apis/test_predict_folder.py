import csv
import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from saved_model import read_mask, run_config, save_model, write_images
from tiny_run import METAINFO, mean_teacher

from mmsemiseg.apis import OutputFolder, Predictor, Wanted, predict_folder
from mmsemiseg.engine.checkpoints import read_checkpoint

SIZES = {
    'seq1/0001.jpg': (20, 32),
    'seq1/0002.jpg': (20, 32),
    'seq2/0001.png': (33, 17),
    'top.JPG': (20, 32),
}


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('run') / 'iter_1.pth')
    save_model(path)
    return path


def predictor_of(checkpoint, **settings):
    cfg = run_config(mean_teacher(predict_with='teacher'))
    return Predictor(cfg, read_checkpoint(checkpoint), checkpoint, **settings)


def predict(checkpoint, tmp_path, wanted=Wanted(), out='out', **settings):  # noqa: B008
    folder = OutputFolder(str(tmp_path / out), checkpoint, str(tmp_path / 'images'))
    return predict_folder(
        predictor_of(checkpoint),
        str(tmp_path / 'images'),
        folder,
        wanted,
        workers=0,
        **settings,
    )


def files(folder):
    found = sorted(path for path in folder.rglob('*') if path.is_file())
    return [path.relative_to(folder).as_posix() for path in found]


def test_masks_keep_folders_names_and_sizes(checkpoint, tmp_path, capfd):
    write_images(tmp_path / 'images', SIZES)
    outcome = predict(checkpoint, tmp_path)
    assert (outcome.written, outcome.failed, outcome.others) == (4, {}, 0)
    names = ['seq1/0001.png', 'seq1/0002.png', 'seq2/0001.png', 'top.png']
    assert files(tmp_path / 'out') == [
        *(f'masks/{n}' for n in names),
        'predictions.json',
    ]
    for name, size in zip(names, SIZES.values(), strict=True):
        assert read_mask(tmp_path / 'out' / 'masks' / name).shape == size
    assert '4/4' in capfd.readouterr().err
    record = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert (record['network'], record['written'], record['failed']) == (
        'teacher',
        4,
        {},
    )
    assert record['classes'] == list(METAINFO['classes'])


def test_masks_do_not_depend_on_the_batch(checkpoint, tmp_path):
    write_images(tmp_path / 'images', SIZES)
    for size in (1, 3):
        predict(checkpoint, tmp_path, out=f'out{size}', batch_size=size)
    for name in files(tmp_path / 'out1' / 'masks'):
        one, three = (read_mask(tmp_path / f'out{n}' / 'masks' / name) for n in (1, 3))
        assert (one != three).mean() < 0.01


def test_overlays_confidence_and_ranking(checkpoint, tmp_path):
    write_images(tmp_path / 'images', SIZES)
    wanted = Wanted(overlay=True, confidence=True, ranking=str(tmp_path / 'next.csv'))
    predict(checkpoint, tmp_path, wanted)
    out = tmp_path / 'out'
    names = ['seq1/0001', 'seq1/0002', 'seq2/0001', 'top']
    assert files(out / 'overlays') == [f'{name}.jpg' for name in names]
    assert files(out / 'confidence') == [f'{name}.png' for name in names]
    assert cv2.imread(str(out / 'overlays' / 'top.jpg')).shape == (20, 32, 3)
    with open(tmp_path / 'next.csv', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    assert sorted(row['image'] for row in rows) == sorted(SIZES)
    values = [float(row['uncertainty']) for row in rows]
    assert values == sorted(values, reverse=True) and 0 < values[0] <= 1
    for row in rows:
        name = row['image'].rpartition('.')[0]
        sure = np.array(Image.open(out / 'confidence' / f'{name}.png'))
        assert sure.mean() / 255 == pytest.approx(float(row['confidence']), abs=3e-3)
        assert sure.min() >= 255 / 3 - 1


def test_numbers_are_those_of_the_masks_of_training(checkpoint, tmp_path):
    write_images(tmp_path / 'images', {'1.png': (20, 32)})
    predict(checkpoint, tmp_path)
    content = read_checkpoint(checkpoint)
    content['meta']['dataset_meta']['reduce_zero_label'] = True
    shifted = str(tmp_path / 'shifted.pth')
    torch.save(content, shifted)
    predict(shifted, tmp_path, out='shifted')
    masks = [read(tmp_path / f / 'masks' / '1.png') for f in ('out', 'shifted')]
    assert (masks[1] == masks[0] + 1).all()


def read(path):
    return np.array(Image.open(path))


def test_broken_images_do_not_stop_the_rest(checkpoint, tmp_path):
    images = write_images(tmp_path / 'images', {**SIZES, 'top.png': (20, 32)})
    (images / 'seq1' / '0003.jpg').write_bytes(b'no image at all')
    (images / 'notes.md').touch()
    wanted = Wanted(overlay=True, ranking=str(tmp_path / 'next.txt'))
    outcome = predict(checkpoint, tmp_path, wanted, batch_size=2)
    assert (outcome.written, outcome.others) == (3, 1)
    assert sorted(outcome.failed) == ['seq1/0003.jpg', 'top.JPG', 'top.png']
    assert 'cannot identify' in outcome.failed['seq1/0003.jpg']
    record = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert record['failed'] == outcome.failed
    assert len((tmp_path / 'next.txt').read_text().splitlines()) == 3


def test_an_image_that_the_network_cannot_take(checkpoint, tmp_path, monkeypatch):
    write_images(tmp_path / 'images', SIZES)
    predictor = predictor_of(checkpoint)
    samples = predictor._samples

    def fails(data):
        if any(s.img_path.endswith('0002.jpg') for s in data['data_samples']):
            raise RuntimeError('too\nlarge')
        return samples(data)

    monkeypatch.setattr(predictor, '_samples', fails)
    out = OutputFolder(str(tmp_path / 'out'), checkpoint, str(tmp_path / 'images'))
    outcome = predict_folder(predictor, str(tmp_path / 'images'), out, workers=0)
    assert outcome.failed == {'seq1/0002.jpg': 'RuntimeError: too large'}
    assert outcome.written == 3


def test_a_pipeline_that_hides_the_size(checkpoint, tmp_path):
    write_images(tmp_path / 'images', {'1.png': (20, 32)})
    predictor = predictor_of(checkpoint)
    steps = predictor.pipeline

    def smaller(info):
        packed = steps(info)
        packed['data_samples'].set_metainfo(dict(ori_shape=(10, 16)))
        return packed

    predictor.pipeline = smaller
    out = OutputFolder(str(tmp_path / 'out'), checkpoint, str(tmp_path / 'images'))
    outcome = predict_folder(
        predictor, str(tmp_path / 'images'), out, Wanted(overlay=True), workers=0
    )
    assert '10 x 16 pixels, the image 20 x 32' in outcome.failed['1.png']
