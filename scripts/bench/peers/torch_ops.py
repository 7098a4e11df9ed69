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
               "compile": lambda: compiled(group)}
    for figure in SETTINGS["figures"]:
        figures[figure]()
    ready()
    os._exit(0)  # graphs that hold NCCL's work are still there, and taking them down has nothing to tell


main()
