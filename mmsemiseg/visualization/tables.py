"""Tables in Markdown."""


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return ''.join(f'| {" | ".join(cells)} |\n' for cells in lines)
