from mmsemiseg.start.file_copies import file_copies


def test_equal_bytes_under_another_name(tmp_path):
    paths = {}
    for name, text in dict(a='one', b='two', c='one', d='three', e='one').items():
        paths[name] = str(tmp_path / name)
        (tmp_path / name).write_text(text)
    left, right = [paths[n] for n in 'cde'], [paths[n] for n in 'ab']
    assert file_copies(left, right) == [paths['c'], paths['e']]
    assert file_copies(right, left) == [paths['a']]
    assert file_copies([], right) == file_copies(left, []) == []
