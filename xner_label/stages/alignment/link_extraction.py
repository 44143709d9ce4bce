"""From similarities to links: SimAlign's methods and AWESoME's softmax.

Jalili Sabet et al. 2020 (SimAlign), Dou & Neubig 2021 (AWESoME). Every method takes similarities ``(pairs, rows,
columns)`` padded to the largest pair, -1 outside, and a boolean ``inside`` of the same shape, true where a cell
belongs to its pair; it returns a boolean of the same shape, true where a link is. Ties go to the first, as in
SimAlign.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Tensor = Any

# Weight of a cell one side of which is linked already, in itermax's second round.
_ITERMAX_ALPHA = 0.9


def forward_argmax(similarity: Tensor, inside: Tensor) -> Tensor:
    """Each row with its most similar column."""
    return _one_hot(similarity, 2) & inside


def backward_argmax(similarity: Tensor, inside: Tensor) -> Tensor:
    """Each column with its most similar row."""
    return _one_hot(similarity, 1) & inside


def intersection(similarity: Tensor, inside: Tensor) -> Tensor:
    """Rows and columns that choose each other (SimAlign's inter, or Argmax)."""
    return _one_hot(similarity, 2) & _one_hot(similarity, 1) & inside


def itermax(similarity: Tensor, inside: Tensor) -> Tensor:
    """The intersection, then another among cells that aren't linked on both sides (SimAlign's Itermax, 2 rounds).

    Pairs with fewer than three rows or columns keep the intersection, and so do those in which one side is linked
    completely.
    """
    links = intersection(similarity, inside)
    rows, columns = inside.any(2, keepdim=True), inside.any(1, keepdim=True)
    free_rows = rows & ~links.any(2, keepdim=True)
    free_columns = columns & ~links.any(1, keepdim=True)
    large = (rows.sum(1, keepdim=True) > 2) & (columns.sum(2, keepdim=True) > 2)
    large &= free_rows.any(1, keepdim=True) & free_columns.any(2, keepdim=True)
    weight = (_ITERMAX_ALPHA * (free_rows.to(similarity.dtype) + free_columns.to(similarity.dtype))).clamp_(
        max=1.0
    )
    # Cells outside keep their similarity below every cell inside.
    again = similarity.where(~inside, similarity * weight)
    candidates = (free_rows | free_columns) & large & inside
    return links | (_one_hot(again, 2) & _one_hot(again, 1) & candidates)


def maximum_matching(similarity: Tensor, inside: Tensor) -> Tensor:
    """The one-to-one links with the largest total similarity (SimAlign's mwmf, Match), by assignment."""
    import torch
    from scipy.optimize import linear_sum_assignment

    scores = similarity.cpu().numpy()
    rows = inside.any(2).sum(1).tolist()
    columns = inside.any(1).sum(1).tolist()
    links = np.zeros(scores.shape, dtype=bool)
    for number, (height, width) in enumerate(zip(rows, columns, strict=True)):
        chosen = linear_sum_assignment(scores[number, :height, :width], maximize=True)
        links[number][chosen] = True
    return torch.from_numpy(links).to(similarity.device)


def mutual_softmax(products: Tensor, inside: Tensor) -> Tensor:
    """How strongly rows and columns choose each other: the smaller of the two softmax probabilities.

    ``products`` are inner products rather than cosines, as in AWESoME. Links are where the result exceeds the
    threshold: both directions do (Dou & Neubig 2021, equation 3).
    """
    import torch

    masked = products.masked_fill(~inside, -torch.inf)
    mutual = torch.minimum(masked.softmax(2), masked.softmax(1))
    return mutual.masked_fill(~inside, 0.0)


def distort(similarity: Tensor, heights: Tensor, widths: Tensor, ratio: float) -> Tensor:
    """Lower the similarity of cells far from the diagonal: ``s * (1 - ratio * (i / (m - 1) - j / (n - 1))²)``.

    Pairs with a single row or column stay as they are. In float64, as SimAlign computes it.
    """
    import torch

    rows, columns = similarity.shape[1:]
    device = similarity.device
    down = torch.arange(rows, device=device, dtype=torch.float64)[None] / (heights[:, None] - 1).clamp(min=1)
    across = torch.arange(columns, device=device, dtype=torch.float64)[None] / (widths[:, None] - 1).clamp(min=1)
    share = torch.where((heights > 1) & (widths > 1), ratio, 0.0)[:, None, None]
    return similarity * (1.0 - (across[:, None, :] - down[:, :, None]) ** 2 * share)


def certain(similarity: Tensor, inside: Tensor, ratio: float) -> Tensor:
    """Cells whose row or column is decided enough to be linked at all (SimAlign's null alignment).

    A row's uncertainty is the entropy of its similarities, made to sum to one, over the logarithm of their number;
    a cell is kept unless the smaller uncertainty of its row and column exceeds ``ratio``. Pairs with fewer than
    three rows or columns are kept whole.
    """
    rows, columns = inside.any(2).sum(1), inside.any(1).sum(1)
    small = (rows <= 2) | (columns <= 2)
    row = _entropy(similarity, inside, 2) / columns.clamp(min=2).log()[:, None, None]
    column = _entropy(similarity, inside, 1) / rows.clamp(min=2).log()[:, None, None]
    return small[:, None, None] | (row.minimum(column) <= ratio)


def _entropy(similarity: Tensor, inside: Tensor, dimension: int) -> Tensor:
    import torch

    mass = similarity.where(inside, torch.zeros_like(similarity))
    share = mass / mass.sum(dimension, keepdim=True).clamp(min=torch.finfo(mass.dtype).tiny)
    return -(share * share.clamp(min=torch.finfo(mass.dtype).tiny).log()).sum(dimension, keepdim=True)


def _one_hot(similarity: Tensor, dimension: int) -> Tensor:
    import torch

    best = similarity.argmax(dimension, keepdim=True)
    return torch.zeros_like(similarity, dtype=torch.bool).scatter_(dimension, best, True)
