"""The lines of test_agreement.py. Of several steps, the last one is compared, and compiled."""

from __future__ import annotations

from function_cases import lines

ERRORS = lines("""
    x = t.ones(3, 3); i = t.tensor([[-1, 0, 0]]); t.gather(x, 0, i)
    x = t.ones(3, 3); i = t.tensor([[0, 3, 0]]); t.gather(x, 1, i)
    x = t.tensor(1.0); i = t.tensor([1]); x.gather(0, i)
    x = t.ones(3, 3); i = t.tensor([[-1, 0, 0]]); x.scatter(0, i, 1.0)
    x = t.ones(3, 3); i = t.tensor([[1], [3]]); x.scatter(1, i, x)
    x = t.ones(3, 3); i = t.tensor([[-1, 0, 0]]); x.scatter_add(0, i, x)
    x = t.ones(3, 3); i = t.tensor([[-1, 0, 0]]); x.scatter_reduce(0, i, x, "amax")
    x = t.ones(3, 3); i = t.tensor([[3]]); x.scatter_reduce(1, i, x, "mean")
    x = t.ones(3, 3); i = t.tensor([-1]); x.index_select(0, i)
    x = t.ones(3, 3); i = t.tensor([1, 3]); x.index_select(0, i)
    x = t.ones(3, 3); i = t.tensor([-1]); x.index_add(0, i, t.ones(1, 3))
    x = t.ones(5); i = t.tensor([5]); x.index_add(0, i, t.ones(1))
    x = t.ones(3, 3); i = t.tensor([-1]); x.index_copy(0, i, t.ones(1, 3))
    x = t.ones(3, 3); i = t.tensor([3]); x.index_fill(0, i, 5.0)
    x = t.ones(3, 3); i = t.tensor([-1]); t.index_reduce(x, 0, i, t.ones(1, 3), "prod")
    x = t.ones(3, 3); i = t.tensor([2, -10]); x.take(i)
    x = t.ones(3, 3); i = t.tensor([-10]); x.put(i, t.ones(1))
    x = t.ones(3, 3); i = t.tensor([-1]); F.embedding(i, x)
    x = t.ones(3, 3); i = t.tensor([[0, -1]]); F.embedding_bag(i, x)
    x = t.ones(3, 3); i = t.tensor([0, 3]); x[i]
    x = t.ones(3, 3); i = t.tensor([0, -4]); x[:, i]
    x = t.ones(3, 3); i = t.tensor([0, 1]); j = t.tensor([0, 4]); x[i, j]
    x = t.ones(3, 3); i = t.tensor([0, 1]); j = t.tensor([0, 4]); x[i, j] = 2.0
    x = t.ones(2, 4, 3); i = t.tensor([0, 1]); j = t.tensor([0, 4]); x[:, i, j]
    x = t.ones(2, 4, 3); i = t.tensor([0, 5]); j = t.tensor([0, 1]); x[i, :, j]
    i = t.tensor([0, 7]); F.one_hot(i, 5)
    x = t.tensor([0.5, 2.0]); F.binary_cross_entropy(x, t.ones(2))
    x = t.tensor([3]); x // 0
    x = t.tensor([3]); y = t.tensor([0]); x // y
    x = t.tensor([3]); y = t.tensor([0], dtype=t.int16); x % y
    x = t.tensor([3]); y = t.tensor([0]); t.div(x, y, rounding_mode="trunc")
    x = t.tensor([3, 1]); y = t.tensor([1, 0]); t.fmod(x, y)
    x = t.tensor([3]); y = t.tensor(0); t.remainder(x, y)
    x = t.tensor([3]); 5 // (x - 3)
    x = t.tensor([3]); x //= x - 3
""")
"""Errors, of the same classes and in the same words."""

LAYOUTS = lines("""
    x = t.zeros(0, 3); x + 1
    x = t.zeros(2, 0, 3); x.exp()
    x = t.ones(4, 3); x[:0] * 2
    x = t.ones(4, 3); i = t.zeros(0, dtype=t.int64); x[i]
    x = t.ones(3, 3); i = t.tensor([[0, 2, 1]]); x.t().gather(0, i)
""")
"""How results lie in memory."""

ALIKE = lines("""
    x = t.ones(3, 3); i = t.tensor([-1]); x.take(i)
    x = t.ones(3, 3); i = t.tensor([[-1, 0, 0]]); t.take_along_dim(x, i, 0)
    x = t.ones(3, 3); i = t.tensor([-1]); x.index_fill(0, i, 5.0)
    x = t.zeros(0, dtype=t.int64); x // 0
    x = t.zeros(0, dtype=t.int64); y = t.tensor([0]); x % y
    x = t.tensor([-7, 7]); y = t.tensor([2, -2], dtype=t.int8); t.div(x, y, rounding_mode="floor")
""")
"""Values, dtypes and strides."""
