from mmsemiseg.doctor.findings import Finding, counted, ranked


def test_the_gravest_comes_first_and_each_text_once():
    found = [
        Finding('note', 'data', 'a'),
        Finding('warning', 'run', 'b'),
        Finding('error', 'run', 'c'),
        Finding('error', 'data', 'b'),
    ]
    assert [(one.level, one.text) for one in ranked(found)] == [
        ('error', 'c'),
        ('error', 'b'),
        ('note', 'a'),
    ]
    assert counted(ranked(found)) == '2 errors, 0 warnings, 1 note'


def test_text_and_remedy_are_sentences():
    assert str(Finding('note', 'data', 'x is 1', 'Set x=2.')) == 'x is 1. Set x=2.'
    assert str(Finding('note', 'data', 'is it?', 'Look.')) == 'is it? Look.'
    assert str(Finding('note', 'data', 'x is 1')) == 'x is 1'
