import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from run_files import records_of, run_config, write_pair, write_run

from mmsemiseg.reporting import Bank, read_run, write_report

VOID = ('meta', 'link', 'img', 'br')


class Page(HTMLParser):
    """Checks that elements are closed in order; collects texts and addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.addresses, self.tags = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ('src', 'href', 'xlink:href')]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.addresses += [v for k, v in attrs if k in ('src', 'href', 'xlink:href')]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return ' '.join(' '.join(self.texts).split())


@pytest.fixture
def make(tmp_path):
    def made(*runs, **settings):
        out = tmp_path / 'report.html'
        sentences = write_report(list(runs), out, **settings)
        text = out.read_text(encoding='utf-8')
        return sentences, Page(text), text

    return made


def test_a_method_beside_its_baseline(make, tmp_path):
    folders = write_pair(tmp_path)
    sentences, page, text = make(*map(read_run, folders), title='A & B')
    assert sentences[0] == (
        'The unlabeled images are worth +5.0 mIoU: 45.0 (student of mt) against 40.0 '
        'with the same 16 labels alone.'
    )
    assert 'One run each' in sentences[1] and len(sentences) == 2
    assert sentences[0] in page.text
    assert 'A & B' in page.text and 'A &amp; B' in text
    assert page.tags.count('svg') == 2 + 3 + 3
    for part in (
        'Validation mIoU',
        'Learning rate',
        'Losses',
        'Pseudo labels',
        '+10.0',
    ):
        assert part in page.text
    assert 'settings' in page.text and 'ResNet-18' in page.text


def test_nothing_comes_from_elsewhere(make, tmp_path):
    folder = write_pair(tmp_path)[0]
    (folder / 'overlays').mkdir()
    Image.fromarray(np.zeros((1200, 40, 3), np.uint8)).save(
        folder / 'overlays' / '1.png'
    )
    (folder / 'overlays' / '2.png').write_bytes(b'no picture')
    _, page, text = make(read_run(folder))
    used = [one for one in page.addresses if not one.startswith(('data:', '#'))]
    assert used == []
    assert sum(one.startswith('data:image/jpeg') for one in page.addresses) == 1
    spaces = re.sub(r'xmlns(:\w+)?="[^"]+"', '', text)
    assert '://' not in spaces and '@import' not in text and '<script' not in text
    assert 'name="viewport"' in text and 'prefers-color-scheme:dark' in text


def test_what_cannot_be_said(make, tmp_path):
    mt, sup = map(read_run, write_pair(tmp_path))
    sentences, *_ = make(mt)
    assert 'cannot be said' in sentences[0] and '--sup-only' in sentences[0]
    sentences, *_ = make(sup)
    assert sentences == [
        'These runs learned from labels alone: 40.0 mIoU of 16. They are what a run '
        'with unlabeled images has to beat.'
    ]
    cfg = run_config()
    new = read_run(write_run(tmp_path / 'new', cfg, [dict(loss=1.0, step=1)]))
    sentences, page, _ = make(new)
    assert sentences == ['new has not been validated: nothing can be said yet.']
    assert '1 of 100: stopped' in page.text


@pytest.mark.parametrize(
    ('gain', 'said'), [(0.5, 'chance could not make'), (-3.0, 'cost 3.0 mIoU')]
)
def test_no_gain(make, tmp_path, gain, said):
    sentences, *_ = make(*map(read_run, write_pair(tmp_path, gain)))
    assert said in sentences[0]


def test_as_many_as_more_labels(make, tmp_path):
    runs = list(map(read_run, write_pair(tmp_path)))
    for labels, score in ((64, 50.0), (32, 41.0)):
        cfg = run_config('SupOnly')
        folder = tmp_path / f'sup{labels}'
        runs.append(read_run(write_run(folder, cfg, records_of((score,) * 2), labels)))
    sentences, *_ = make(*runs)
    assert (
        'about as many as 28 more labels (between the runs with 32 and 64)'
        in (sentences[0])
    )


def test_warnings_audit_and_bank(make, tmp_path):
    records = records_of((30.0, 50.0))
    records[0].update({'audit/pseudo/accuracy@0.9': 80.0, 'bank_rows': 3.0})
    records[0].update(dict(bank_fill1=0.5, bank_least1=0.0))
    records[0]['audit/pseudo/coverage.a@0.9'] = 1.0
    lines = [
        ('WARNING', 'class <b> starves'),
        ('INFO', 'pseudo labels: a 100.0% (30% kept)'),
        ('INFO', 'did the unlabeled images help? 51% taught. To see whether more'),
    ]
    folder = write_run(tmp_path / 'mt', run_config(), records, lines=lines)
    _, page, text = make(read_run(folder))
    assert 'class &lt;b&gt; starves' in text and 'at the start' in page.text
    assert 'Audit of the pseudo labels' in page.text and 'accuracy@0.9' in page.text
    assert 'coverage.a@0.9' not in page.text
    assert 'Memory bank' in page.text and '51% taught.' in page.text
    assert 'Fill of the memory bank' in page.text and 'bank 1, all' in page.text
    assert 'bank 1, class with the fewest rows' in page.text
    assert 'bank_fill' not in page.text and 'bank_rows' in page.text


def test_banks_and_drawn_pictures(make, tmp_path):
    folder = write_pair(tmp_path)[0]
    places = dict(validation=8, pseudo_labels=8, features=4, other=4)
    for place, width in places.items():
        (folder / 'report_pictures' / place).mkdir(parents=True)
        for number in range(3):
            file = folder / 'report_pictures' / place / f'{number}.png'
            Image.fromarray(np.zeros((4, width, 3), np.uint8)).save(file)
    colours = folder / 'report_pictures' / 'colours.json'
    colours.write_text('{"sky": "#0080ff"}')
    run = read_run(folder)
    assert run.pictures == []
    bank = Bank('contrast.bank', 4, dict(a=4, b=2))
    _, page, text = make(run._replace(banks=(bank,)), pictures=2)
    assert page.tags.count('img') == 3 * 2
    assert text.count('class="row"') == 2 * 2 and text.count('class="one"') == 2
    legend = re.findall(r'class="swatch"\s+style="--k:(.+?)">(.+?)<', text)
    assert legend == [('#0080ff', 'sky')] * 2  # of rows of pictures
    for part in (
        'Validation images',
        'Unlabeled images and their pseudo labels',
        'Memory bank contrast.bank 75 % of its places',
        'rows of 4',
    ):
        assert part in page.text
    assert 't-SNE' in page.text and 'width:50.0%' in text


def test_seeds(make, tmp_path):
    runs = [
        read_run(
            write_run(tmp_path / 'mt' / f'seed{seed}', run_config(seed=seed), records),
            f'mt/seed{seed}',
        )
        for seed, records in enumerate(
            [records_of((20.0,) * 2), records_of((30.0,) * 2)]
        )
    ]
    _, page, _ = make(*runs)
    assert '25.0 ± 7.1' in page.text and '0, 1' in page.text


def test_pairs_share_a_column_and_a_name_in_the_legend(make, tmp_path):
    *train, last = records_of((20.0, 30.0))
    pairs = dict(step=last['step'])
    for number in range(2):
        for key, value in last.items():
            if key.startswith('student/'):
                pairs[key.replace('/', f'{number}/')] = value + 10 * number
    cfg = run_config('CTT')
    cfg['model']['predict_with'] = 'mean_students'
    ctt = write_run(tmp_path / 'ctt', cfg, [*train, pairs])
    sup = write_pair(tmp_path)[1]
    _, page, text = make(read_run(ctt), read_run(sup))
    head = re.search(r'<thead>.*?</thead>', text, re.DOTALL)[0]
    assert re.findall(r'<th>(.+?)</th>', head)[:3] == ['run', 'student', 'labels']
    assert '25.0, 35.0' in page.text
    assert page.text.count('ctt: students') == 1
    assert 'sup: student' in page.text


@pytest.mark.parametrize(
    ('scores', 'said'),
    [
        ((0.0, 90.0), "finds no class but 'b' yet: train longer before you compare."),
        ((0.5, 0.0), 'finds no class yet: train longer before you compare.'),
        ((1.0, 90.0), None),
    ],
)
def test_a_run_that_has_learned_nothing(make, tmp_path, scores, said):
    run = read_run(write_run(tmp_path / 'mt', run_config(), records_of(scores)))
    sentences, *_ = make(run)
    assert sentences[1:] == ([f'mt {said}'] if said else [])
