"""Settings of version 0.1 that have another name now, by method."""

MEAN_TEACHER = {
    'unsup_weight': 'pseudo_loss.weight',
    'cutmix_area': 'mix.area',
    'cutmix_aspect': 'mix.aspect',
    'soft_labels': "pseudo_label=dict(type='SoftLabel')",
    'temperature': "pseudo_label=dict(type='SoftLabel', temperature=...)",
}
CAC = {
    'unsup_weight': 'contrast.weight',
    'start_iter': 'contrast.start',
    'bank_steps': 'contrast.bank.steps',
    'proj_channels': 'contrast.projector.channels',
    'proj_hidden': 'contrast.projector.hidden_channels',
    'weak_stream': 'weak.stream',
    'weak_weight': 'weak.weight',
    'weak_ramp': 'weak.ramp_up',
    'weak_dropout': 'weak.dropout',
}
CTT = {
    'ct_weight': 'pseudo_loss.weight',
    'proj_channels': 'contrast.projector.channels',
    'bank_size': 'contrast.bank.size',
    'bank_ready': 'contrast.ready',
}
CMB = {
    'pseudo_weight': 'pseudo_loss.weight',
    'entropy_weight': 'entropy.weight',
    'entropy_norm': 'entropy.norm',
    'entropy_over': 'entropy.over',
    'contrast_weight': 'contrast.weight',
    'contrast_start': 'contrast.start',
    'contrast_joint': 'contrast.joint',
    'selector_input': 'contrast.attention_input',
    'bank_size': 'contrast.bank.size',
    'bank_from': 'contrast.candidates.network',
    'bank_rank': 'contrast.candidates.rank',
    'rank_selector': 'contrast.candidates.rank_by',
    'read_at': 'contrast.candidates.read_at',
    'quality_filter': 'contrast.candidates.threshold',
    'quality_threshold': 'contrast.candidates.threshold',
    'enqueue_number': 'contrast.candidates.number',
    'enqueue_per': 'contrast.candidates.per',
    'bank_start': 'contrast.candidates.start',
}
MOVED = dict(MeanTeacher=MEAN_TEACHER, CAC=CAC, CTT=CTT, CMB=CMB)


def moved_to(method: type, name: str) -> str | None:
    """Where a setting of a method of version 0.1 is now; None: it is none of these.

    >>> moved_to(type('CAC', (), {}), 'unsup_weight')
    'model.contrast.weight'
    """
    for base in method.__mro__:
        place = MOVED.get(base.__name__, {}).get(name)
        if place is not None:
            return f'model.{place}'
    return None
