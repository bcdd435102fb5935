"""What the CPU can do."""

from pathlib import Path

import torch

BFLOAT16 = ('amx_bf16', 'avx512_bf16', 'bf16')  # Intel and AMD; the last one: Arm


def has_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16; False where that is not known."""
    return not _capabilities().isdisjoint(BFLOAT16)


def _capabilities() -> set[str]:
    ask = getattr(torch.cpu, 'get_capabilities', None)  # of newer releases alone
    if ask is not None:
        return {name for name, there in ask().items() if there is True}
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:  # not Linux
        return set()
    flags = [x for x in lines if x.lower().startswith(('flags', 'features'))]
    return set(flags[0].partition(':')[2].split()) if flags else set()
