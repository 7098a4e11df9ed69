"""PyTorch's side of scripts/bench/gpu, one process per GPU: NCCL and the symmetric-memory ops, on peri's
inputs.

    torch_ops.py FOLDER ROWS SETTINGS     rank and world in RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT

SETTINGS is JSON. Appends a line of JSON per figure to ROWS, on rank 0; a wrong result is an exception. Ops
that overwrite their operand would soon overflow: their graphs begin with a copy of the input, as peri's do.
"""

import gc
import json
import math
import os
import sys
import time

import torch
import torch.distributed as dist
import torch.distributed._symmetric_memory as symmetric

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import data  # noqa: E402

FOLDER, ROWS, SETTINGS = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
RANK, RANKS = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
DEVICE = torch.device("cuda", RANK)
OPS = torch.ops.symm_mem


def read(name, dtype=torch.bfloat16):
    path = f"{FOLDER}/{name}.safetensors"
    integers = data.load(path, "int16" if dtype == torch.bfloat16 else "int32")
    return torch.from_numpy(integers).to(DEVICE).view(dtype)


def write(**row):
    if RANK == 0:
        with open(ROWS, "a") as file:
            file.write(json.dumps(row) + "\n")


def save(name, tensor):
    """Leaves a result for the driver to check, and gives the name for its row."""
    data.save(f"{FOLDER}/{name}.{RANK}.safetensors", tensor.view(torch.int16).cpu().numpy(), "BF16")
    return name


def ready():
    torch.cuda.synchronize()
    dist.barrier()
    torch.cuda.synchronize()


def timed(calls, call, prepare=None):
    """As common.time of the Lua programs: microseconds per call of each round, of the slowest rank."""
    times = []
    for _ in range(SETTINGS["rounds"] + 1):
        if prepare:
            prepare()
        ready()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / calls * 1e6)
    slowest = torch.tensor(times[1:], dtype=torch.float64, device=DEVICE)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    return slowest.tolist()


def captured(body):
    """A graph of what `body` launches."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            body()
    ready()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        body()
    ready()
    return graph


def all_reduce(group):
    terms = [read(f"x.{rank}") for rank in range(RANKS)]
    for nbytes, chain, replays in SETTINGS["sizes"]:
        count = nbytes // 2
        pristine = terms[RANK][:count]
        want = sum(term[:count].double() for term in terms)
        shared = symmetric.empty(count, dtype=torch.bfloat16, device=DEVICE)
        symmetric.rendezvous(shared, group)
        out, ordinary = torch.empty_like(pristine), torch.empty_like(pristine)
        # Where each finds its operand and leaves its result; all of PyTorch's that use no multicast.
        columns = {
            "one_shot": (shared, out, lambda: OPS.one_shot_all_reduce_out(shared, "sum", group, out)),
            "one_shot_copy": (
                ordinary, out,
                lambda: OPS.one_shot_all_reduce_copy_out(shared, ordinary, "sum", group, out)),
            "two_shot": (shared, shared, lambda: OPS.two_shot_all_reduce_(shared, "sum", group)),
            "two_shot_out": (shared, out, lambda: OPS.two_shot_all_reduce_out(shared, "sum", group, out)),
            "nccl": (ordinary, ordinary, lambda: dist.all_reduce(ordinary)),
        }
        for column, (operand, result, call) in columns.items():
            result.zero_()
            operand.copy_(pristine)
            ready()
            call()
            ready()
            # An op may round after every addition: to bf16, of sums of up to twice the ranks.
            error = (result.double() - want).abs().max().item()
            if not error <= (RANKS - 1) * 2 * RANKS * 2.0**-8:
                raise ValueError(f"{column} of {nbytes} bytes: not the sum, wrong by {error:g}")

            overwrites = result is operand or column == "two_shot_out"

            def body():
                if overwrites:
                    operand.copy_(pristine)
                for _ in range(chain):
                    call()

            operand.copy_(pristine)
            graph = captured(body)
            times = timed(replays, graph.replay)
            if not torch.isfinite(result).all():
                raise ValueError(f"{column} of {nbytes} bytes: overflow")
            write(figure="all_reduce", peer="torch", column=column, bytes=nbytes,
                  us=[t / chain for t in times])
            del graph
        ready()


def layers(group):
    weights = [read(f"w{i + 1}") for i in range(SETTINGS["layers"])]
    hidden = math.isqrt(weights[0].numel())
    weights = [w.view(hidden, hidden) for w in weights]
    for sequence in SETTINGS["sequences"]:
        x = read(f"s{sequence}.{RANK}").view(sequence, hidden)
        shared = [symmetric.empty(sequence, hidden, dtype=torch.bfloat16, device=DEVICE) for _ in range(2)]
        for buffer in shared:
            symmetric.rendezvous(buffer, group)
        result = torch.empty_like(x)

        def with_nccl():
            h = x
            for w in weights:
                h = h @ w
                dist.all_reduce(h)
            result.copy_(h)

        def with_one_shot():
            h = x
            for i, w in enumerate(weights):
                torch.mm(h, w, out=shared[i % 2])
                h = OPS.one_shot_all_reduce(shared[i % 2], "sum", group)
            result.copy_(h)

        def with_two_shot():
            h = x
            for i, w in enumerate(weights):
                h = torch.mm(h, w, out=shared[i % 2])
                OPS.two_shot_all_reduce_(h, "sum", group)
            result.copy_(h)

        def matmuls():
            h = x
            for w in weights:
                h = h @ w
            result.copy_(h)

        columns = {"eager_nccl": with_nccl, "graph_nccl": with_nccl, "graph_one_shot": with_one_shot,
                   "graph_two_shot": with_two_shot, "matmuls": matmuls}
        for column, body in columns.items():
            body()
            call = body if column == "eager_nccl" else captured(body).replay
            result.zero_()
            times = timed(SETTINGS["replays"], call)
            name = save(f"layers.{sequence}.{column}", result) if column != "matmuls" else None
            write(figure="layers", peer="torch", column=column, sequence=sequence, us=times, result=name)
        ready()


def calls():
    """NCCL on f32 as scripts call it, in place; the data begin small, as every call multiplies them."""
    count = int(200 / math.log2(RANKS))
    for rows in SETTINGS["matrices"]:
        pristine = read(f"f.{RANK}", torch.float32)[: rows * rows].view(rows, rows) * 2.0**-100
        tensor = pristine.clone()

        def call():
            dist.all_reduce(tensor)

        def call_and_wait():
            dist.all_reduce(tensor)
            torch.cuda.synchronize()

        for column, body in {"pipelined": call, "synchronised": call_and_wait}.items():
            times = timed(count, body, prepare=lambda: tensor.copy_(pristine))
            if not torch.isfinite(tensor).all():
                raise ValueError(f"NCCL on {rows}x{rows}: overflow")
            write(figure="calls", peer="torch", column=column, rows=rows, us=times)


def compiled(group):
    """torch.compile of the layers with the one-shot op. Its second shape is known to crash."""
    weights = [read(f"w{i + 1}") for i in range(SETTINGS["layers"])]
    hidden = math.isqrt(weights[0].numel())
    weights = [w.view(hidden, hidden) for w in weights]

    def model(h, *ws):
        for w in ws:
            h = OPS.one_shot_all_reduce(h @ w, "sum", group)
        return h

    function = torch.compile(model, fullgraph=True)
    for sequence in SETTINGS["sequences"]:
        x = read(f"s{sequence}.{RANK}").view(sequence, hidden)
        ready()
        start = time.perf_counter()
        with torch.no_grad():
            result = function(x, *weights)
            torch.cuda.synchronize()
            ms = (time.perf_counter() - start) * 1e3
            column = "first" if sequence == SETTINGS["sequences"][0] else "second"
            write(figure="compile", peer="torch", column=column, sequence=sequence, ms=[ms])
            times = timed(SETTINGS["replays"], lambda: function(x, *weights))
            write(figure="layers", peer="torch", column="compile", sequence=sequence, us=times,
                  result=save(f"layers.{sequence}.compile", result.contiguous()))


def decode(group):
    """One token through layers of Llama's shape, compiled, its all-reduces by NCCL or the one-shot op, in a graph."""
    import torch.distributed._functional_collectives as functional
    import torch.nn.functional as F

    shape, context_of = SETTINGS["decode"], SETTINGS["decode"]["contexts"]
    hidden, head_dim = shape["hidden"], shape["head_dim"]
    heads, kv_heads = shape["heads"] // RANKS, shape["kv_heads"] // RANKS

    def part(name, size, dim):
        return read(f"decode.{name}").view(*size).chunk(RANKS, dim)[RANK].contiguous()

    wide = {n: part(n, (hidden, -1), 1) for n in ("q", "k", "v", "gate", "up")}
    qkv, gate_up = (torch.cat([wide[n] for n in names], 1) for names in (("q", "k", "v"), ("gate", "up")))
    o, down = (part(n, (-1, hidden), 0) for n in ("o", "down"))
    norm, x = read("decode.norm"), read("decode.x").view(1, hidden)

    def normalised(h):
        f = h.float()
        return (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + 1e-5)).to(h.dtype) * norm

    def rotated(t, cosine, sine):
        a, b = t.chunk(2, -1)
        return torch.cat([a * cosine - b * sine, a * sine + b * cosine], -1)

    reductions = {"alone": lambda t: t}
    if RANKS > 1:
        reductions = {
            "nccl": lambda t: functional.wait_tensor(functional.all_reduce(t, "sum", dist.group.WORLD)),
            "one_shot": lambda t: OPS.one_shot_all_reduce(t, "sum", group),
        }
    for context in context_of:
        caches = [read(f"decode.{n}.{context}").view(context, -1, head_dim).chunk(RANKS, 1)[RANK]
                  .transpose(0, 1)[None] for n in ("keys", "values")]
        blocks = [[w.clone(memory_format=torch.contiguous_format) for w in (qkv, o, gate_up, down, *caches)]
                  for _ in range(SETTINGS["layers"])]
        position = torch.tensor([context - 1], device=DEVICE)
        angle = (context - 1) * 10000.0 ** (-torch.arange(0, head_dim, 2, device=DEVICE) / head_dim)
        cosine, sine = angle.cos(), angle.sin()

        def make(reduce):
            def step(h, cosine, sine, position):
                for qkv, o, gate_up, down, keys, values in blocks:
                    q, k, v = (normalised(h) @ qkv).split([heads * head_dim] + [kv_heads * head_dim] * 2, -1)
                    q = rotated(q.view(1, heads, 1, head_dim), cosine, sine).to(h.dtype)
                    k = rotated(k.view(1, kv_heads, 1, head_dim), cosine, sine).to(h.dtype)
                    keys.index_copy_(2, position, k)
                    values.index_copy_(2, position, v.view(1, kv_heads, 1, head_dim))
                    a = F.scaled_dot_product_attention(q, keys, values, enable_gqa=True)
                    h = h + reduce(a.reshape(1, heads * head_dim) @ o)
                    gate, up = (normalised(h) @ gate_up).chunk(2, -1)
                    h = h + reduce((F.silu(gate) * up) @ down)
                return h
            return step

        for column, reduce in reductions.items():
            torch._dynamo.reset()
            step = torch.compile(make(reduce), fullgraph=True, dynamic=False)
            result = torch.empty_like(x)

            def body():
                result.copy_(step(x, cosine, sine, position))

            with torch.no_grad():
                graph = captured(body)
                times = timed(SETTINGS["replays"], graph.replay)
            write(figure="decode", peer="torch", column=column, context=context, us=times,
                  result=save(f"decode.{context}.{column}", result))
            del graph
        ready()


def main():
    torch.cuda.set_device(DEVICE)
    dist.init_process_group("nccl", rank=RANK, world_size=RANKS, device_id=DEVICE)
    group = dist.group.WORLD.group_name
    if hasattr(symmetric, "enable_symm_mem_for_group"):  # newer versions need no such call
        symmetric.enable_symm_mem_for_group(group)
    gc.disable()
    write(figure="machine", torch=torch.__version__, nccl=".".join(map(str, torch.cuda.nccl.version())),
          gpu=torch.cuda.get_device_name())
    figures = {"all_reduce": lambda: all_reduce(group), "layers": lambda: layers(group), "calls": calls,
               "decode": lambda: decode(group), "compile": lambda: compiled(group)}
    for figure in SETTINGS["figures"]:
        figures[figure]()
    ready()
    os._exit(0)  # graphs that hold NCCL's work are still there, and taking them down has nothing to tell


main()
