"""The tables that scripts/bench/gpu prints: medians of all rounds, in microseconds unless said otherwise."""

import statistics

SYMMETRIC_OPS = ["one_shot", "one_shot_copy", "two_shot", "two_shot_out"]
BARS = {"all_reduce": 1.0, "layers": 0.85, "decode": 0.6, "loops": 1.1}  # peri over the best peer (loops: the bare replay), at most


class Times:
    """Medians by what was measured: `of(peer, column, key)`, None if it was not."""

    def __init__(self, rows, figure, key):
        self.rounds = {}
        for row in rows:
            if row["figure"] == figure and "us" in row:
                self.rounds.setdefault((row["peer"], row["column"], row.get(key)), []).extend(row["us"])

    def of(self, peer, column, key=None):
        rounds = self.rounds.get((peer, column, key))
        return statistics.median(rounds) if rounds else None

    def best(self, columns, key):
        times = [self.of(peer, column, key) for peer, column in columns]
        return min((t for t in times if t is not None), default=None)


def number(value, width=10):
    return f"{'-' if value is None else f'{value:.2f}' if value < 1000 else f'{value:.0f}':>{width}}"


def ratio(ours, theirs, bar=None):
    if ours is None or theirs is None:
        return f"{'-':>8}"
    value = ours / theirs
    return f"{value:>7.2f}{' ' if bar is None or value <= bar else '!'}"


def size_text(count):
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


def all_reduce(rows, ranks):
    times = Times(rows, "all_reduce", "bytes")
    ours = [("peri", name) for name in ("ll", "one_shot", "two_shot")]
    theirs = [("torch", name) for name in [*SYMMETRIC_OPS, "nccl"]]
    theirs += [("nccl", "cpp"), ("nccl", "cpp_window")]
    names = ["peri", "", *(f":{name}" for _, name in ours), "one_shot", "1shot_cp", "two_shot", "2shot_out",
             "nccl", "nccl_c++", "nccl_win"]
    lines = [f"all-reduce, bf16 sum, {ranks} ranks, us: peri, its algorithms, PyTorch's symmetric ops, NCCL",
             "ratios: peri over PyTorch's best symmetric op, and over the best of all; ! misses the bar",
             f"{'':>8}" + "".join(f"{name:>10}" for name in names) + f"{'/torch':>8}{'/all':>8}"]
    chosen = {row["bytes"]: row.get("chosen", "") for row in rows
              if row["figure"] == "all_reduce" and row["column"] == "auto"}
    for size in sorted({key for _, _, key in times.rounds}):
        peri = times.of("peri", "auto", size)
        symmetric = times.best([("torch", name) for name in SYMMETRIC_OPS], size)
        large = size > 4 << 20
        lines.append(f"{size_text(size):>8}{number(peri)}{chosen.get(size, ''):>10}"
                     + "".join(number(times.of(*column, size)) for column in ours + theirs)
                     + ratio(peri, symmetric, None if large else BARS["all_reduce"])
                     + ratio(peri, times.best(theirs, size), BARS["all_reduce"] if large else None))
    return lines


def layers(rows, ranks):
    times = Times(rows, "layers", "sequence")
    ours = [("peri", "auto"), ("peri", "matmuls")]
    names = ["eager_nccl", "graph_nccl", "graph_one_shot", "graph_two_shot", "compile", "matmuls"]
    lines = [f"layers of matmul -> all-reduce, bf16, {ranks} ranks, us per iteration; over PyTorch's best",
             f"{'sequence':>8}" + "".join(f"{name:>15}" for name in ["peri", ":matmuls", *names])
             + f"{'ratio':>8}"]
    columns = ours + [("torch", name) for name in names]
    for sequence in sorted({key for _, _, key in times.rounds}, reverse=True):
        best = times.best([("torch", name) for name in names[:-1]], sequence)
        lines.append(f"{sequence:>8}"
                     + "".join(number(times.of(*column, sequence), 15) for column in columns)
                     + ratio(times.of("peri", "auto", sequence), best, BARS["layers"]))
    return lines


def decode(rows, ranks):
    times = Times(rows, "decode", "context")
    names = ["alone"] if ranks == 1 else ["nccl", "one_shot"]
    lines = [f"one token through a layer of Llama-8B's shape, bf16, {ranks} rank{'s' if ranks > 1 else ''}, us; over "
             "compiled PyTorch's best, in a graph",
             f"{'context':>8}" + "".join(f"{name:>12}" for name in ["peri", *names]) + f"{'ratio':>8}"]
    layers = next((row["layers"] for row in rows if "layers" in row), 1)
    for context in sorted({key for _, _, key in times.rounds}):
        found = [times.of(peer, column, context)
                 for peer, column in [("peri", "auto")] + [("torch", name) for name in names]]
        found = [time and time / layers for time in found]
        best = min((time for time in found[1:] if time is not None), default=None)
        lines.append(f"{context:>8}" + "".join(number(time, 12) for time in found)
                     + ratio(found[0], best, BARS["decode"]))
    return lines


def calls(rows, ranks):
    times = Times(rows, "calls", "rows")
    lines = [f"one call of a compiled all-reduce, f32, ordinary input, {ranks} ranks, us with dispatch",
             f"{'':>12}{'peri':>10}{'waiting':>10}{'NCCL eager':>12}{'waiting':>10}{'ratio':>8}"]
    for n in sorted({key for _, _, key in times.rounds}):
        ours, theirs = (times.of(peer, "pipelined", n) for peer in ("peri", "torch"))
        waiting = (times.of(peer, "synchronised", n) for peer in ("peri", "torch"))
        lines.append(f"{f'{n}x{n}':>12}{number(ours)}{number(next(waiting))}{number(theirs, 12)}"
                     f"{number(next(waiting))}{ratio(ours, theirs)}")
    host = Times(rows, "host", "none")
    lines.append("the host's part of a call, us:  8 layers" + number(host.of("peri", "layers"), 7)
                 + "   one small add" + number(host.of("peri", "add"), 7)
                 + "   bare launch of a graph of 1 and 16 kernels" + number(host.of("nccl", "launch_1"), 7)
                 + number(host.of("nccl", "launch_16"), 7))
    return lines


def loops(rows, ranks):
    times = Times(rows, "loops", "elements")
    columns = ["bare", "dropped", "held", "fed back", "through two", "five held"]
    columns_16 = ["bare, 16 inputs", "16 inputs"]
    lines = [f"one call in loops as they are written, {ranks} ranks, us; beside the bare replay, which has no",
             "outputs; ratio: the slowest of them over it",
             f"{'elements':>10}" + "".join(f"{name:>13}" for name in columns) + f"{'ratio':>8}"
             + "".join(f"{name:>17}" for name in columns_16) + f"{'ratio':>8}"]
    for n in sorted({key for _, _, key in times.rounds}):
        found = [times.of("peri", column, n) for column in columns]
        slowest = max((t for t in found if t is not None), default=None)
        bare, nested = (times.of("peri", column, n) for column in columns_16)
        lines.append(f"{n:>10}" + "".join(number(t, 13) for t in found)
                     + ratio(slowest, found[0], BARS["loops"])
                     + number(bare, 17) + number(nested, 17) + ratio(nested, bare, BARS["loops"]))
    return lines


def compile(rows, ranks):
    lines = [f"first call of the layers, ms until it is done (of which compiling), {ranks} ranks; run B is a",
             "process that finds kernels cached"]
    for row in rows:
        if row["figure"] == "compile" and "ms" in row:
            text = " ".join(f"{ms:.1f}" if i == 0 else f"({ms:.1f})" for i, ms in enumerate(row["ms"]))
            lines.append(f"  {row['peer']:<6} {row['run']:<2} sequence {row['sequence']:>4}: {text}")
    passed = [row["passed"] for row in rows if "passed" in row]
    lines.append(f"  several shapes, groups and functions in one process: {passed or 'NO'} calls were right")
    return lines


def drift(rows):
    """How much slower the second run of peri was than the first, over all that both measured."""
    by_run = {"A": {}, "B": {}}
    for row in rows:
        if row["peer"] == "peri" and row["run"] in by_run and "us" in row and row["figure"] != "host":
            key = (row["figure"], row["column"], row.get("bytes") or row.get("sequence") or row.get("rows")
                   or row.get("elements") or row.get("context"))
            by_run[row["run"]][key] = statistics.median(row["us"])
    ratios = [by_run["B"][key] / by_run["A"][key] for key in by_run["A"].keys() & by_run["B"].keys()]
    if not ratios:
        return []
    mean = statistics.geometric_mean(ratios)
    return ["", f"peri's second run over its first: {mean:.3f} at the geometric mean, {min(ratios):.2f} to "
            f"{max(ratios):.2f}"]


def render(rows, ranks, figures):
    makers = {"all_reduce": all_reduce, "layers": layers, "decode": decode, "calls": calls, "loops": loops,
              "compile": compile}
    lines = []
    for row in rows:
        if row["figure"] == "machine" and not lines:
            lines = ["", f"{row['gpu']}, PyTorch {row['torch']}, NCCL {row['nccl']}, multicast off"]
    for figure in figures:
        lines += ["", *makers[figure](rows, ranks)]
    return "\n".join(lines + drift(rows))
