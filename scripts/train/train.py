"""Trains the example model: a byte-level Lua language model of 0.9 million parameters.

    python3 scripts/train/train.py                       trains on a GPU (minutes), writes all three files
    python3 scripts/train/train.py --steps 0             reads --out instead of training, repeats the evaluation
    luajit scripts/train/check.lua /tmp/lua_completions.txt     then compiles and runs what the model wrote

The model is a Llama with byte tokens: RMSNorm before attention and before a SwiGLU, rotary embedding in
halves (pairs i and i + 16), no biases, its own output matrix. Names and layouts in the file are those of
Hugging Face, so `LlamaForCausalLM` loads it. Text comes from lua_corpus.py; byte 0 ends a document.

Files written: --out, the weights in float32; --expected, tokens and their logits from the written weights,
computed in float64; --samples, held-out prompts with their greedy completions, as check.lua reads them.
The text is decided by --seed; weights differ in their last digits from GPU to GPU.
"""

import argparse
import json
import math
import multiprocessing
import random
import struct
import time

import torch
import torch.nn.functional as F
from torch import nn

import lua_corpus

HIDDEN, LAYERS, HEADS, FFN, VOCAB, CONTEXT, EPS, THETA = 128, 4, 4, 384, 256, 512, 1e-5, 10000.0
HEAD = HIDDEN // HEADS
END = 0               # the byte after each document
LIMIT = 400           # bytes a completion may take, the end included
DOCS, SHARD = 400_000, 2_000
BATCH, LR, WARMUP = 256, 4e-3, 200
TYPED = ["local function sum(t)\n", "local function fib(n)\n", "-- count the words\n", "local function max(a, b)\n",
         "local function is_prime(n)\n", "-- reverse a list\n", "local function reverse(s)\n", "-- sort the names\n",
         "local numbers = {3, 1, 2}\n", "local M = {}\n", "local Stack = {}\n", "-- a bank account\n",
         "local function factorial(n)\n", "-- the largest value of a list\n", "local function average(list)\n",
         "local function greet(name)\n", "-- print the even numbers\n", "local function map(t, f)\n",
         "local function count_vowels(s)\n", "-- keep the positive values\n", "local function add(a, b)\n",
         "local function frob(bananas)\n", "local function total_cost(items, tax)\n", "-- print each of the names\n",
         "for i = 1, 10 do\n", "local words = {\"red\", \"green\"}\n", "local function is_empty(list)\n",
         "function double(x)\n", "-- a stack\n", "local Queue = {}\nQueue.__index = Queue\n"]


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x):
        wide = x if x.dtype == torch.float64 else x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS) * self.weight).to(x.dtype)


def rotate(x, cos, sin):
    half = HEAD // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def linear(n_in, n_out):
    return nn.Linear(n_in, n_out, bias=False)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (linear(HIDDEN, HIDDEN) for _ in range(4))

    def forward(self, x, cos, sin):
        b, n, _ = x.shape
        q, k, v = (p(x).view(b, n, HEADS, HEAD).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(b, n, HIDDEN))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = linear(HIDDEN, FFN), linear(HIDDEN, FFN), linear(FFN, HIDDEN)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(), Norm()
        self.self_attn, self.mlp = Attention(), Mlp()

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    """tokens [b, n] -> logits [b, n, 256]; the attribute names are the names in the file."""

    def __init__(self):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(VOCAB, HIDDEN)
        self.model.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.model.norm = Norm()
        self.lm_head = linear(HIDDEN, VOCAB)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * LAYERS) if "o_proj" in name or "down_proj" in name else 0.02)

    def forward(self, tokens):
        x = self.model.embed_tokens(tokens)
        inv = THETA ** -(torch.arange(0, HEAD, 2, device=tokens.device, dtype=torch.float64) / HEAD)
        angle = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float64)[:, None] * inv
        angle = torch.cat((angle, angle), -1)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return self.lm_head(self.model.norm(x))


# safetensors: a little-endian u64 with the length of a JSON header, the header, then the tensors' bytes.

def write_safetensors(path, tensors, metadata):
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for name, t in tensors.items():
        blob = t.detach().cpu().contiguous().numpy().tobytes()
        dtype = {torch.float32: "F32", torch.int32: "I32"}[t.dtype]
        header[name] = {"dtype": dtype, "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read_safetensors(path):
    with open(path, "rb") as f:
        data = f.read()
    body = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:body])
    header.pop("__metadata__", None)
    return {name: torch.frombuffer(bytearray(data[body + e["data_offsets"][0]:body + e["data_offsets"][1]]), dtype=torch.float32)
            .view(e["shape"]) for name, e in header.items()}


def make_corpus(seed, count):
    jobs = [(seed, k, SHARD) for k in range(count // SHARD)]
    with multiprocessing.Pool() as pool:
        return [d for part in pool.map(lua_corpus.shard, jobs, chunksize=1) for d in part]


def pack(docs, device):
    """The documents as one row of bytes, and where those start that have a full window after them."""
    data = "".join(d + "\0" for d in docs).encode()
    starts, at = [], 0
    for d in docs:
        if at + CONTEXT + 1 <= len(data):
            starts.append(at)
        at += len(d) + 1
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).to(device), torch.tensor(starts, device=device)


def train(model, docs, held_out, steps, batch, device):
    data, starts = pack(docs, device)
    test_data, test_starts = pack(held_out, device)
    span = torch.arange(CONTEXT + 1, device=device)

    def loss_of(window):
        with torch.autocast(device, torch.bfloat16):
            logits = model(window[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1), window[:, 1:].flatten())

    step_loss = torch.compile(loss_of) if device == "cuda" else loss_of
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    opt = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
                            lr=LR, betas=(0.9, 0.95), fused=device == "cuda")
    test = test_data[test_starts[:batch, None] + span].long()
    began = time.time()
    for step in range(steps):
        lr = LR * min((step + 1) / WARMUP, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in opt.param_groups:
            group["lr"] = lr
        picked = starts[torch.randint(len(starts), (batch,), device=device)]
        loss = step_loss(data[picked[:, None] + span].long())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        if step % 250 == 0 or step == steps - 1:
            with torch.no_grad():
                held = loss_of(test).item()
            print(f"step {step:5d}  loss {loss.item():.4f}  held-out {held:.4f}  {time.time() - began:.0f} s", flush=True)


@torch.no_grad()
def complete(model, prompts, device):
    """Greedy completions in the model's own precision: (bytes, whether byte 0 came within LIMIT)."""
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    tokens = torch.zeros(len(prompts), int(lengths.max()) + LIMIT, dtype=torch.long, device=device)
    for row, p in enumerate(prompts):
        tokens[row, :len(p)] = torch.tensor(list(p), device=device)
    rows, live = torch.arange(len(prompts), device=device), torch.ones(len(prompts), dtype=torch.bool, device=device)
    for made in range(LIMIT):
        at = lengths + made
        # A row is filled with zeros to the right of `at`; attention is causal, so they do not matter.
        logits = model(tokens[:, :int(at.max())])
        best = logits[rows, at - 1].argmax(-1)
        tokens[rows, at] = torch.where(live, best, END)
        live &= best != END
        if not live.any():
            break
    out = []
    for row, p in enumerate(prompts):
        text = bytes(tokens[row, len(p):len(p) + LIMIT].tolist())
        out.append((text.split(b"\0")[0], not bool(live[row])))
    return out


def held_out_prompts(docs, seed, count):
    rng = random.Random(seed)
    return ["".join(d.splitlines(True)[:rng.choice([1, 2])]).encode() for d in docs[:count]]


@torch.no_grad()
def write_expected(path, weights, completions):
    """The first 48 tokens of one completion with their logits in float64; prompt and completion as metadata. Of the
    given (prompt, text) that one is taken whose closest greedy choice is the least close, so that an
    implementation in float32 can be asked for exactly this text."""
    wide, narrow = Model().double(), Model()
    wide.load_state_dict({k: v.double() for k, v in weights.items()})
    narrow.load_state_dict(weights)
    rows = []
    for prompt, text in completions:
        whole = torch.tensor([list(prompt + text + b"\0")])
        logits = wide(whole)[0]
        at = torch.arange(len(prompt) - 1, whole.shape[1] - 1)
        chosen = whole[0, at + 1]
        others = logits[at].scatter(1, chosen[:, None], -math.inf).amax(1)
        rows.append(((logits[at, chosen] - others).min().item(), prompt, text, whole, logits))
    margin, prompt, text, whole, logits = max(rows, key=lambda row: row[0])
    error = (narrow(whole)[0] - logits).abs().max().item()
    write_safetensors(path, {"tokens": whole[0, :48].int(), "logits": logits[:48].float()}, {
        "prompt": prompt.decode(), "completion": text.decode(), "smallest_margin": f"{margin:.4f}",
        "source": "scripts/train/train.py; logits of the float32 weights, computed in float64"})
    print(f"expected: {prompt!r}, largest logit {logits.abs().max():.2f}, smallest greedy margin {margin:.4f} "
          f"(of all: {min(rows, key=lambda row: row[0])[0]:.4f}), float32 differs by {error:.1e}")


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--steps", type=int, default=8000)
    args.add_argument("--batch", type=int, default=BATCH)
    args.add_argument("--docs", type=int, default=DOCS)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--prompts", type=int, default=1000, help="held-out prompts to complete")
    args.add_argument("--out", default="scripts/examples/data/lua.safetensors")
    args.add_argument("--expected", default="tests/data/lua_logits.safetensors")
    args.add_argument("--samples", default="/tmp/lua_completions.txt")
    args = args.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)

    began = time.time()
    docs = make_corpus(args.seed, args.docs)
    seen = set(docs)
    held_out = [d for d in make_corpus(args.seed + 1_000_000, 4 * SHARD) if d not in seen]
    print(f"{len(docs)} documents ({len(seen)} different, {sum(map(len, docs)) / 1e6:.1f} MB), "
          f"{len(held_out)} held out, {time.time() - began:.0f} s", flush=True)

    model = Model().to(device)
    if args.steps:
        train(model, docs, held_out, args.steps, args.batch, device)
        write_safetensors(args.out, model.state_dict(), {
            "hidden_size": str(HIDDEN), "num_hidden_layers": str(LAYERS), "num_attention_heads": str(HEADS),
            "num_key_value_heads": str(HEADS), "head_dim": str(HEAD), "intermediate_size": str(FFN),
            "vocab_size": str(VOCAB), "rms_norm_eps": str(EPS), "rope_theta": str(THETA),
            "max_position_embeddings": str(CONTEXT), "hidden_act": "silu", "tie_word_embeddings": "false",
            "eos_token_id": str(END), "model_type": "llama", "format": "pt",
            "source": f"trained from scratch by scripts/train/train.py --steps {args.steps} --seed {args.seed} "
                      "on Lua text that scripts/train/lua_corpus.py writes; no other data",
            "license": "the license of this repository"})
    weights = read_safetensors(args.out)
    model.load_state_dict(weights)

    prompts = held_out_prompts(held_out, args.seed, args.prompts)
    starts = {"".join(d.splitlines(True)[:k]).encode() for d in docs for k in (1, 2)}
    labels = ["seen-start" if p in starts else "new-start" for p in prompts] + ["typed"] * len(TYPED)
    prompts += [p.encode() for p in TYPED]
    done = [c for k in range(0, len(prompts), 256) for c in complete(model, prompts[k:k + 256], device)]
    with open(args.samples, "wb") as f:
        for label, prompt, (text, ended) in zip(labels, prompts, done):
            f.write(f"===== {label} {'ended' if ended else 'cut'}\n".encode() + prompt + text + (b"" if text.endswith(b"\n") else b"\n"))
    ended = sum(e for _, e in done)
    print(f"{ended} of {len(done)} greedy completions end ({100 * ended / len(done):.1f} %), "
          f"{len(set(t for t, _ in done))} different, {labels.count('new-start')} from starts not in the corpus")
    typed = zip(prompts[args.prompts:], done[args.prompts:])
    write_expected(args.expected, weights, [(p, text) for p, (text, ended) in typed if ended and len(p + text) >= 48 and text.isascii()])
    print(f"{time.time() - began:.0f} s in all")


if __name__ == "__main__":
    main()
