// A tuning policy: what the user may choose. In Lua it is a table; a field that chooses may be a function of
// an OpContext.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/ops/op.hpp"

namespace peri::planner {

// What a choosing function sees of one operation.
struct OpContext {
  Op op;
  DType dtype;
  Shape shape;          // of the first operand
  int64_t bytes;        // of the first operand
  int group_size;       // 1 for ops that do not communicate
  std::string reduce;   // "sum", ...; empty where it does not apply
  std::string machine;  // "host", "cuda"
  Origin origin;
};

template <class T>
using Choice = std::function<Result<T>(const OpContext&)>;  // empty: the planner chooses

enum class Lowering : uint8_t { out_variant, fallback };
enum class Planning : uint8_t { reuse };  // pool comes with the second planner mode
enum class Barriers : uint8_t { full };   // elide comes with epochs

struct Policy {
  bool auto_select = true;  // false: functional collectives stay with `ll`
  // Algorithm per collective op, by name ("one_shot"); empty string: the planner's thresholds decide.
  Choice<std::string> all_reduce, all_gather, reduce_scatter, all_to_all, broadcast;
  std::optional<int64_t> ll_bytes;        // up to here: ll; absent: what suits the machine (select.cpp)
  std::optional<int64_t> one_shot_bytes;  // up to here: one_shot; above: two_shot (all_reduce)
  Lowering lowering = Lowering::out_variant;
  Planning planning = Planning::reuse;
  Barriers barriers = Barriers::full;
  bool fuse = true;
  bool reuse = true;  // false: every buffer its own storage (for comparison)
  bool capture = true;
  Choice<bool> split;  // true: this op is not captured
  std::string machine = "host";
  bool nccl = false;              // whether the machine's ranks can use `nccl`
  bool symmetric_memory = true;   // whether they can map each other's memory
  std::vector<std::string> skip;  // names of passes left out (--skip)
};

}  // namespace peri::planner
