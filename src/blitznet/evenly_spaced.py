"""A few of many, spread evenly."""


def evenly_spaced(total: int, count: int) -> list[int]:
    """Up to `count` positions of 0..total-1 in rising order, the first and the last among them."""
    if total <= count:
        return list(range(total))
    if count == 1:
        return [0]
    return [round(index * (total - 1) / (count - 1)) for index in range(count)]
