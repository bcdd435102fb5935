import pytest

from mmsemiseg.utils.command import exit_with


def fails(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize('error', [ValueError, FileNotFoundError, ImportError])
def test_a_wrong_argument_is_one_line(error):
    with pytest.raises(SystemExit, match='^error: two words$'):
        exit_with(fails(error('two words')))


def test_other_errors_have_their_traceback():
    with pytest.raises(RuntimeError):
        exit_with(fails(RuntimeError('x')))
    with pytest.raises(SystemExit, match='^error: x$'):
        exit_with(fails(RuntimeError('x')), RuntimeError)


def test_the_status_of_the_tool():
    with pytest.raises(SystemExit) as end:
        exit_with(lambda: 3)
    assert end.value.code == 3
