"""The inputs of scripts/bench/gpu, the results that they must give, and how far a result may be from them."""

import functools
import json
import os

import numpy as np


def save(path, tensor, dtype):
    """One tensor `x` as a safetensors file: the only format that every program here reads."""
    shape = list(tensor.shape)
    header = json.dumps({"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, tensor.nbytes]}})
    header += " " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode() + tensor.tobytes())


def load(path, dtype):
    with open(path, "rb") as file:
        skip = 8 + int.from_bytes(file.read(8), "little")
    return np.fromfile(path, dtype, offset=skip)


def bf16_of(values):
    """Rounds to nearest, ties to even; the bits. No NaN here."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def f64_of(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


class Data:
    """Makes the inputs in `folder`, and checks the results that programs leave there."""

    def __init__(self, folder, ranks, sizes, hidden, layers, sequences, matrices):
        self.folder, self.ranks = folder, ranks
        random = np.random.default_rng(20)
        for rank in range(ranks):
            # Signs and mantissas are random, magnitudes 1/8 to 2: any order of adding in f32 is exact.
            bits = random.integers(0, 1 << 16, max(sizes) // 2, dtype=np.uint16)
            self.put(f"x.{rank}", (bits & 0x81FF) | 0x3E00, "BF16")
            self.put(f"f.{rank}", random.standard_normal(max(matrices) ** 2, dtype=np.float32), "F32")
            for sequence in sequences:
                x = random.standard_normal((sequence, hidden), dtype=np.float32)
                self.put(f"s{sequence}.{rank}", bf16_of(x), "BF16")
        for i in range(1, layers + 1):
            w = random.standard_normal((hidden, hidden), dtype=np.float32) / np.float32(hidden**0.5)
            self.put(f"w{i}", bf16_of(w), "BF16")
        self.layers, self.random = layers, random
        self.sum = sum(f64_of(self.get(f"x.{rank}", np.uint16)) for rank in range(ranks))

    def make_decode(self, shape):
        """Weights and caches of one layer of Llama's shape, and a token's state."""
        self.shape = shape
        hidden, ff = shape["hidden"], shape["ff"]
        width, kv = shape["heads"] * shape["head_dim"], shape["kv_heads"] * shape["head_dim"]
        sizes = {"q": (hidden, width), "k": (hidden, kv), "v": (hidden, kv), "o": (width, hidden),
                 "gate": (hidden, ff), "up": (hidden, ff), "down": (ff, hidden)}
        for name, size in sizes.items():
            w = self.random.standard_normal(size, dtype=np.float32) / np.float32(size[0] ** 0.5)
            self.put(f"decode.{name}", bf16_of(w), "BF16")
        self.put("decode.norm", bf16_of(1 + 0.1 * self.random.standard_normal(hidden)), "BF16")
        self.put("decode.x", bf16_of(self.random.standard_normal((1, hidden))), "BF16")
        for context in shape["contexts"]:
            for name in ("keys", "values"):
                cache = self.random.standard_normal((context, shape["kv_heads"], shape["head_dim"]))
                self.put(f"decode.{name}.{context}", bf16_of(cache), "BF16")

    def put(self, name, tensor, dtype):
        save(f"{self.folder}/{name}.safetensors", tensor, dtype)

    def get(self, name, dtype):
        return load(f"{self.folder}/{name}.safetensors", dtype)

    def take(self, name, dtype):
        """A program's result on every rank, which must be the same bits; its files go."""
        results = []
        for rank in range(self.ranks):
            results.append(self.get(f"{name}.{rank}", dtype))
            os.remove(f"{self.folder}/{name}.{rank}.safetensors")
        if any(not np.array_equal(results[0], other) for other in results[1:]):
            raise ValueError(f"{name}: the ranks' results differ")
        return results[0]

    def check(self, row):
        """Checks the result that a row names; ValueError if it is wrong."""
        checks = {"all_reduce": self.check_all_reduce, "calls": self.check_calls, "layers": self.check_layers,
                  "decode": self.check_decode}
        checks[row["figure"]](row)

    def check_all_reduce(self, row):
        if not np.array_equal(self.take(row["result"], np.uint16), self.chain_of(row["bytes"], row["chain"])):
            raise ValueError(f"{row['result']}: not the sum")

    @functools.cache
    def chain_of(self, size, chain):
        """The last result of a chain: the sum over the ranks, then of as many equal terms, and so on. Each is
        exact in f32, and rounded once; powers of two scale without rounding, at one blow."""
        exact = self.ranks & (self.ranks - 1) == 0
        want = bf16_of(self.sum[: size // 2])
        for factor in [float(self.ranks) ** (chain - 1)] if exact else [self.ranks] * (chain - 1):
            want = bf16_of(f64_of(want) * factor)
        return want

    def check_calls(self, row):
        count = row["rows"] ** 2
        terms = [self.get(f"f.{rank}", np.float32)[:count].astype(np.float64) for rank in range(self.ranks)]
        error = np.abs(self.take(row["result"], np.float32) - sum(terms))
        if not np.all(error <= self.ranks * 2.0**-24 * sum(np.abs(t) for t in terms)):
            raise ValueError(f"{row['result']}: not the sum, wrong by {error.max():g}")

    def check_layers(self, row):
        want = self.layers_of(row["sequence"])
        got = f64_of(self.take(row["result"], np.uint16)).reshape(want.shape)
        error = np.linalg.norm(got - want) / np.linalg.norm(want)
        if not error <= 0.02:
            raise ValueError(f"{row['result']}: not the model's result, wrong by {error:.3g} of its norm")

    @functools.cache
    def layers_of(self, sequence):
        """What the layers give, in double precision, but rounded to bf16 where the model's values are."""
        x = [f64_of(self.get(f"s{sequence}.{r}", np.uint16)).reshape(sequence, -1) for r in range(self.ranks)]
        for i in range(1, self.layers + 1):
            w = f64_of(self.get(f"w{i}", np.uint16)).reshape(x[0].shape[1], -1)
            products = [f64_of(bf16_of(h @ w)) for h in x]
            # After the first all-reduce all ranks hold the same: one product stands for all.
            x = [f64_of(bf16_of(sum(products) * (self.ranks / len(products))))]
        return x[0]

    def check_decode(self, row):
        want = self.decoded(row["context"])
        got = f64_of(self.take(row["result"], np.uint16)).reshape(want.shape)
        error = np.linalg.norm(got - want) / np.linalg.norm(want)
        if not error <= 0.03:
            raise ValueError(f"{row['result']}: not the model's result, wrong by {error:.3g} of its norm")

    @functools.cache
    def decoded(self, context):
        """What the decode layers give, in single precision (weights of bf16), rounded to bf16 between operations."""
        shape = self.shape
        head_dim, kv_heads = shape["head_dim"], shape["kv_heads"]

        def get(name, *size):
            return f64_of(self.get(f"decode.{name}", np.uint16)).astype(np.float32).reshape(*size)

        def rounded(values):
            return f64_of(bf16_of(values)).astype(np.float32)

        def norm(h):
            return rounded(h / np.sqrt(np.mean(h.astype(np.float64) ** 2) + 1e-5) * weights["norm"])

        def rope(heads):
            angle = (context - 1) * 10000.0 ** (-np.arange(0, head_dim, 2) / head_dim)
            a, b = np.split(heads, 2, axis=-1)
            return rounded(np.concatenate([a * np.cos(angle) - b * np.sin(angle),
                                           a * np.sin(angle) + b * np.cos(angle)], axis=-1))

        hidden = shape["hidden"]
        weights = {n: get(n, hidden, -1) for n in ("q", "k", "v", "gate", "up")}
        weights |= {n: get(n, -1, hidden) for n in ("o", "down")} | {"norm": get("norm", -1)}
        cached = [get(f"{n}.{context}", context, kv_heads, head_dim) for n in ("keys", "values")]
        x = get("x", hidden)
        for _ in range(self.layers):
            h = norm(x)
            q, k, v = (rounded(h @ weights[n]).reshape(-1, head_dim) for n in ("q", "k", "v"))
            keys, values = (c.copy() for c in cached)
            keys[-1], values[-1] = rope(k), v
            q = rope(q).reshape(kv_heads, -1, head_dim)
            scores = np.einsum("ghd,tgd->ght", q, keys) / head_dim**0.5
            p = np.exp(scores - scores.max(axis=-1, keepdims=True))
            a = np.einsum("ght,tgd->ghd", p / p.sum(axis=-1, keepdims=True), values)
            x = rounded(x + rounded(rounded(a.reshape(-1)) @ weights["o"]))
            h = norm(x)
            gate, up = rounded(h @ weights["gate"]), rounded(h @ weights["up"])
            x = rounded(x + rounded(rounded(rounded(gate / (1 + np.exp(-gate))) * up) @ weights["down"]))
        return x
