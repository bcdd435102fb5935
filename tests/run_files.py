"""The files of a run, written without training."""

import json

from mmengine.config import Config

LINE = '2026/01/31 10:{:02}:00 - mmengine - {} - {}\n'
ENVIRONMENT = """
System environment:
    Python: 3.11.7 (main, May  9 2026) [GCC 12.2.0]
    PyTorch: 2.13.0+cpu
Runtime environment:
    seed: 0
"""


def run_config(method='MeanTeacher', seed=0, max_iters=100, **settings):
    student = dict(type='EncoderDecoder', backbone=dict(type='ResNet', depth=18))
    streams = dict(
        labeled=dict(dataset=dict(type='FolderSegDataset', data_root='data'))
    )
    if method != 'SupOnly':
        streams['unlabeled'] = dict(
            dataset=dict(type='UnlabeledDataset', images='more')
        )
    cfg = dict(
        model=dict(type=method, student=student, predict_with='student'),
        train_dataloader=streams,
        val_dataloader=dict(dataset=dict(type='FolderSegDataset', data_root='val')),
        train_cfg=dict(max_iters=max_iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        randomness=dict(seed=seed),
    )
    cfg.update(settings)
    return cfg


def records_of(scores, end=100, teacher=None):
    """Three training records and a validation; ``scores``: IoU of classes a and b."""
    train = [
        dict(lr=0.1 / n, loss=2.0 / n, loss_unsup=1.0 / n, time=0.5, step=n * end // 4)
        | dict(pseudo_coverage=0.25 * n, peak_memory_mb=100.0 + n)
        for n in (1, 2, 3)
    ]
    networks = dict(student=scores) | (dict(teacher=teacher) if teacher else {})
    values = {
        f'{network}/{key}': value
        for network, found in networks.items()
        for key, value in {
            'IoU.a': found[0],
            'IoU.b': found[1],
            'mIoU': sum(found) / 2,
        }.items()
    }
    return [*train, dict(values, step=end)]


def write_run(folder, cfg, records, labels=16, lines=(), stamp='20260131_100000'):
    """A work folder; ``lines``: (level, text) in the log after its beginning."""
    place = folder / stamp / 'vis_data'
    place.mkdir(parents=True)
    (folder / 'config.py').write_text(Config(cfg).pretty_text)
    text = ''.join(json.dumps(record) + '\n' for record in records)
    (place / 'scalars.json').write_text(text)
    start = [('INFO', ENVIRONMENT)]
    for name in cfg['train_dataloader']:
        images = labels if name == 'labeled' else 60
        text = f"stream '{name}': {images} images, 8 a step on each of 1 process(es), 9"
        start.append(('INFO', text))
    found = enumerate([*start, *lines])
    log = ''.join(LINE.format(minute, *line) for minute, line in found)
    (folder / stamp / f'{stamp}.log').write_text(log)
    return folder


def write_pair(root, gain=5.0, **settings):
    """``mt`` and ``sup`` of as many labels; the first one is better by ``gain``."""
    base, better = (30.0, 50.0), (30.0 + 2 * gain, 50.0)
    cfg = run_config(**settings)
    write_run(root / 'mt', cfg, records_of(better, teacher=(10.0, 20.0)))
    write_run(root / 'sup', run_config('SupOnly'), records_of(base))
    return root / 'mt', root / 'sup'
