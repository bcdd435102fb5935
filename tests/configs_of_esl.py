"""The splits of ESL's tables, and how long a run of each is."""

import re

from config_files import PATHS

ESL_LABELS = {
    'cityscapes': {'1-16': 186, '1-8': 372, '1-4': 744, '1-2': 1488},
    'voc-aug': {'1-16': 662, '1-8': 1323, '1-4': 2646, '1-2': 5291},
    'voc-classic': {'1-16': 92, '1-8': 183, '1-4': 366, '1-2': 732, 'full': 1464},
}
# Where another method's split of this name has another number of labels
ESL_SPLITS = {('voc-aug', '1-4'): '2646_0', ('cityscapes', '1-2'): '1488_0'}
OF_ESL = re.compile(r'.*esl.*_(cityscapes|voc-aug|voc-classic)-(full|1-\d+)')
ESL = [path for path in PATHS if OF_ESL.match(path.stem)]


def epochs_of_esl(path):
    """Iterations of a row of ESL's tables; None for other configs."""
    if path not in ESL:
        return None
    data, split = OF_ESL.match(path.stem).groups()
    images, epochs = (2975, 200) if data == 'cityscapes' else (10582, 80)
    return epochs * ((images - ESL_LABELS[data][split]) // 8)
