// The Plan: a straight list of lines over named buffers. It is data: printable, checkable, and the only thing
// that the layers above see of the planner.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "core/graph/graph.hpp"
#include "core/id.hpp"
#include "core/ops/collective.hpp"
#include "core/ops/kernel.hpp"
#include "core/store.hpp"
#include "core/types/layout.hpp"
#include "planner/policy.hpp"

namespace peri::planner {

enum class BufferKind : uint8_t {
  input,     // the caller's tensor: input number `index`
  constant,  // a captured tensor: constant number `index`
  regular,   // device or host memory that the plan allocates
  comm,      // symmetric memory that the plan allocates once, persistently (P2P allocation)
  fallback,  // the output of an op that allocates it itself
};

struct PoolTag {};
using PoolId = Id<PoolTag>;

// Memory of one kind in one place, in which buffers lie. An input, a constant and a fallback call's output
// are pools of their own. Planning by reuse makes a pool per storage, so there every offset is 0.
struct Pool {
  BufferKind kind;
  Place place;
  // The members that reach it: of symmetric memory. Empty for ordinary memory.
  Group group;
  Bytes bytes;
  bool operator==(const Pool&) const = default;
};

struct Buffer {
  // "arg0", "const3", "buf7".
  std::string name;
  BufferKind kind;
  TensorType type;
  // The members that reach it: of comm buffers and of inputs in symmetric memory. Empty for ordinary memory.
  Group group;
  // Of inputs and constants: which one; else -1.
  int index = -1;
  // Where it lies once memory is planned: [offset, offset + bytes()) of the pool.
  PoolId pool;
  Bytes offset;
  Bytes bytes() const { return type.bytes(); }
  bool is_symmetric() const { return !group.ranks.empty(); }
  bool operator==(const Buffer&) const = default;
};

// A window on a value. A buffer that is overwritten holds one value after another, numbered from 0 (what the
// caller passed, or what the first write made): a reader says which it wants, a writer which it makes.
struct PlanOperand {
  BufferId buffer;
  // view.offset counts from the buffer's start.
  OperandType type;
  int32_t version = 0;
  bool operator==(const PlanOperand&) const = default;
};

// `buffer` gets storage: regular or comm, as its kind says.
struct AllocateLine {
  BufferId buffer;
  bool operator==(const AllocateLine&) const = default;
};
// `buffer` takes over the storage of `from`, which is dead after the line that first writes `buffer`.
struct ReuseLine {
  BufferId buffer;
  BufferId from;
  bool operator==(const ReuseLine&) const = default;
};
// Its storage is not used again (comm: only returns to the plan).
struct FreeLine {
  BufferId buffer;
  bool operator==(const FreeLine&) const = default;
};
// Copy engine: all of an input into all of its persistent comm buffer.
struct InputCopyLine {
  PlanOperand from, to;
  Origin origin;
  bool operator==(const InputCopyLine&) const = default;
};
struct KernelLine {
  KernelSpec spec;
  std::vector<PlanOperand> inputs, outputs;
  Origin origin;
  // A copy to or from a comm buffer because nothing better was possible (S3).
  bool identity_copy = false;
  bool operator==(const KernelLine&) const = default;
};
// As many operands as algorithms.def says, send and barrier having no output and recv no input, and those of
// its epilogue.
struct CollectiveLine {
  CollectiveSpec spec;
  std::vector<PlanOperand> inputs, outputs;
  // Fallback lowering: the name of the call's result, of which the output is the item; else empty.
  std::string call_name;
  bool is_fallback() const { return !call_name.empty(); }
  bool operator==(const CollectiveLine&) const = default;
};
// Between host and device.
struct DeviceCopyLine {
  PlanOperand from, to;
  Origin origin;
  bool operator==(const DeviceCopyLine&) const = default;
};
// planner/lines.hpp says what each kind reads, writes, gives and frees.
using Line = std::variant<AllocateLine, ReuseLine, FreeLine, InputCopyLine, KernelLine, CollectiveLine,
                          DeviceCopyLine>;

struct PlanLine {
  Line line;
  // Whether it may be captured: not work on host memory, device copies, and what the policy splits off.
  bool captured = true;
  bool operator==(const PlanLine&) const = default;
};

// Why something was decided: shown by `peri explain`.
struct Decision {
  std::string subject;  // "all_reduce at model.lua:12"
  std::string choice;   // "one_shot", "identity copy", "comm buffer in place", ...
  std::string reason;   // one clause
};

struct PlanOutput {
  PlanOperand value;
  // As in Graph's Output: already written back by a line, and not returned.
  int mutated_input = -1;
  bool operator==(const PlanOutput&) const = default;
};

struct Plan {
  Store<BufferId, Buffer> buffers;
  Store<PoolId, Pool> pools;
  // By number.
  std::vector<BufferId> inputs, constants;
  std::vector<PlanLine> lines;
  std::vector<PlanOutput> outputs;
  std::vector<Decision> decisions;
  // Between passes: buffers with windows that lie elsewhere on other ranks (shards). What all ranks must
  // decide alike does not follow from offsets in them. Empty in a finished plan.
  std::vector<BufferId> sharded{};
  World world;
  // Whether the policy lets anything be captured; if not, no line is.
  bool capture = true;
  const Buffer& buffer(BufferId id) const { return buffers[id]; }
  // All but the decisions: what is done, not why.
  bool operator==(const Plan& other) const;
};

// Graph -> Plan: verifies, eliminates dead code, selects algorithms, fuses, realizes comm buffers, plans
// memory, checks. `observe(pass, text)` (may be empty) sees the program's text after each pass:
// --print-after.
using Observer = std::function<void(const std::string& pass, const std::string& text)>;
Result<Plan> plan(const Graph& graph, const World& world, const Policy& policy, const Observer& observe = {});
std::vector<std::string> pass_names();

// Independent of the planner: every read sees its own write, no two live buffers overlap, no peer can still
// be reading what is overwritten, collectives have their operands where their algorithms need them.
Status check_plan(const Plan& plan);
// And that the caller gets what the program gives: its outputs' types, and every value that it writes back.
Status check_plan(const Plan& plan, const Graph& program);

// One line per line, for people, goldens and files. It is all of a plan but its decisions, as long as every
// storage is a pool of its own.
std::string print(const Plan& plan);
// What `print` wrote. MalformedFile, with the line and what was expected there, for any other text: whatever
// bytes it has, without recursion and in memory in proportion to it. The plan need not be right: check_plan.
Result<Plan> parse_plan(std::string_view text);
std::string explain(const Plan& plan);  // decisions with reasons, and the figures of statistics()
std::string code(const Plan& plan);     // the plan as a Lua program over peri.runtime: to read, edit and run
// What all ranks must agree on: print() without what may differ between ranks of one program (own group's
// members, peers of send and recv), one line per line, each ending with its origin.
std::string agreement_text(const Plan& plan);

// The static figures under the stable names that SYSTEMS.md lists; the executor adds its own.
std::map<std::string, double> statistics(const Plan& plan);

}  // namespace peri::planner
