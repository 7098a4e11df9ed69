"""What scripts/bench/ops measures: for each op some cases, as an expression of Lua and a function of PyTorch."""

import dataclasses
import typing

SAFETENSORS = {"torch.float32": "F32", "torch.bfloat16": "BF16", "torch.float16": "F16", "torch.int64": "I64",
               "torch.int32": "I32", "torch.uint8": "U8", "torch.bool": "BOOL"}

# Ops that are not measured here, and why.
WITHOUT = {
    **dict.fromkeys(["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send", "recv",
                     "barrier", "reduce"], "communicates"),
    **dict.fromkeys(["reshape", "permute", "slice", "expand", "shard", "transpose", "unfold"],
                    "a view, without a kernel"),
    "copy_to": "a copy as contiguous",
}


@dataclasses.dataclass
class Case:
    op: str
    name: str
    lua: str  # of the tensors a, b, c, d
    torch: typing.Callable
    # Makes the inputs, by name.
    inputs: typing.Callable
    # Allowed difference, beside the largest value.
    tolerance: float = 1e-5
    # Only the distribution is compared.
    random: bool = False


CASES = []


def normal(*shape, dtype="float32", positive=False):
    def make(torch, generator):
        x = torch.randn(shape, generator=generator)
        return (x.abs() + 0.01 if positive else x).to(getattr(torch, dtype))
    return make


def integers(*shape, low=0, high=100, dtype="int64"):
    def make(torch, generator):
        return torch.randint(low, high, shape, generator=generator).to(getattr(torch, dtype))
    return make


def permutation(count, of=None):
    """`count` of the numbers below `of`, in any order, none twice."""
    return lambda torch, generator: torch.randperm(of or count, generator=generator)[:count]


def case(op, name, lua, torch, *makers, **more):
    def inputs(module):
        generator = module.Generator().manual_seed(7)
        return {letter: make(module, generator) for letter, make in zip("abcd", makers)}
    CASES.append(Case(op, name, lua, torch, inputs, **more))


def torch_of(call):
    """A function of PyTorch's module and tensors as one of tensors: PyTorch is imported when it is called first."""
    def bound(*tensors):
        import torch
        return call(torch, *tensors)
    return bound


# 16 MiB in f32: more than the second-level cache holds; and what it does hold.
LARGE, SMALL = 4 << 20, 64 << 10
TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3}


def unary():
    names = {"neg": "neg", "abs": "abs", "exp": "exp", "sqrt": "sqrt", "reciprocal": "reciprocal",
             "square": "square", "sin": "sin", "cos": "cos", "tanh": "tanh", "sigmoid": "sigmoid", "relu": "relu",
             "floor": "floor", "ceil": "ceil", "round": "round", "sign": "sign", "isnan": "isnan", "log": "log",
             "rsqrt": "rsqrt", "logical_not": "logical_not", "erf": "erf", "gelu": "nn.functional.gelu",
             "silu": "nn.functional.silu", "softplus": "nn.functional.softplus", "log1p": "log1p", "expm1": "expm1"}
    for op, name in names.items():
        positive = op in ("log1p", "log", "sqrt", "rsqrt", "reciprocal")
        for count, dtype in ((LARGE, "float32"), (SMALL, "float32"), (1 << 20, "bfloat16")):
            case(op, f"{short(dtype)} {text(count)}", f"peri.{op}(a)", resolve(name),
                 normal(count, dtype=dtype, positive=positive), tolerance=TOLERANCE[dtype])


def gelu_tanh():
    for count, dtype in ((LARGE, "float32"), (SMALL, "float32"), (1 << 20, "bfloat16")):
        case("gelu_tanh", f"{short(dtype)} {text(count)}", "peri.gelu_tanh(a)",
             torch_of(lambda t, a: t.nn.functional.gelu(a, approximate="tanh")), normal(count, dtype=dtype),
             tolerance=TOLERANCE[dtype])


def binary():
    names = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "maximum": "maximum", "minimum": "minimum",
             "eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "logical_and": "logical_and",
             "logical_or": "logical_or", "pow": "pow", "mod": "remainder"}
    for op, name in names.items():
        for count, dtype in ((LARGE, "float32"), (SMALL, "float32"), (1 << 20, "bfloat16")):
            inputs = normal(count, dtype=dtype, positive=op in ("pow", "mod", "div"))
            # A quotient next to a whole number rounds either way: remainders of whole numbers have no such.
            if op == "mod":
                inputs = integers(count, low=1, high=200, dtype=dtype)
            case(op, f"{short(dtype)} {text(count)}", f"peri.{op}(a, b)", resolve(name), inputs, inputs,
                 tolerance=TOLERANCE[dtype])
    for op, name in {"add": "add", "mul": "mul", "maximum": "maximum", "eq": "eq", "mod": "remainder",
                     "floor_div": "floor_divide"}.items():
        inputs = integers(1 << 20, low=1, high=1000)
        case(op, "i64 1 M", f"peri.{op}(a, b)", resolve(name), inputs, inputs)
    rows, line = normal(2048, 2048), normal(2048)
    case("add", "f32 2048x2048 + 2048", "a + b", resolve("add"), rows, line)
    case("add", "f32 2048x2048 + 2048x1", "a + b", resolve("add"), rows, normal(2048, 1))
    case("mul", "f32 4 M by a number", "a * 2.5", lambda a: a * 2.5, normal(LARGE))
    for count in (LARGE, SMALL):
        case("where", f"f32 {text(count)}", "peri.where(a:gt(0), a, b)", torch_of(lambda t, a, b: t.where(a > 0, a, b)),
             normal(count), normal(count))


def casts():
    for source, target in (("float32", "bfloat16"), ("bfloat16", "float32"), ("float32", "float16"),
                           ("float16", "float32"), ("int64", "float32"), ("float32", "int64"), ("int32", "float32"),
                           ("uint8", "float32"), ("bool", "float32")):
        make = normal(1 << 20, dtype=source) if "float" in source else \
            integers(1 << 20, high=2 if source == "bool" else 200, dtype=source)
        case("cast", f"{short(source)} to {short(target)} 1 M", f'peri.cast(a, "{short(target)}")',
             torch_of(lambda t, a, target=target: a.to(getattr(t, target))), make)


def creation():
    case("full", "f32 4 M", f"peri.full({{{LARGE}}}, 1.5)", torch_of(lambda t: t.full((LARGE,), 1.5)))
    case("arange", "i64 1 M", f"peri.arange({1 << 20})", torch_of(lambda t: t.arange(1 << 20)))
    case("arange", "f32 1 M", f'peri.arange({1 << 20}, 0, 1, "f32")',
         torch_of(lambda t: t.arange(1 << 20, dtype=t.float32)))
    case("rand", "f32 1 M", f"peri.rand({{{1 << 20}}}, 3)", torch_of(lambda t: t.rand(1 << 20)), random=True)
    case("randn", "f32 1 M", f"peri.randn({{{1 << 20}}}, 3)", torch_of(lambda t: t.randn(1 << 20)), random=True)


def reductions():
    square = normal(2048, 2048)
    for op, name in {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin"}.items():
        call = resolve(name)
        case(op, "f32 2048x2048 all", f"peri.{op}(a)", lambda a, call=call: call(a), square)
        for dim in (1, 2):
            case(op, f"f32 2048x2048 dim {dim}", f"peri.{op}(a, {{{dim}}})",
                 lambda a, call=call, dim=dim: call(a, dim - 1), square)
    for dim in (1, 2):
        case("sum", f"bf16 2048x2048 dim {dim}", f"peri.sum(a, {{{dim}}})", lambda a, dim=dim: a.sum(dim - 1),
             normal(2048, 2048, dtype="bfloat16"), tolerance=1e-2)
        case("prod", f"f32 2048x512 dim {dim}", f"peri.prod(a, {{{dim}}})", lambda a, dim=dim: a.prod(dim - 1),
             lambda t, g: t.rand(2048, 512, generator=g) * 0.01 + 0.995, tolerance=1e-4)
        for op in ("argmax", "argmin"):
            case(op, f"f32 2048x2048 dim {dim}", f"peri.{op}(a, {dim})",
                 lambda a, op=op, dim=dim: getattr(a, op)(dim - 1), square)
    for op in ("any", "all"):
        case(op, "bool 2048x2048 dim 2", f"peri.{op}(a, {{2}})", lambda a, op=op: getattr(a, op)(1),
             integers(2048, 2048, high=2, dtype="bool"))
    case("norm", "f32 2048x2048 dim 2", "peri.norm(a, 2, {2})", lambda a: a.norm(2, 1), square)
    case("sum", "i64 1 M all", "peri.sum(a)", resolve("sum"), integers(1 << 20))
    case("sum", "f32 64x128x256 dim 2", "peri.sum(a, {2})", lambda a: a.sum(1), normal(64, 128, 256))
    case("sum", "f32 64 K all", "peri.sum(a)", resolve("sum"), normal(SMALL))


def sorting():
    for shape in ((64, 4096), (4096, 64), (1, 1 << 18)):
        case("sort", f"f32 {'x'.join(map(str, shape))}", "peri.sort(a)", lambda a: a.sort(stable=True),
             normal(*shape))
    case("sort", "i64 64x4096", "peri.sort(a)", lambda a: a.sort(stable=True), integers(64, 4096, high=1 << 40))
    case("topk", "f32 64x32000 of 50", "peri.topk(a, 50)", lambda a: a.topk(50), normal(64, 32000))
    case("topk", "f32 1024x256 of 4", "peri.topk(a, 4)", lambda a: a.topk(4), normal(1024, 256))


def normalisation():
    for dim in (1, 2):
        case("softmax", f"f32 2048x2048 dim {dim}", f"peri.softmax(a, {dim})", lambda a, dim=dim: a.softmax(dim - 1),
             normal(2048, 2048))
    case("softmax", "f32 16384x64", "peri.softmax(a, 2)", lambda a: a.softmax(1), normal(16384, 64))
    case("softmax", "f32 64x128x256 dim 2", "peri.softmax(a, 2)", lambda a: a.softmax(1), normal(64, 128, 256))
    case("softmax", "bf16 2048x2048", "peri.softmax(a, 2)", lambda a: a.softmax(1),
         normal(2048, 2048, dtype="bfloat16"), tolerance=1e-2)
    for dtype in ("float32", "bfloat16"):
        lines, weight = normal(2048, 2048, dtype=dtype), normal(2048, dtype=dtype)
        case("rms_norm", f"{short(dtype)} 2048x2048", "peri.rms_norm(a, b)",
             torch_of(lambda t, a, b: t.nn.functional.rms_norm(a, (2048,), b, 1e-5)), lines, weight,
             tolerance=TOLERANCE[dtype])
        case("layer_norm", f"{short(dtype)} 2048x2048", "peri.layer_norm(a, b, c)",
             torch_of(lambda t, a, b, c: t.nn.functional.layer_norm(a, (2048,), b, c, 1e-5)), lines, weight, weight,
             tolerance=TOLERANCE[dtype])


def linear_algebra():
    for m, k, n in ((512, 512, 512), (1024, 1024, 1024), (1, 4096, 4096), (128, 4096, 4096)):
        case("matmul", f"f32 {m}x{k}x{n}", "a:mm(b)", resolve("mm"), normal(m, k), normal(k, n), tolerance=1e-4)
    case("matmul", "f32 64 of 128x64x128", "peri.matmul(a, b)", resolve("matmul"), normal(64, 128, 64),
         normal(64, 64, 128), tolerance=1e-4)
    case("matmul", "bf16 512x512x512", "a:mm(b)", resolve("mm"), normal(512, 512, dtype="bfloat16"),
         normal(512, 512, dtype="bfloat16"), tolerance=1e-2)
    case("linear", "f32 128x1024x4096", "peri.linear(a, b, c)", resolve("nn.functional.linear"), normal(128, 1024),
         normal(4096, 1024), normal(4096), tolerance=1e-4)


def lookups():
    table, ids = normal(32000, 512), integers(2048, high=32000)
    case("embedding", "f32 2048 of 32000x512", "peri.embedding(a, b)", torch_of(
        lambda t, a, b: t.nn.functional.embedding(a, b)), ids, table)
    for dim in (1, 2):
        case("index_select", f"f32 2048x2048 dim {dim}", f"peri.index_select(a, b, {dim})",
             lambda a, b, dim=dim: a.index_select(dim - 1, b), normal(2048, 2048), integers(256, high=2048))
    for dim, shape in ((1, (256, 2048)), (2, (2048, 256))):
        case("index_copy", f"f32 2048x2048 dim {dim}", f"peri.index_copy(a, b, c, {dim})",
             lambda a, b, c, dim=dim: a.index_copy(dim - 1, b, c), normal(2048, 2048), permutation(256, 2048),
             normal(*shape))


def indexing():
    for dim in (1, 2):
        index = integers(2048, 2048, high=2048)
        case("gather", f"f32 2048x2048 dim {dim}", f"peri.gather(a, b, {dim})",
             lambda a, b, dim=dim: a.gather(dim - 1, b), normal(2048, 2048), index)
        case("scatter_add", f"f32 2048x2048 dim {dim}", f"peri.scatter_add(a, b, c, {dim})",
             lambda a, b, c, dim=dim: a.scatter_add(dim - 1, b, c), normal(2048, 2048), index, normal(2048, 2048),
             tolerance=1e-4)
        case("cumsum", f"f32 2048x2048 dim {dim}", f"peri.cumsum(a, {dim})", lambda a, dim=dim: a.cumsum(dim - 1),
             normal(2048, 2048), tolerance=1e-4)
    case("scatter", "f32 2048x2048 dim 2", "peri.scatter(a, b, c, 2)", lambda a, b, c: a.scatter(1, b, c),
         normal(2048, 2048), lambda t, g: t.rand(2048, 2048, generator=g).argsort(1), normal(2048, 2048))
    case("cumprod", "f32 2048x512 dim 2", "peri.cumprod(a, 2)", lambda a: a.cumprod(1),
         lambda t, g: t.rand(2048, 512, generator=g) * 0.01 + 0.995, tolerance=1e-4)
    case("one_hot", "i64 8192 of 512", "peri.one_hot(a, 512)",
         torch_of(lambda t, a: t.nn.functional.one_hot(a, 512).float()), integers(8192, high=512))
    case("masked_fill", "f32 4 M", "peri.masked_fill(a, b, 0.5)", lambda a, b: a.masked_fill(b, 0.5), normal(LARGE),
         integers(LARGE, high=2, dtype="bool"))


def windows():
    case("tile", "f32 512x512 by 4x2", "peri.tile(a, {4, 2})", lambda a: a.tile(4, 2), normal(512, 512))
    case("pad", "f32 2048x2048 by 3", "peri.pad(a, {3, 3, 3, 3})",
         torch_of(lambda t, a: t.nn.functional.pad(a, (3, 3, 3, 3))), normal(2048, 2048))
    case("conv1d", "f32 8x256x1024, 256 of 5", "peri.conv1d(a, b, c)", resolve("nn.functional.conv1d"),
         normal(8, 256, 1024), normal(256, 256, 5), normal(256), tolerance=1e-4)
    case("conv2d", "f32 4x64x56x56, 64 of 3x3", "peri.conv2d(a, b, c, 1, 1)",
         torch_of(lambda t, a, b, c: t.nn.functional.conv2d(a, b, c, 1, 1)), normal(4, 64, 56, 56),
         normal(64, 64, 3, 3), normal(64), tolerance=1e-4)


def moves():
    case("contiguous", "f32 2048x2048 transposed", "peri.contiguous(a:t())", lambda a: a.t().contiguous(),
         normal(2048, 2048))
    case("contiguous", "bf16 2048x2048 transposed", "peri.contiguous(a:t())", lambda a: a.t().contiguous(),
         normal(2048, 2048, dtype="bfloat16"))
    case("contiguous", "f32 128x12x64 permuted", "peri.contiguous(a:permute{2, 1, 3})",
         lambda a: a.permute(1, 0, 2).contiguous(), normal(2048, 12, 64))
    case("contiguous", "f32 every second column", "peri.contiguous(a:slice(2, 1, 2048, 2))",
         lambda a: a[:, ::2].contiguous(), normal(2048, 2048))
    for dim in (1, 2):
        case("cat", f"f32 2 of 2048x1024 dim {dim}", f"peri.cat({{a, b}}, {dim})",
             torch_of(lambda t, a, b, dim=dim: t.cat((a, b), dim - 1)), normal(2048, 1024), normal(2048, 1024))
    case("stack", "f32 2 of 2048x1024", "peri.stack({a, b}, 1)", torch_of(lambda t, a, b: t.stack((a, b))),
         normal(2048, 1024), normal(2048, 1024))


def transformers():
    def rope(torch, x, positions):
        half = x.shape[-1] // 2
        frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = (positions.double()[:, None] * frequencies).float()[:, None]
        cosine, sine = angles.cos(), angles.sin()
        first, second = x[..., :half].float(), x[..., half:].float()
        return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1).to(x.dtype)
    for dtype in ("float32", "bfloat16"):
        case("rope", f"{short(dtype)} 2048x12x64", "peri.rope(a, b)", torch_of(rope),
             normal(2048, 12, 64, dtype=dtype), lambda t, g: t.arange(2048),
             tolerance=max(1e-3, TOLERANCE[dtype]))  # as usual, PyTorch's angles are rounded to f32

    def attention(torch, q, k, v, causal=True):
        q, k, v = [x.transpose(0, 1)[None] for x in (q, k, v)]
        if q.shape[1] != k.shape[1]:
            k, v = [x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v)]
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return y[0].transpose(0, 1)
    for dtype in ("float32", "bfloat16"):
        whole = normal(2048, 12, 64, dtype=dtype)
        case("attention", f"{short(dtype)} 2048x12x64 causal", "peri.attention(a, b, c)", torch_of(attention), whole,
             whole, whole, tolerance=max(1e-4, TOLERANCE[dtype]))
    case("attention", "f32 512x12x64 all keys", "peri.attention(a, b, c, 0, false)",
         torch_of(lambda t, a, b, c: attention(t, a, b, c, False)), *[normal(512, 12, 64)] * 3, tolerance=1e-4)
    case("attention", "f32 1 of 2048x12x64", "peri.attention(a, b, c)",
         torch_of(lambda t, a, b, c: attention(t, a, b, c, False)), normal(1, 12, 64), *[normal(2048, 12, 64)] * 2,
         tolerance=1e-4)


def resolve(path):
    """A function of PyTorch by its path in the module."""
    found = None

    def call(*tensors):
        nonlocal found
        if found is None:
            import torch
            found = torch
            for word in path.split("."):
                found = getattr(found, word)
        return found(*tensors)
    return call


def short(dtype):
    return {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int64": "i64", "int32": "i32", "uint8": "u8",
            "bool": "bool"}[dtype]


def text(count):
    return f"{count >> 20} M" if count >= 1 << 20 else f"{count >> 10} K"


for group in (unary, gelu_tanh, binary, casts, creation, reductions, sorting, normalisation, linear_algebra, lookups,
              indexing, windows, moves, transformers):
    group()
