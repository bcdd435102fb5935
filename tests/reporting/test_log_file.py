from run_files import LINE

from mmsemiseg.reporting.log_file import Stream, read_log


def log(*lines):
    found = (LINE.format(minute, *line) for minute, line in enumerate(lines))
    return read_log(''.join(found))


def test_an_empty_log():
    found = read_log('')
    assert (found.streams, found.warnings, found.seconds) == ({}, [], 0)


def test_streams_of_several_processes():
    line = (
        "stream 'unlabeled': 60 images, 8 a step on each of 2 process(es), 3.0 passes"
    )
    assert log(('INFO', line)).streams == dict(unlabeled=Stream(60, 16))


def test_warnings_are_counted_and_placed():
    found = log(
        ('WARNING', 'too few (0.10% in 60)'),
        ('INFO', 'Iter(train) [  50/240]  lr: 0.1'),
        ('WARNING', 'the bank\nlacks rows'),
        ('WARNING', 'too few (0.20% in 70)'),
        ('WARNING', '"FileClient" will be deprecated in future. Please'),
    )
    assert found.warnings == [
        ('too few (0.10% in 60)', 0, 2),
        ('the bank\nlacks rows', 50, 1),
    ]
    assert found.seconds == 240


def test_last_report_on_pseudo_labels():
    found = log(
        ('INFO', 'pseudo labels: sky 100.0% (3% kept)'),
        ('INFO', 'pseudo labels: sky, blue 90.5% (80% kept), road 9.5% (0% kept)'),
    )
    assert found.pseudo == {'sky, blue': (90.5, 80), 'road': (9.5, 0)}


def test_words_of_a_run():
    found = log(
        ('INFO', 'evaluation protocol: whole image'),
        ('INFO', 'resuming from a.pth'),
        ('INFO', 'did the unlabeled images help? Hardly'),
        ('INFO', '\n  Python: 3.11.7 (main, May)\n  - CPU capability usage: AVX512\n'),
    )
    assert found.protocol == 'whole image' and found.resumed
    assert found.last_words.endswith('Hardly')
    assert found.machine == {'Python': '3.11.7', 'CPU capability': 'AVX512'}
