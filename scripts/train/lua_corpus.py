"""The training text of the example model: small Lua 5.1 programs, written by a seeded grammar.

Separate from train.py because the corpus is a thing of its own: it needs no PyTorch, can be printed
and run with LuaJIT, and decides alone what the model can come to know.

A document is one complete program of 10 to 25 lines, short enough to be completed in 400 bytes: functions
and then their use, a module, a class, or a plain script. Three rules keep greedy decoding from running on:
every function is used a bounded number of times and the document ends after the last use, every list
literal has a bounded length, and the length cap holds for the whole document.

    python3 scripts/train/lua_corpus.py COUNT [SEED]      prints documents, each after a `=====` line
"""

import random
import re
import sys
from typing import NamedTuple

from lua_templates import (ADJECTIVES, CHANGES, CLASS_DOCS, CLASSES, EACH, FORMULAS, GROUPS, KNOWN, LABELS, LISTS,
                           MAKER_PARAMS, MAPS, NOUNS, PEOPLE, ROLES, SCRIPTS, THINGS, TYPES, VERBS, WORDS)

MIN_LINES, MAX_LINES, MAX_BYTES = 10, 25, 390   # the bytes after the first line
UNUSUAL = 0.12       # share of functions with a name from nowhere


class Function(NamedTuple):
    """One function before it is placed: its body is not yet indented, `$self` in it is its own name."""
    name: str
    family: str
    params: list      # (name, type)
    returns: str
    body: list
    says: str
    lists: dict       # the roles of its list or table


class Scope:
    """Names taken so far. A child sees its parent's names, so nothing is shadowed by accident."""

    def __init__(self, rng, taken=()):
        self.rng, self.taken, self.roles = rng, set(taken), {}
        self.shared = {}   # list names that an earlier function of the document uses

    def child(self):
        return Scope(self.rng, self.taken)

    def fresh(self, pool):
        free = [p for p in pool if p not in self.taken]
        name = self.rng.choice(free) if free else f"{pool[0]}{len(self.taken)}"
        self.taken.add(name)
        return name

    def group(self, roles, rows):
        """Roles whose names belong together: a list, its items, and the word a comment has for them."""
        names = len(roles) - (roles[-1] in ("nouns", "words", "things"))
        row = self.rng.choice([r for r in rows if not self.taken & set(r[:names])])
        self.taken.update(row[:names])
        for role, name in zip(roles, row):
            self.roles.setdefault(role, name)

    def role(self, key):
        if key not in self.roles:
            for roles, rows in GROUPS:
                if key in roles:
                    self.group(roles, rows)
                    return self.roles[key]
            if key[0] in "KLWS" and key[1:].isdigit() or key == "K":
                self.roles[key] = literal(self.rng, key[0])
            else:
                self.roles[key] = self.fresh(ROLES[key].split())
        return self.roles[key]

    def fill(self, template):
        choice = re.compile(r"<<((?:(?!<<|>>).)*)>>", re.S)
        while (m := choice.search(template)):
            template = template[:m.start()] + self.rng.choice(m[1].split("||")).strip(" ") + template[m.end():]
        return re.sub(r"\$([A-Za-z]+\d?)", lambda m: self.role(m[1]), template)

    def lines(self, template):
        """The lines of a template: `$role` is a name or constant drawn once, `<<a || b>>` a choice, and a line
        that starts with `??` is kept one time in four."""
        kept = (line for line in self.fill(template).strip("\n").split("\n") if line[:2] != "??" or self.rng.random() < 0.25)
        return [line.removeprefix("??").rstrip() for line in kept]


def known(rng, scope):
    params, returns, names, says, *bodies = rng.choice(KNOWN)
    return build(rng, scope, params, returns, names.split(), says, rng.choice(bodies))


def build(rng, scope, params, returns, names, says, body, kinds=None):
    """Draws the names of one function. `params` are roles, whose types TYPES knows, or names given in `kinds`."""
    name, inner = scope.fresh(names), scope.child()
    inner.roles.update(scope.shared)
    inner.taken.update(scope.shared.values())
    if scope.rng.random() < UNUSUAL:
        name = scope.fresh([unusual_name(scope.rng)])
        inner.taken.add(name)
        for role in params.split() if not kinds else ():
            if scope.rng.random() < 0.5:
                inner.roles[role] = inner.fresh([scope.rng.choice(NOUNS)])
    inner.taken.update(("_", "x") if "function(x)" in body else ("_",))
    inner.roles["self"] = "$self"   # placed later: a module's function calls itself by its full name
    typed = [(inner.role(p), TYPES[p]) if not kinds else (p, kinds[p]) for p in params.split()]
    lines = inner.lines(body)
    says = inner.fill("<<" + says + ">>")
    lists = {role: inner.roles[role] for roles, _ in GROUPS[:3] for role in roles if role in inner.roles}
    return Function(name, names[0], typed, returns, lines, says, lists)


def unusual_name(rng):
    """A name that says nothing about the function, so that copying names is learned rather than recalled."""
    if rng.random() < 0.3:
        return "".join(rng.choice(["ba", "do", "fi", "ka", "lo", "mu", "ne", "pro", "ri", "sto", "ta", "vex", "zi"]) for _ in range(3))
    return rng.choice([rng.choice(VERBS), f"{rng.choice(VERBS)}_{rng.choice(NOUNS)}", rng.choice(WORDS)])


def formula(rng, scope):
    name, params, says, expr = rng.choice(FORMULAS)
    params = params.split()
    if rng.random() < 0.5:
        result = rng.choice(["result", "value", "answer"])
        body = f"local {result} = {expr}\nreturn <<{result} || {result} || math.floor({result})>>"
    else:
        body = f"return {expr}"
    return build(rng, scope, " ".join(params), "N", [name], says, body, dict.fromkeys(params, "N"))


def label(rng, scope):
    name, param, steps = rng.choice(LABELS)
    low = rng.choice([5, 10, 15, 20])
    body = ""
    for k, step in enumerate(steps[:-1]):
        body += f"{'elseif' if k else 'if'} {param} < {low} then\n  return \"{step}\"\n"
        low += rng.choice([5, 10, 20, 30])
    body += rng.choice([f"else\n  return \"{steps[-1]}\"\nend", f"end\nreturn \"{steps[-1]}\""])
    return build(rng, scope, param, "S", [name], f"name the {param}||put the {param} in words||describe the {param}", body, {param: "N"})


def over_list(rng, scope):
    """A loop over numbers made of parts: what is asked of each value, and what is done with those that pass."""
    adjective, test = rng.choice(ADJECTIVES)
    change, value = rng.choice(CHANGES)
    loop = EACH if rng.random() < 0.7 else "for $i = 1, #$t do\n  local $v = $t[$i]\n"
    if_ = loop + f"  if {test} then\n"
    kind = rng.randrange(9)
    if kind == 0:
        row = ("N", f"count_{adjective} {adjective}_count num_{adjective}", f"count the {adjective} $nouns||how many $nouns are {adjective}",
               f"local $cnt = 0\n{if_}    $cnt = $cnt + 1\n  end\nend\nreturn $cnt")
    elif kind == 1:
        row = ("N", f"sum_{adjective} {adjective}_sum", f"sum of the {adjective} $nouns||add up the {adjective} $nouns",
               f"local $acc = 0\n{if_}    $acc = $acc + $v\n  end\nend\nreturn $acc")
    elif kind == 2:
        row = ("L", f"keep_{adjective} only_{adjective} filter_{adjective}", f"keep the {adjective} $nouns||only the {adjective} $nouns",
               f"local $out = {{}}\n{if_}    <<table.insert($out, $v) || $out[#$out + 1] = $v>>\n  end\nend\nreturn $out")
    elif kind == 3:
        row = ("L", f"{change}_all {change}_each", f"{change} the $nouns||{change} each of the $nouns",
               f"local $out = {{}}\nfor $i, $v in ipairs($t) do\n  $out[$i] = {value}\nend\nreturn $out")
    elif kind == 4:
        row = ("L", f"{change}_{adjective}", f"{change} the {adjective} $nouns",
               f"local $out = {{}}\nfor $i, $v in ipairs($t) do\n  if {test} then\n    $out[$i] = {value}\n  else\n    $out[$i] = $v\n  end\nend\nreturn $out")
    elif kind == 5:
        row = ("N", f"first_{adjective} find_{adjective}", f"find the first {adjective} value||first of the {adjective} $nouns",
               f"{if_}    return $v\n  end\nend\nreturn nil")
    elif kind == 6:
        row = ("B", f"any_{adjective} has_{adjective}", f"is any of the $nouns {adjective}", f"{if_}    return true\n  end\nend\nreturn false")
    elif kind == 7:
        row = ("B", f"all_{adjective}", f"are all $nouns {adjective}",
               f"{loop}  if not ({test}) then\n    return false\n  end\nend\nreturn true")
    else:
        row = ("N", f"sum_{change.rstrip('e')}ed total_{change}", f"{change} the $nouns and add them up",
               f"local $acc = 0\n{EACH}  $acc = $acc + {value if value[0] != '-' else '(' + value + ')'}\nend\nreturn $acc")
    returns, names, says, body = row
    return build(rng, scope, "t", returns, names.split(), says, body)


def over_range(rng, scope):
    adjective, test = rng.choice(ADJECTIVES[:2] + [("round", "$v % $K == 0")])
    test = test.replace("$v", "$i")
    if rng.random() < 0.5:
        return build(rng, scope, "n", "N", [f"sum_{adjective}_to", f"{adjective}_total"], f"sum the {adjective} numbers up to n",
                     f"local $acc = 0\nfor $i = 1, $n do\n  if {test} then\n    $acc = $acc + $i\n  end\nend\nreturn $acc")
    change, value = rng.choice([("squares", "$i * $i"), ("cubes", "$i * $i * $i"), ("multiples", "$i * $K"), ("doubles", "$i * 2")])
    return build(rng, scope, "n", "L", [change, f"{change}_to", f"list_{change}"], f"the first {change}||make a list of {change}",
                 f"local $out = {{}}\nfor $i = 1, $n do\n  <<$out[$i] = {value} || table.insert($out, {value})>>\nend\nreturn $out")


def over_string(rng, scope):
    what, pattern = rng.choice(CLASSES)
    if rng.random() < 0.6:
        return build(rng, scope, "s", "N", [f"count_{what}", f"num_{what}"], f"count the {what}||count the {what} in a string||how many {what}",
                     rng.choice([f"local $cnt = 0\nfor _ in $s:gmatch(\"{pattern}\") do\n  $cnt = $cnt + 1\nend\nreturn $cnt",
                                 f"local $cnt = 0\nfor $i = 1, #$s do\n  if $s:sub($i, $i):match(\"{pattern}\") then\n    $cnt = $cnt + 1\n  end\nend\nreturn $cnt",
                                 f"local _, $cnt = $s:gsub(\"{pattern}\", \"\")\nreturn $cnt"]))
    return build(rng, scope, "s", "S", [f"remove_{what}", f"without_{what}"], f"remove the {what}||the string without its {what}",
                 rng.choice([f"return ($s:gsub(\"{pattern}\", \"\"))",
                             f"local $out = \"\"\nfor $c in $s:gmatch(\".\") do\n  if not $c:match(\"{pattern}\") then\n    $out = $out .. $c\n  end\nend\nreturn $out"]))


def any_function(rng, scope):
    return rng.choices([known, over_list, formula, label, over_range, over_string], [10, 5, 1.5, 1.2, 1.2, 1.6])[0](rng, scope)


# Literals and uses.

def number(rng):
    return str(rng.choice([rng.randint(1, 12), rng.randint(2, 9), rng.randint(10, 40), 5 * rng.randint(1, 20)]))


def numbers(rng):
    n = rng.randint(3, 6)
    if rng.random() < 0.4:
        start, step = rng.randint(1, 10), rng.randint(1, 5)
        picked = [start + step * k for k in range(n)]
    else:
        picked = rng.sample(range(1, 31), n)
    return "{" + ", ".join(map(str, picked)) + "}"


def literal(rng, kind, name=""):
    if kind == "N":
        return number(rng)
    if kind == "I":
        return str(rng.randint(2, 12))
    if kind == "H":
        return str(rng.randint(13, 30))
    if kind == "S":
        return '"' + " ".join(rng.sample(WORDS, rng.choice([1, 1, 2, 3]))) + '"'
    if kind == "C":
        return f'"{rng.choice("aeiostrn")}"'
    if kind == "L":
        return numbers(rng)
    if kind == "K":
        return str(rng.choice([2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 50]))
    if kind == "W":
        return "{" + ", ".join(f'"{w}"' for w in rng.sample(WORDS, rng.randint(2, 4))) + "}"
    if kind == "M":
        keys = rng.sample(THINGS if name in ("prices", "stock") else PEOPLE, rng.randint(2, 3))
        return "{" + ", ".join(f"{k} = {rng.randint(1, 40)}" for k in keys) + "}"
    return f"function(v) return {rng.choice(['v * 2', 'v + 1', 'v * v', 'v - 3'])} end"


DATA = {"L": "numbers data values list", "W": "words names list", "M": "data stock ages", "S": "text line s"}


def other_literal(rng, kind, used, name=""):
    while (text := literal(rng, kind, name)) in used:
        pass
    used.add(text)
    return text


def uses(rng, scope, fn, name, data):
    """The lines that call `fn`. `data` maps a type to the variable that already holds such a value."""
    lines, args, used = [], [], set()
    for param, kind in fn.params:
        if kind in DATA and kind not in data and rng.random() < (0.6 if kind in "LWM" else 0.2):
            data[kind] = scope.fresh([param] if len(param) > 3 and param not in scope.taken else DATA[kind].split())
            lines.append(f"local {data[kind]} = {literal(rng, kind, data[kind])}")
        args.append(data[kind] if kind in data else other_literal(rng, kind, used, param))
    call = f"{name}({', '.join(args)})"
    if fn.returns == "0":
        return lines + [call]
    if fn.returns == "F0":
        c = scope.fresh(["c", "next_id", "tick"])
        return lines + [f"local {c} = {call}"] + [f"print({c}())"] * rng.randint(1, 2)
    if fn.returns == "F1":
        f = scope.fresh(["f", "change"])
        return lines + [f"local {f} = {call}"] + [f"print({f}({other_literal(rng, 'N', used)}))" for _ in range(rng.randint(1, 2))]
    if fn.returns == "NN":
        lo, hi = scope.fresh(["lo", "low"]), scope.fresh(["hi", "high"])
        return lines + [f"local {lo}, {hi} = {call}", f"print({lo}, {hi})"]
    if fn.returns == "B" and rng.random() < 0.4:
        return lines + [f"if {call} then", '  print("yes")', "else", '  print("no")', "end"]
    if fn.returns in "LW":
        if rng.random() < 0.5:
            return lines + [f'print(table.concat({call}, "{rng.choice([", ", " "])}"))']
        v = scope.child().fresh(["v", "x", "value"] if fn.returns == "L" else ["word", "s"])
        return lines + [f"for _, {v} in ipairs({call}) do", f"  print({v})", "end"]
    if fn.returns == "M":
        return lines + [f"for k, v in pairs({call}) do", "  print(k, v)", "end"]
    if [k for _, k in fn.params] in (["N"], ["I"]) and rng.random() < 0.35:
        i = scope.child().fresh(["i", "n"])
        return lines + [f"for {i} = 1, {rng.choice([3, 5, 8, 10])} do", f"  print({i}, {name}({i}))", "end"]
    style = rng.random()
    if style < 0.25 and fn.returns in "NS":
        r = scope.fresh(["result", "answer", "r"])
        return lines + [f"local {r} = {call}", f"print({r})"]
    if style < 0.35:
        return lines + [f'print("{fn.name.replace("_", " ")}", {call})']
    lines.append(f"print({call})")
    if rng.random() < 0.35 and any(k in "NIS" for _, k in fn.params):
        args = [data[k] if k in data and k in "LWM" else other_literal(rng, k, used, p) for p, k in fn.params]
        lines.append(f"print({name}({', '.join(args)}))")
    return lines


def comment(rng, says, polite):
    question = says.startswith(("is ", "are ", "does ", "how ", "who "))
    return f"-- {says[0].upper()}{says[1:]}{'?' if question else '.'}" if polite else f"-- {says}"


def place(fn, head, name):
    lines = [f"{head}({', '.join(p for p, _ in fn.params)})"]
    return lines + ["  " + line.replace("$self", name) for line in fn.body] + ["end"]


def functions(rng, scope, count):
    """`count` functions of different families. What follows a function is mostly decided by its family: without
    that, greedy decoding would always go on with the one function that is most frequent overall."""
    out = [any_function(rng, scope)]
    while len(out) < count:
        kind = random.Random(f"after {out[-1].family}") if rng.random() < 0.6 else rng
        scope.shared = out[0].lists if rng.random() < 0.7 else {}
        while True:
            trial = scope.child()
            trial.shared = scope.shared
            fn = any_function(kind, trial)
            same = [k for _, k in fn.params[:1]] == [k for _, k in out[0].params[:1]]
            if fn.family not in [f.family for f in out] and (same or kind.random() < 0.2):
                break
        scope.taken.add(fn.name)
        out.append(fn)
    return out


# Whole documents.

def program(rng):
    scope, data = Scope(rng), {}
    fns = functions(rng, scope, rng.choice([1, 1, 2, 2, 3]))
    said, polite = rng.random() < 0.65, rng.random() < 0.15
    lines = []
    for k, fn in enumerate(fns):
        if rng.random() < ((1 if k == 0 else 0.85) if said else (0 if k == 0 else 0.1)):
            lines.append(comment(rng, fn.says, polite))
        lines += place(fn, f"local function {fn.name}", fn.name) + [""]
    for fn in fns:
        lines += uses(rng, scope, fn, fn.name, data)
    return lines


def module(rng):
    scope = Scope(rng)
    fns = functions(rng, scope, rng.choice([2, 2, 3]))
    kind = fns[0].params[0][1] if fns[0].params else "N"
    m = scope.fresh({"L": ["M", "stats", "lists", "util"], "S": ["M", "text", "strings", "util"], "N": ["M", "calc", "num", "util"],
                     "W": ["M", "text", "strings"], "M": ["M", "tables", "util"]}.get(kind, ["M", "util"]))
    said = rng.random() < 0.5
    lines = [f"local {m} = {{}}", ""]
    for fn in fns:
        if said:
            lines.append(comment(rng, fn.says, False))
        lines += place(fn, f"function {m}.{fn.name}", f"{m}.{fn.name}") + [""]
    return lines + [f"return {m}"]


def klass(rng):
    name, objects, says, new, use, maker, *methods = rng.choice(CLASS_DOCS)
    scope, used = Scope(rng), set()
    scope.roles.update(o=rng.choice(objects.split()), n1=other_literal(rng, "N", used), n2=other_literal(rng, "N", used), name=rng.choice(PEOPLE))
    lines = [scope.fill(f"-- <<{says}>>")] if rng.random() < 0.6 else []
    lines += [f"local {name} = {{}}", f"{name}.__index = {name}", "", f"function {name}.{new}({MAKER_PARAMS.get(name, '')})"]
    lines += scope.lines(maker) + ["end", ""]
    for method in methods:
        head, body = method.split("|", 1)
        lines += [f"function {name}:{head}"] + scope.fill(body).split("\n") + ["end", ""]
    return lines + scope.fill(use).split("\n")


def script(rng):
    return Scope(rng).lines(rng.choice(SCRIPTS)) if rng.random() < 0.35 else sorting_script(rng)


def sorting_script(rng):
    """Top-level code: some data, a loop that sorts it into cases, and a report."""
    scope = Scope(rng)
    named = rng.random() < 0.4
    if named:
        data, key, item, nouns = rng.choice(MAPS[1:])
        values, loop = literal(rng, "M", data), f"for {key}, {item} in pairs({data}) do"
        shown = f"{key}, {item}"
    else:
        data, item, nouns = rng.choice(LISTS[4:])
        values, loop = numbers(rng), f"for i, {item} in ipairs({data}) do"
        shown = f"i, {item}"
    scope.taken.update((data, item))
    scope.roles["v"] = item
    adjective, test = rng.choice(ADJECTIVES)
    test = scope.fill(test)
    kind = rng.randrange(4)
    cnt = scope.fresh(["total", "sum", adjective] if kind == 3 else ["count", "total", f"num_{adjective}", adjective])
    says = [f"count the {adjective} {nouns}", f"print the {adjective} {nouns}", f"split the {nouns} in two", f"add up the {adjective} {nouns}"][kind]
    lines = [f"-- {says}"] if rng.random() < 0.65 else []
    lines.append(f"local {data} = {values}")
    if kind == 0:
        lines += [f"local {cnt} = 0", "", loop, f"  if {test} then", f"    {cnt} = {cnt} + 1", "  end", "end", ""]
        lines += [f'print("{adjective} {nouns}:", {cnt})'] if rng.random() < 0.6 else [f"print({cnt})"]
        lines += [f"if {cnt} == 0 then", f'  print("no {adjective} {nouns}")', "end"] if rng.random() < 0.5 else []
    elif kind == 1:
        lines += ["", loop, f"  if {test} then", f"    print({shown})", "  else", f'    print("{rng.choice(["skip", "no", "not " + adjective])}", {item})', "  end", "end"]
        lines.append('print("done")')
    elif kind == 2:
        rest = scope.fresh(["rest", "others"])
        lines += [f"local {adjective}, {rest} = {{}}, {{}}", "", loop, f"  if {test} then", f"    table.insert({adjective}, {item})", "  else",
                  f"    table.insert({rest}, {item})", "  end", "end", "", f"print(#{adjective}, #{rest})"]
    else:
        lines += [f"local {cnt} = 0", "", loop, f"  if {test} then", f"    {cnt} = {cnt} + {item}", "  end", "end", "",
                  rng.choice([f"print({cnt})", f'print("total", {cnt})', f'print(string.format("total: %d", {cnt}))'])]
    return lines


def document(rng):
    """One program as bytes-safe text, newline at its end, within the limits."""
    make = rng.choices([program, module, klass, script], [12, 2, 1.5, 3])[0]
    while True:
        lines = make(rng)
        text = "\n".join(lines) + "\n"
        if MIN_LINES <= len(lines) <= MAX_LINES and len(text) - len(lines[0]) <= MAX_BYTES:
            return text


def shard(job):
    """`count` documents of one shard; (seed, index, count) alone decides them, so workers may share the work."""
    seed, index, count = job
    rng = random.Random(f"perilune lua corpus {seed} {index}")
    return [document(rng) for _ in range(count)]


if __name__ == "__main__":
    for text in shard((int(sys.argv[2]) if len(sys.argv) > 2 else 0, 0, int(sys.argv[1]))):
        sys.stdout.write("===== corpus ended\n" + text)
