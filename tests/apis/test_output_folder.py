import json

import pytest

from mmsemiseg.apis import OutputFolder


@pytest.fixture
def paths(tmp_path):
    (tmp_path / 'images').mkdir()
    return str(tmp_path / 'out'), str(tmp_path / 'a.pth'), str(tmp_path / 'images')


def test_a_new_folder_and_its_own(paths, tmp_path):
    out = OutputFolder(*paths)
    assert not out.path.exists()
    out.write_record(network='teacher')
    record = json.loads((out.path / 'predictions.json').read_text())
    assert record['network'] == 'teacher'
    OutputFolder(*paths)


def test_other_content_is_refused(paths, tmp_path):
    folder, checkpoint, images = paths
    (tmp_path / 'out').mkdir()
    OutputFolder(*paths)
    (tmp_path / 'out' / 'mine.txt').touch()
    with pytest.raises(FileExistsError, match='other content .mine.txt.'):
        OutputFolder(*paths)
    (tmp_path / 'out' / 'predictions.json').write_text('no json')
    with pytest.raises(FileExistsError, match='cannot be read'):
        OutputFolder(*paths)
    (tmp_path / 'out' / 'predictions.json').write_text('{}')
    with pytest.raises(FileExistsError, match='cannot be read'):
        OutputFolder(*paths)
    (tmp_path / 'file').touch()
    with pytest.raises(FileExistsError, match='is a file'):
        OutputFolder(str(tmp_path / 'file'), checkpoint, images)


def test_predictions_of_others_are_refused(paths, tmp_path):
    folder, checkpoint, images = paths
    OutputFolder(*paths).write_record()
    with pytest.raises(FileExistsError, match=r'of other checkpoint: .*a\.pth'):
        OutputFolder(folder, str(tmp_path / 'b.pth'), images)
    with pytest.raises(FileExistsError, match='of other images: .*images'):
        OutputFolder(folder, checkpoint, str(tmp_path / 'new'))


@pytest.mark.parametrize('inside', ['images', 'images/out', '.'])
def test_inside_of_the_images(paths, tmp_path, inside):
    with pytest.raises(ValueError, match='must lie apart'):
        OutputFolder(str(tmp_path / inside), *paths[1:])
