// See manual.hpp.
#include "bindings/commands/manual.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "bindings/launcher/exit_codes.hpp"
#include "core/ops/collective.hpp"

namespace peri::commands {
namespace {

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::boolean:
      return "true or false";
    case Kind::integer:
      return "whole number";
    case Kind::number:
      return "number";
    case Kind::string:
      return "one of the names below; the policy chooses if absent";
    case Kind::ints:
      return "table of whole numbers";
    case Kind::shape:
      return "shape, such as {2, 3}";
    case Kind::dim:
      return "dimension, 1-based, negative from the end";
    case Kind::dims:
      return "dimensions, 1-based; {} means all";
    case Kind::index:
      return "position, 1-based, negative from the end";
    case Kind::dtype:
      return "\"f32\", \"f16\", \"bf16\", \"i32\", \"i64\", \"u8\" or \"bool\"";
    case Kind::place:
      return "\"device\" or \"host\"";
    case Kind::group:
      return "group; the world if absent";
    case Kind::reduce:
      return "\"sum\", \"avg\", \"min\", \"max\" or \"prod\"";
  }
  return "";
}

const char* dtypes_name(DTypes dtypes) {
  switch (dtypes) {
    case DTypes::floats:
      return "f32, f16, bf16";
    case DTypes::numeric:
      return "f32, f16, bf16, i32, i64, u8";
    case DTypes::integers:
      return "i32, i64, u8";
    case DTypes::any:
      return "all";
    case DTypes::mixed:
      return "as described";
  }
  return "";
}

std::string shown_default(const AttributeInfo& a) {
  if (a.kind == Kind::group) return "";
  if (!a.fallback) return ", required";
  if (a.name == "seed") return ", drawn anew if absent: `peri help seed`";
  if (const auto* dim = std::get_if<int64_t>(&*a.fallback);
      dim && (a.kind == Kind::dim || a.kind == Kind::index))
    return fmt::format(", default {}", *dim >= 0 ? *dim + 1 : *dim);
  const std::string text = to_string(*a.fallback);
  return text == "\"\"" || text == "[]" ? "" : ", default " + text;
}

std::string usage(const OpInfo& row) {
  std::string operands;
  if (row.max_operands < 0)
    operands = "{a, b, ...}";
  else if (row.op != Op::barrier)
    for (int i = 0; i < row.max_operands; ++i)
      operands +=
          fmt::format("{}{}{}", i ? ", " : "", static_cast<char>('a' + i), i >= row.min_operands ? "?" : "");
  std::string attributes;
  for (const AttributeInfo& a : row.attributes) attributes += (attributes.empty() ? "" : ", ") + a.name;
  const bool comma = !operands.empty() && !attributes.empty();
  return fmt::format("peri.{}({}{}{})", row.name, operands, comma ? ", " : "", attributes);
}

struct Section {
  const char* title;
  uint32_t trait;
};
constexpr std::array kSections = {Section{"creation", kCreation}, Section{"pointwise", kPointwise},
                                  Section{"reductions", kReduction}, Section{"views", kView},
                                  Section{"collectives", kCollective}};

constexpr const char* kExitCodesTopic = "exit-codes";

constexpr const char* kSeed =
    R"(peri.seed(n)
    rand and randn without a seed give other numbers at each call and on each rank, from a sequence that n
    decides: the same program with the same n gives the same numbers. Without peri.seed, n is 0. With a seed
    (peri.randn(shape, {seed = 1})) they depend on the seed alone, on all ranks. A compiled function needs a
    seed, and gives the same numbers at each call: make others outside and pass them as arguments.
)";

constexpr const char* kErrors =
    R"(Errors that peri raises are tables with these fields; tostring, .. and string's methods (err:find "shape")
work on their text. What a script raises itself, error{code = 5}, arrives as it was, also through compiled
functions.
    code         "InvalidArgument", "ShapeMismatch", "DTypeMismatch", "NotFound", "Unsupported", "MalformedFile",
                 "IoError", "OutOfMemory", "PeerLost", "Timeout", "RankMismatch", "Interrupted", "ScriptError",
                 "PlanInvalid"
    message      what is wrong, without place and hint
    at           the script's line, "file.lua:12"
    hint         a sentence, or ""
    text         all of it, as tostring gives it
    rank         the rank on which it was raised
)";

constexpr const char* kCompile =
    R"(peri.compile(f, {policy = ..., group = ..., check = false, plans = 64})
    The function f, traced once for each signature of its arguments, planned, and replayed from then on.
    policy       what the planner chooses by: a table
    group        the ranks that must compile the same; the world if absent
    check        true: every call is traced again and compared with what was compiled, and stops with the
                 first line that differs, and at ids and positions that are out of range; also PERI_CHECK=1, for
                 all functions
    plans        how many plans are kept, one for each signature and value of what f captures: 64 if absent. Then
                 the plan that was called longest ago is dropped, on all ranks the one that the group's first
                 rank says, and compiled again when it is called. Plans share memory: all together hold about
                 as much as the largest (tostring(f) and f:stats() tell).

    What f captures may change. At each call these are compared with what they were: the variables that f, and
    functions in such variables, use from outside; globals that f uses; and fields of captured tables, also of
    tables in them, that f names (model.w), that stand in a list (layers[2]), or all if f calls pairs or next.
    Of tables and functions, which one it is counts. With another value f is traced and compiled anew; values that
    come again are not compiled again (the last 8 for each signature are kept). Where a tensor is replaced by
    another of the same type, it is passed like an argument and compiled once more only. Variables, and such
    fields, that f sets to numbers, strings, booleans, nil or tensors are set by every call.

    Arguments and results are tensors, plain values, groups, and tables of them, whose keys are numbers, strings
    or booleans. Tables keep their holes and metatables. Fields that f sets in a table among its arguments are
    set by every call; a table of the arguments that f returns is the caller's, others are new.

    NOT COMPARED: fields under keys that f computes (model["w" .. i]), fields beyond the first 200, fields that
    were absent in tables within tables, names that are added to a table which f walks with pairs, and what
    functions of metatables give. They are read when f is traced and then stay as they are, until f is
    compiled again. Changing a tensor in place (model.w:copy_(new)) is always seen. `check` finds the rest.
)";

// What core/env.hpp reads, for users; tests/e2e/program/help.lua compares the names.
constexpr const char* kEnvironment =
    R"(PERI_TIMEOUT    seconds until a silent rank is given up, as --timeout; default 60
PERI_THREADS    threads of a rank; default: the cores over the ranks
PERI_NCCL       the file of NCCL's library; default: the first libnccl.so.2 that is found
PERI_P2P        0 treats GPUs as if none could reach another's memory, to try NCCL; default 1
PERI_CHECK      1 traces every call of a compiled function and stops where it no longer does what was
                compiled, as peri.compile(f, {check = true}); default 0
PERI_MULTICAST  1 allows NVLink multicast, for the multimem algorithms; default 0. Only on a machine
                that is yours alone: it can put GPUs out of service that others share. Tests clear
                it, and benchmarks refuse to start.
NCCL_NVLS_ENABLE=0, TORCH_SYMM_MEM_DISABLE_MULTICAST=1, NVSHMEM_DISABLE_NVLS=1
                each forbids NVLink multicast, whatever PERI_MULTICAST says
XDG_CACHE_HOME  compiled GPU kernels and the choices of matmul algorithms are kept in its
                folder perilune; default: .cache under HOME
RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT, TORCHELASTIC_RUN_ID; OMPI_*; SLURM_*
                a rank's place, under torchrun, mpirun and srun
`peri run` tells its ranks theirs by PERI_JOB, PERI_RANK, PERI_WORLD_SIZE and PERI_TIMELINE.
)";

struct Page {
  const char *name, *text;
};
constexpr Page kPages[] = {
    {"compile", kCompile}, {"seed", kSeed}, {"errors", kErrors}, {"environment", kEnvironment}};

std::string exit_codes() {
  std::string text;
  for (const launcher::ExitCode& row : launcher::kExitCodes)
    text += fmt::format("{:>5}  {}\n", row.code, row.meaning);
  return text + "128+n  killed by signal n\n";
}

}  // namespace

Result<std::string> manual(const std::string& name) {
  if (name == kExitCodesTopic) return exit_codes();
  for (const Page& page : kPages)
    if (name == page.name) return page.text;
  const auto op = find_op(name);
  if (!op || info(*op).has(kInternal)) {
    std::vector<std::string> known = op_names();
    known.emplace_back(kExitCodesTopic);
    for (const Page& page : kPages) known.emplace_back(page.name);
    auto near = nearest(name, known);
    return fail(Code::NotFound, fmt::format("no op '{}'", name), {},
                near ? fmt::format("did you mean '{}'?", *near) : "`peri help` lists them all");
  }
  const OpInfo& row = info(*op);
  std::string text = fmt::format("{}\n    {}\n", usage(row), row.documentation);
  for (const AttributeInfo& a : row.attributes)
    text += fmt::format("    {:<12} {}{}\n", a.name, kind_name(a.kind), shown_default(a));
  if (row.min_operands > 0) text += fmt::format("    dtypes       {}\n", dtypes_name(row.dtypes));
  if (!row.expression.empty()) text += fmt::format("    computes     {}\n", row.expression);
  const char* title = "    algorithms\n";
  for (const AlgorithmInfo& a : algorithms())
    if (a.op == *op)
      text += std::exchange(title, "") + fmt::format("      {:<18} {}\n", a.name, a.documentation);
  return text;
}

std::string manual_index() {
  std::string text;
  auto list = [&](const char* title, auto belongs) {
    text += fmt::format("{}\n", title);
    for (int i = 0; i < kOpCount; ++i) {
      const OpInfo& row = info(static_cast<Op>(i));
      if (!row.has(kInternal) && belongs(row))
        text += fmt::format("  {:<14} {}\n", row.name, row.documentation);
    }
  };
  for (const Section& f : kSections)
    list(f.title, [&](const OpInfo& row) { return row.has(static_cast<Trait>(f.trait)); });
  list("others", [](const OpInfo& row) {
    for (const Section& f : kSections)
      if (row.has(static_cast<Trait>(f.trait))) return false;
    return true;
  });
  return text +
         "`peri help OP` says more about one. Other pages: compile, seed, errors, environment, exit-codes.\n";
}

}  // namespace peri::commands
