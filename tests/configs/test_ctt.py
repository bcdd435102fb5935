"""Configs of CTT against its tables."""

import re

import pytest
from config_files import PATHS, ROOT, load, named, stem_of

CTT_LABELS = {
    'cityscapes': {'1-30': 100, '1-8': 372, '1-4': 744, '1-2': 1487},
    'voc-aug': {'1-50': 212, '1-20': 529, '1-8': 1322, '1-4': 2645},
    'voc-classic': {'1-16': 92, '1-8': 183, '1-4': 366, '1-2': 732},
}
# Where CMB or CAC takes one image more.
CTT_SPLITS = {('voc-aug', 529): '529_0', ('voc-aug', 1322): '1322_0'}
OF_CTT = re.compile(r'.*(cityscapes|voc-aug|voc-classic)-(full|1-\d+)')
CTT = [p for p in PATHS if ROOT / 'ctt' in p.parents and OF_CTT.match(p.stem)]


@pytest.mark.parametrize('path', CTT, ids=stem_of)
def test_bank_and_batches_of_ctt_fit_the_split(path):
    cfg = load(path)
    data, split = OF_CTT.match(path.stem).groups()
    streams = cfg.train_dataloader
    sizes = [stream.batch_size for stream in streams.values()]
    self_training = 'self_training' in cfg
    if self_training:
        sizes.append(cfg.self_training.batch_size)
    assert set(sizes) == {2 if data == 'cityscapes' else 10}
    assert ('unlabeled' in streams or self_training) != ('sup-only' in path.stem)
    assert cfg.auto_scale_lr.base_batch_size == sum(sizes)
    if split == 'full':
        assert list(streams) == ['labeled'] and cfg.model.type == 'SupOnly'
        return
    labels = CTT_LABELS[data][split]
    folder = CTT_SPLITS.get((data, labels), f'{split}_0')
    if data == 'voc-classic':
        folder = f'classic-{split}'
    assert f'splits/{folder}/' in streams.labeled.dataset.ann_file
    source = streams.unlabeled.dataset if 'unlabeled' in streams else None
    source = cfg.self_training.unlabeled if self_training else source
    if source is not None:
        lists = source.exclude if data == 'voc-classic' else source['images']
        assert f'splits/{folder}/' in lists
    contrast = cfg.model.get('contrast') or {}
    if cfg.model.type == 'CTT':  # so k = max(1, labels // N)
        assert contrast.get('enqueue_number', 'labeled/size') == 'labeled/size'


@pytest.mark.parametrize(('level', 'threshold'), [('hc', 0), ('lc', 1)])
def test_one_level_of_ctt_alone_has_all_cells(level, threshold):
    """Rows of Table 4, which are those of Table 8 with phi = 0 and 1."""
    end = '_deeplabv2-r101-coco_cityscapes-1-8'
    for name in (f'ctt-{level}', f'ctt-ct-{level}'):
        model = named(f'{name}{end}').model
        other = {'hc': 'lc', 'lc': 'hc'}[level]
        assert model.contrast == {'threshold': threshold, f'{other}_weight': 0}
    name = f'ctt-hc-lc-phi{100 * threshold}'
    row = named(f'{name}{end}')
    assert row.model.contrast == dict(threshold=threshold)


def test_the_separate_pairs_of_ctt_meet_in_testing_alone():
    name = 'ctt-ensemble-separate_deeplabv2-r101-coco_cityscapes-1-8'
    model = named(name).model
    assert (model.teaching, model.predict_with) == ('own', 'mean_students')
    assert model.contrast is None
