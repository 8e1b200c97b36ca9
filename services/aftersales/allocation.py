"""Exact division of money: no fen is lost and none is made.

>>> allocate(100, [1, 1, 1])
[34, 33, 33]
"""

from collections.abc import Sequence


def allocate(total_fen: int, weights: Sequence[int]) -> list[int]:
    """Divide an amount by weights, by largest remainder; the shares add up to it exactly.

    Shares left over go to the largest remainders, of equal ones to the earlier. With nothing
    but zero weights every share counts the same. `ValueError` for a negative amount or weight,
    or an amount with nobody to take it.
    """
    if total_fen < 0 or any(weight < 0 for weight in weights):
        raise ValueError("amounts and weights cannot be negative")
    if not weights:
        if total_fen:
            raise ValueError("an amount needs at least one share")
        return []
    if not any(weights):
        weights = [1] * len(weights)
    whole = sum(weights)
    shares = [total_fen * weight // whole for weight in weights]
    remainders = [total_fen * weight % whole for weight in weights]
    left = total_fen - sum(shares)
    for index in sorted(range(len(weights)), key=lambda n: (-remainders[n], n))[:left]:
        shares[index] += 1
    return shares
