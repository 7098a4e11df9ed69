// A tuning policy: what the user may choose. In Lua it is a table; a field that chooses may be a function of
// an OpContext.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/ops/op.hpp"
#include "core/topology.hpp"

namespace peri::planner {

// What a choosing function sees of one operation.
struct OpContext {
  Op op;
  DType dtype;
  // Of the first operand.
  Shape shape;
  Bytes bytes;
  // 1 for ops that do not communicate.
  int group_size;
  // "sum", ...; empty where it does not apply.
  std::string reduce;
  // "host", "cuda".
  std::string machine;
  // By what the members of its group reach each other.
  Reach reach;
  Origin origin;
  // Up to this size `ll` answers soonest: Policy::ll_bytes, or as measured.
  Bytes ll_bytes;
};

// Empty: the planner chooses.
template <class T>
using Choice = std::function<Result<T>(const OpContext&)>;

enum class Lowering : uint8_t { out_variant, fallback };
// reuse: a dead buffer's storage goes to the next of its kind. separate: every buffer has its own, for
// comparison.
enum class Planning : uint8_t { reuse, separate };

struct Policy {
  // Algorithms by name ("one_shot"), for ops of the family `collective`; absent, and for an empty string: the
  // planner's thresholds decide.
  std::map<Op, Choice<std::string>> algorithms;
  // Up to this size: ll; absent: what suits the machine (select.cpp).
  std::optional<Bytes> ll_bytes;
  // Up to this size: one_shot; above: two_shot (all_reduce).
  std::optional<Bytes> one_shot_bytes;
  // False: collectives for which the script names no algorithm stay with `ll`.
  bool auto_select = true;
  Lowering lowering = Lowering::out_variant;
  Planning planning = Planning::reuse;
  // True: pointwise work and a norm on a collective's result become the call's epilogue. Off, as no backend
  // has a kernel yet that gains by it.
  bool epilogues = false;
  bool capture = true;
  // True: no op that looks up positions is captured, so that they can be checked at each call.
  bool check_positions = false;
  // True: this op is not captured.
  Choice<bool> split;
  std::string machine = "host";
  // Where the ranks are, which decides what the members of a group can use.
  Topology topology;
  // Names of passes that are left out; `--skip` adds to them.
  std::vector<std::string> skip;
};

}  // namespace peri::planner
