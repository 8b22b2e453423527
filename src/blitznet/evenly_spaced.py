"""Pick evenly spaced items."""


def evenly_spaced(total: int, count: int) -> list[int]:
    """Up to `count` indices of 0..total-1, ascending, including the first and the last."""
    if total <= count:
        return list(range(total))
    if count == 1:
        return [0]
    return [round(index * (total - 1) / (count - 1)) for index in range(count)]
