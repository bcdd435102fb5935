import math

import pytest
import torch

from mmsemiseg.apis.uncertainty import Score, score, write_ranking


def test_score_of_three_classes():
    probs = torch.tensor([0.5, 0.25, 0.25]).view(3, 1, 1).expand(3, 2, 2)
    entropy = 1.5 * math.log(2) / math.log(3)  # 1/2 log 2 + 2 * 1/4 log 4
    assert score(probs) == pytest.approx((entropy, 0.5))


def test_files(tmp_path):
    scores = {
        'a/1.jpg': Score(0.25, 0.9),
        '#2.png': Score(0.5, 0.8),
        '3.png': Score(0.25, 1),
    }
    write_ranking(tmp_path / 'new' / 'next.csv', scores)
    assert (tmp_path / 'new' / 'next.csv').read_text().splitlines() == [
        'rank,image,uncertainty,confidence',
        '1,#2.png,0.5000,0.8000',
        '2,3.png,0.2500,1.0000',
        '3,a/1.jpg,0.2500,0.9000',
    ]
    write_ranking(tmp_path / 'next.txt', scores)
    assert (tmp_path / 'next.txt').read_text() == './#2\n3\na/1\n'
