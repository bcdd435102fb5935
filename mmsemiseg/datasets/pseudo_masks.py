"""Images with masks that a network wrote."""

import json
import os
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class PseudoMaskDataset(BaseSegDataset):
    """Images with pseudo masks, as self-training and ``tools/cam_masks.py`` write them.

    ``ann_file`` is their index file, JSON of the form ``[{"img_path": ...,
    "seg_map_path": ...}, ...]`` with mask paths relative to its folder. The masks hold
    class numbers, where 0 is the first class.
    """

    def load_data_list(self) -> list[dict]:
        if not os.path.isfile(self.ann_file):
            raise FileNotFoundError(f'ann_file does not exist: {self.ann_file}')
        folder = os.path.dirname(self.ann_file)
        with open(self.ann_file, encoding='utf-8') as file:
            pairs = json.load(file)
        return [
            dict(
                img_path=pair['img_path'],
                seg_map_path=os.path.join(folder, pair['seg_map_path']),
                label_map=None,
                reduce_zero_label=False,
                seg_fields=[],
            )
            for pair in pairs
        ]


def without_reduction(pipeline: Any) -> Any:
    """A copy of the pipeline of labeled data, for masks of class numbers.

    ``reduce_zero_label`` is left out wherever it is, since class 0 is 0 already.

    >>> without_reduction([dict(type='LoadAnnotations', reduce_zero_label=True)])
    [{'type': 'LoadAnnotations'}]
    """
    if isinstance(pipeline, dict):
        kept = {k: v for k, v in pipeline.items() if k != 'reduce_zero_label'}
        return {key: without_reduction(value) for key, value in kept.items()}
    if isinstance(pipeline, (list, tuple)):
        return type(pipeline)(without_reduction(value) for value in pipeline)
    return pipeline
