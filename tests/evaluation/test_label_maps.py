import numpy as np
import pytest
from PIL import Image

from mmsemiseg.evaluation.label_maps import LabelMapWriter

LABEL = np.array([[0, 1, 2]])


def written(folder, writer, path='x/a.jpg', **meta):
    writer.write(str(folder), path, LABEL, meta)


def test_the_names_that_it_was_told(tmp_path):
    writer = LabelMapWriter()
    writer.prepare({'x/a.jpg': 'x/a'}, {})
    written(tmp_path, writer)
    assert np.array(Image.open(tmp_path / 'x/a.png')).tolist() == LABEL.tolist()


def test_without_them_a_clash_is_an_error(tmp_path):
    writer = LabelMapWriter()
    written(tmp_path, writer)
    written(tmp_path, writer)  # in the next validation
    assert (tmp_path / 'a.png').is_file()
    with pytest.raises(ValueError, match='y/a.jpg that of x/a.jpg. Take SemiRunner'):
        written(tmp_path, writer, 'y/a.jpg')


SUBSET = dict(reduce_zero_label=True, label_map={0: 1, 1: 255, 2: 0, 3: 2})


@pytest.mark.parametrize(
    ('numbering', 'meta', 'trained', 'expected'),
    [
        # of the data set's own masks
        ('masks', dict(reduce_zero_label=True), {}, [1, 2, 3]),
        (
            'masks',
            dict(reduce_zero_label=False),
            dict(reduce_zero_label=True),
            [0, 1, 2],
        ),
        ('masks', SUBSET, {}, [3, 1, 4]),
        # it has none: of those that the model was trained on
        ('masks', {}, dict(reduce_zero_label=True), [1, 2, 3]),
        ('masks', {}, {}, [0, 1, 2]),
        ('classes', dict(reduce_zero_label=True), {}, [0, 1, 2]),
    ],
)
def test_numbering(numbering, meta, trained, expected, tmp_path):
    writer = LabelMapWriter(numbering)
    writer.prepare({'x/a.jpg': 'a'}, trained)
    written(tmp_path, writer, **meta)
    assert np.array(Image.open(tmp_path / 'a.png'))[0].tolist() == expected


def test_unknown_numbering():
    with pytest.raises(ValueError, match="numbering must be in .*, but got 'mask'"):
        LabelMapWriter('mask')
