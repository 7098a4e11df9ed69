// The Plan: a straight list of lines over named buffers. It is data: printable, checkable, and the only thing
// that the floors above see of the planner.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "core/graph/graph.hpp"
#include "core/id.hpp"
#include "core/ops/kernel.hpp"
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

struct Buffer {
  std::string name;  // "arg0", "const3", "buf7"
  BufferKind kind;
  TensorType type;
  Layout layout;        // Fixed, or CommBuffer for kind comm (and for symmetric inputs)
  Allocator allocator;  // of inputs and constants
  int index = -1;       // of inputs and constants
  int64_t bytes() const { return type.bytes(); }
};

// A window on a buffer.
struct PlanOperand {
  BufferId buffer;
  OperandType type;  // view.offset in elements from the buffer's start
  bool operator==(const PlanOperand&) const = default;
};

// `buffer` gets storage: regular or comm, as its kind says.
struct AllocateLine {
  BufferId buffer;
};
// `buffer` takes over the storage of `from`, which is dead after the line that first writes `buffer`.
struct ReuseLine {
  BufferId buffer;
  BufferId from;
};
// Its storage is not used again (comm: only returns to the plan).
struct FreeLine {
  BufferId buffer;
};
// Copy engine: all of an input into all of its persistent comm buffer.
struct InputCopyLine {
  PlanOperand from, to;
  Origin origin;
};
struct KernelLine {
  KernelSpec spec;
  std::vector<PlanOperand> inputs, outputs;
  Origin origin;
  // A copy to or from a comm buffer because nothing better was possible (S3).
  bool identity_copy = false;
};
// send and barrier write nothing and have output == input; recv reads nothing and has input == output.
struct CollectiveLine {
  Op op;
  Attributes attributes;
  std::string algorithm;
  PlanOperand input, output;
  // Fallback lowering: the name of the call's result, of which `output` is the item; else empty.
  std::string call_name;
  bool end_barrier = true;
  Origin origin;
};
// Between host and device.
struct DeviceCopyLine {
  PlanOperand from, to;
  Origin origin;
};
// planner/lines.hpp says what each kind reads, writes, gives and frees.
using Line = std::variant<AllocateLine, ReuseLine, FreeLine, InputCopyLine, KernelLine, CollectiveLine,
                          DeviceCopyLine>;

struct PlanLine {
  Line line;
  // Whether it may be captured: not work on host memory, device copies, and what the policy splits off.
  bool captured = true;
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
};

struct Plan {
  // A BufferId is an index into this.
  std::vector<Buffer> buffers;
  // By number.
  std::vector<BufferId> inputs, constants;
  std::vector<PlanLine> lines;
  std::vector<PlanOutput> outputs;
  std::vector<Decision> decisions;
  World world;
  // Whether the policy lets anything be captured; if not, no line is.
  bool capture = true;
  const Buffer& buffer(BufferId id) const { return buffers[static_cast<size_t>(id.index)]; }
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

std::string print(const Plan& plan);    // one line per line, for people and goldens
std::string explain(const Plan& plan);  // decisions with reasons, and the figures of statistics()
std::string code(const Plan& plan);     // the plan as a Lua program over peri.runtime (DESIGN section 8)
// What all ranks must agree on: print() without what may differ between ranks of one program (own group's
// members, peers of send and recv), one line per line, each ending with its origin.
std::string agreement_text(const Plan& plan);

// The static figures under the stable names of DESIGN section 11 (compile_ms and partitions are added above).
std::map<std::string, double> statistics(const Plan& plan);

}  // namespace peri::planner
