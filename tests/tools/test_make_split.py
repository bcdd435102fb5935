import hashlib
import json
import os

import numpy as np
import pytest
from PIL import Image

from mmsemiseg.datasets import FolderSegDataset, UnlabeledDataset
from mmsemiseg.datasets.split import from_each_group, stratified


@pytest.fixture
def data(tmp_path):
    """40 images in two sequences; class 3 is in two of them, 255 in all."""
    for i in range(40):
        name = f'{"a" if i < 20 else "b"}/{i:02}'
        mask = np.full((8, 8), i % 2, np.uint8)
        mask[0, 0] = 255
        mask[1] = 2
        if i in (5, 33):
            mask[2, :4] = 3
        for folder, suffix in (('images', '.JPG'), ('labels', '.png')):
            path = tmp_path / folder / (name + suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, 'wb') as file:
                Image.fromarray(mask).save(
                    file, format='PNG' if suffix == '.png' else 'JPEG'
                )
    return tmp_path


def run(tool, data, out, *options, masks=True):
    options = ['--images', str(data / 'images'), '--out', str(out), *options]
    if masks:
        options += ['--masks', str(data / 'labels')]
    assert tool.main(options) == 0
    lists = [(out / f'{n}.txt').read_text().split() for n in ('labeled', 'unlabeled')]
    return *lists, json.loads((out / 'split.json').read_text())


def test_random_split_partitions_the_images(data, load_tool):
    tool = load_tool('make_split')
    labeled, unlabeled, sidecar = run(
        tool, data, data / 's', '--fraction', '1/8', masks=False
    )
    assert len(labeled) == 5 and len(unlabeled) == 35
    assert len({*labeled, *unlabeled}) == 40
    for name in ('labeled', 'unlabeled'):
        content = (data / f's/{name}.txt').read_bytes()
        assert sidecar[name]['sha256'] == hashlib.sha256(content).hexdigest()
    assert sidecar['settings']['seed'] == 0 and sidecar['settings']['fraction'] == '1/8'
    assert 'classes' not in sidecar['labeled']


def test_same_seed_gives_the_same_files_whatever_the_order_of_the_folder(
    data, load_tool, monkeypatch
):
    tool = load_tool('make_split')
    options = ('--count', '6', '--stratified', '--seed', '3')
    run(tool, data, data / 's1', *options)
    real_walk = os.walk

    def backwards(*args, **kwargs):
        for root, folders, files in real_walk(*args, **kwargs):
            folders.reverse()
            yield root, folders, files[::-1]

    monkeypatch.setattr(os, 'walk', backwards)
    run(tool, data, data / 's2', *options)
    for name in ('labeled.txt', 'unlabeled.txt', 'split.json'):
        assert (data / 's1' / name).read_bytes() == (data / 's2' / name).read_bytes()
    other, _, _ = run(tool, data, data / 's3', *options[:-1], '4')
    assert other != (data / 's1/labeled.txt').read_text().split()


def test_the_choice_of_a_seed_is_fixed_for_ever(data, load_tool):
    labeled, _, _ = run(load_tool('make_split'), data, data / 's', '--count', '3')
    assert labeled == ['a/12', 'a/16', 'b/27']


def test_stratified_holds_every_class_near_the_whole(data, load_tool):
    tool = load_tool('make_split')
    for seed in range(4):
        options = ('--count', '8', '--stratified', '--seed', str(seed))
        labeled, _, sidecar = run(tool, data, data / f's{seed}', *options)
        assert {'a/05', 'b/33'} & set(labeled)
        classes = sidecar['labeled']['classes']
        assert set(classes) == {'0', '1', '2', '3'}
        assert classes['0']['images'] == classes['1']['images'] == 4
    whole = sidecar['whole']
    assert whole['images'] == 40
    assert whole['classes']['3'] == dict(pixels=8, images=2)
    assert whole['classes']['2'] == dict(pixels=320, images=40)


def test_stratified_with_too_few_images():
    pixels = dict(x={0: 1}, y={1: 1}, z={2: 1})
    with pytest.raises(ValueError, match='count=2 is too small.* 3 classes need 3'):
        stratified(['x', 'y', 'z'], 2, pixels, seed=0)
    assert sorted(stratified(['x', 'y', 'z'], 3, pixels, seed=0)) == ['x', 'y', 'z']


def test_as_many_of_each_group(data, load_tool, capsys):
    tool = load_tool('make_split')
    options = ('--group', '^([ab])/', '--count', '6', '--seed', '2')
    labeled, unlabeled, sidecar = run(tool, data, data / 's', *options)
    assert [stem[0] for stem in labeled] == ['a'] * 3 + ['b'] * 3
    assert len({*labeled, *unlabeled}) == 40
    assert sidecar['settings']['group'] == '^([ab])/'
    assert 'groups by their labeled images: 2 with 3\n' in capsys.readouterr().out
    others, _, _ = run(tool, data, data / 't', *options[:-1], '3')
    assert others != labeled
    more, _, _ = run(
        tool, data, data / 'u', *options[:2], '--count', '8', '--seed', '2'
    )
    assert set(labeled) < set(more)
    halves, _, _ = run(
        tool, data, data / 'v', '--group', '([0-3])[0-9]$', '--count', '8'
    )
    assert sorted(stem[2] for stem in halves) == sorted('00112233')


def test_groups_that_are_small_and_a_remainder():
    groups = dict(
        x=[f'x{i}' for i in range(9)], y=['y0'], z=[f'z{i}' for i in range(5)]
    )
    chosen = [from_each_group(groups, 8, seed) for seed in range(20)]
    shares = [tuple(sorted(s[0] for s in stems)) for stems in chosen]
    assert {''.join(share) for share in shares} == {'xxxxyzzz', 'xxxyzzzz'}
    assert sorted(from_each_group(groups, 15, 0)) == sorted(sum(groups.values(), []))
    backwards = {name: groups[name][::-1] for name in reversed(groups)}
    assert from_each_group(backwards, 8, 4) == chosen[4]


def test_by_prefix_and_evenly_spaced(data, load_tool):
    tool = load_tool('make_split')
    options = ('--prefix', 'b/', '--count', '4', '--even')
    labeled, unlabeled, _ = run(tool, data, data / 's', *options)
    assert labeled == ['b/22', 'b/27', 'b/32', 'b/37']
    assert len(unlabeled) == 36
    labeled, _, _ = run(tool, data, data / 't', '--prefix', '0', '--prefix', '39')
    assert labeled == [f'a/0{i}' for i in range(10)] + ['b/39']


def test_datasets_read_the_lists(data, load_tool):
    run(load_tool('make_split'), data, data / 's', '--count', '4')
    labeled = FolderSegDataset(
        data_root=str(data),
        ann_file='s/labeled.txt',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=tuple('abcd')),
    )
    listed = UnlabeledDataset('s/unlabeled.txt', str(data), image_dir='images')
    rest = UnlabeledDataset('images', str(data), exclude='s/labeled.txt')
    assert len(labeled) == 4 and len(listed) == 36
    paths = [
        {d.get_data_info(i)['img_path'] for i in range(len(d))} for d in (listed, rest)
    ]
    assert paths[0] == paths[1]


def test_masks_are_needed_for_labeled_images_only(data, load_tool):
    tool = load_tool('make_split')
    labeled, unlabeled, _ = run(tool, data, data / 's', '--count', '4')
    (data / 'labels' / f'{unlabeled[0]}.png').unlink()
    _, _, sidecar = run(tool, data, data / 's', '--count', '4')
    assert 'whole' not in sidecar
    assert sidecar['labeled']['classes']['2']['images'] == 4
    (data / 'labels' / f'{labeled[0]}.png').unlink()
    found = f'1 images have no mask.*{labeled[0]}.*list those that'
    with pytest.raises(FileNotFoundError, match=found):
        run(tool, data, data / 's', '--count', '4')


@pytest.mark.parametrize(
    'options, words',
    [
        (('--count', '41'), 'from 1 to 40, but is 41'),
        (('--fraction', '0'), 'from 1 to 40, but is 0'),
        ((), 'set --count'),
        (('--prefix', 'zz'), "prefix='zz' fits none"),
        (
            ('--count', '4', '--group', '^(a)/'),
            r'no group in 20 of 40 names: b/20, b/21',
        ),
        (
            ('--count', '4', '--group', '^(a)?'),
            r"'\^\(a\)\?' finds no group in 20 of 40",
        ),
        (('--count', '4', '--group', '^a'), 'must hold parentheses'),
        (('--count', '4', '--group', '(a'), r"group='\(a' is no regular expression"),
        (
            ('--count', '1', '--group', '^(.)/'),
            'count=1 is too small: there are 2 groups',
        ),
    ],
)
def test_bad_settings(data, load_tool, options, words):
    with pytest.raises(ValueError, match=words):
        run(load_tool('make_split'), data, data / 's', *options)


def test_audit_and_import_of_published_lists(data, load_tool, capsys):
    stems = [f'{"a" if i < 20 else "b"}/{i:02}' for i in range(40)]
    lines = [f'/x/images/{s}.JPG /x/labels/{s}.png' for s in stems[:3]]
    (data / 'l.txt').write_text('\n'.join(lines))
    (data / 'u.txt').write_text('\n\n'.join([f'images/{s}.jpg' for s in stems[3:]]))
    tool = load_tool('make_split')
    files = [str(data / 'l.txt'), str(data / 'u.txt')]
    labeled, _, sidecar = run(tool, data, data / 's', '--audit', *files)
    assert labeled == stems[:3]
    assert sidecar['settings'] == dict(imported=['l.txt', 'u.txt'])
    assert 'no problem found' in capsys.readouterr().out
    (data / 'l.txt').write_text('a/00\na/00\nc/77\na/04\n')
    (data / f'labels/{stems[4]}.png').unlink()
    options = ['--images', str(data / 'images'), '--masks', str(data / 'labels')]
    assert tool.main([*options, '--audit', *files]) == 1
    report = capsys.readouterr().out
    assert '1 names of the labeled list are no images: c/77' in report
    assert '1 repeated in the labeled list: a/00' in report
    assert '1 images are in both lists: a/04' in report
    assert '2 images are in neither list: a/01, a/02' in report
    assert '1 labeled images have no mask: a/04' in report


def test_help_has_examples(load_tool, capsys):
    with pytest.raises(SystemExit) as end:
        load_tool('make_split').main(['--help'])
    assert end.value.code == 0
    assert 'examples:' in capsys.readouterr().out


def test_names_that_begin_with_the_sign_of_comments_are_listed(tmp_path, load_tool):
    for name in ('#1', '#2', '3'):
        (tmp_path / 'images').mkdir(exist_ok=True)
        Image.new('RGB', (8, 8)).save(tmp_path / f'images/{name}.png')
    tool = load_tool('make_split')
    labeled, unlabeled, _ = run(
        tool, tmp_path, tmp_path / 's', '--count', '2', masks=False
    )
    assert sorted([*labeled, *unlabeled]) == ['./#1', './#2', '3']
    rest = UnlabeledDataset('images', str(tmp_path), exclude='s/labeled.txt')
    assert len(rest) == 1
    lists = [str(tmp_path / f's/{name}.txt') for name in ('labeled', 'unlabeled')]
    images = str(tmp_path / 'images')
    assert tool.main(['--images', images, '--audit', *lists]) == 0
