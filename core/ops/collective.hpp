// A collective in words that planner and kernels share: the tables of algorithms.def, and one call with
// everything but its memory.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/ops/kernel.hpp"
#include "core/ops/op.hpp"
#include "core/types/group.hpp"

namespace peri {

enum class Algorithm : uint8_t { ll, one_shot, two_shot, multimem_one_shot, multimem, nccl };
// Whether it goes through a multicast address: NVLink's, or the one that the host emulates.
bool uses_multicast(Algorithm algorithm);

enum class Parts : uint8_t { whole, per_member };
enum class Sources : uint8_t { members, root, members_to_root, peer, nobody };
enum class Traffic : uint8_t { once, share, twice };

// The columns of algorithms.def, which says what they mean.
struct CollectiveInfo {
  Op op;
  int inputs, outputs;
  Parts input, output;
  Sources sources;
  bool reduces;
  Traffic traffic;

  // Whether the input has parts, and whether the output has.
  bool splits() const { return input == Parts::per_member; }
  bool concats() const { return output == Parts::per_member; }
  // Whether one member, the attribute `root`, has a part of its own.
  bool has_root() const { return sources == Sources::root || sources == Sources::members_to_root; }
  // Whether element i of the output depends on elements i of the inputs only.
  bool is_elementwise() const { return !splits() && !concats(); }
  // Whether it is of the family `collective`, whose algorithm a policy may choose, and not a message.
  bool has_choice() const { return peri::info(op).family == Family::collective; }
  // The share of its bytes that must cross a link, so that bytes over time times this can be held against the
  // hardware's bandwidth whatever the op and group.
  double bus_factor(int members) const;
};
// `op` has trait kCollective.
const CollectiveInfo& collective_info(Op op);
std::span<const CollectiveInfo> collectives();

enum SymmetricOperand : uint8_t { kNoOperand, kInput, kOutput };
struct AlgorithmInfo {
  Op op;
  Algorithm algorithm;
  std::string_view name;
  SymmetricOperand symmetric;
  bool clobbers_input;
  bool end_barrier;
  std::string_view documentation;
  // Whether its symmetric operand may lie in symmetric memory of `memory` in a call over `group`: a larger
  // group's will do, but for a multicast address, which reaches all of its members.
  bool works_in_memory_of(const Group& memory, const Group& group) const {
    return memory == group ||
           (!uses_multicast(algorithm) && memory.size() > group.size() && memory.contains(group));
  }
};
std::span<const AlgorithmInfo> algorithms();
// nullptr if the op does not have it.
const AlgorithmInfo* find_algorithm(Op op, Algorithm algorithm);
const AlgorithmInfo* find_algorithm(Op op, std::string_view name);
std::vector<std::string> algorithm_names(Op op);
// NotFound, with the names that there are.
Result<const AlgorithmInfo*> parse_algorithm(Op op, std::string_view name);

// What is done to a collective's result before its call ends: `h = all_reduce(x) + r; n = rms_norm(h, w)`.
// First a program, whose registers are the collective's result and then the call's inputs after the first,
// all of one shape. The call's outputs are the program's results in order; without instructions, the
// collective's result. Then a norm: one output more, the first one normalised.
//
// It needs no memory but the outputs': the collective's result lies in the first output until the program
// overwrites it there, element by element. So the first result has its dtype, and no instruction after the
// one that makes the first result reads the collective's. Other outputs and inputs lie apart from it.
struct Epilogue {
  FusedProgram program;
  // If set: rms_norm over the last dimension. Its weight is the call's last input.
  std::optional<double> rms_norm_eps;

  bool empty() const { return program.instructions.empty() && !rms_norm_eps; }
  // How many inputs it adds to the call, and how many outputs the call has with it.
  int input_count() const;
  int output_count() const;
  // "{(f32, f32) r2 = add(r0, r1) : f32 -> r2} rms_norm {eps = 1e-05}".
  std::string to_string() const;
  bool operator==(const Epilogue&) const = default;
};

// One call of a collective. Its first input is what is communicated; further ones are its epilogue's.
struct CollectiveSpec {
  Op op = Op::all_reduce;
  const AlgorithmInfo* algorithm = nullptr;  // a row of `op`
  Reduce reduce = Reduce::sum;               // of ops that reduce
  Group group;
  int split_dim = 0;   // 0-based; along which the parts of the input lie, if it has any
  int concat_dim = 0;  // 0-based; along which the parts of the output lie, if it has any
  int root = 0;        // a global rank
  int peer = 0;        // a global rank
  // False only where the planner proved that nobody overwrites what peers may still read.
  bool end_barrier = true;
  Epilogue epilogue;
  // Which call of which compiled program it is, the same on all members: calls that look alike do not meet.
  // 0: of none, or members need not have the same program.
  uint64_t call = 0;
  Origin origin;  // for messages

  const CollectiveInfo& info() const { return collective_info(op); }
  // Of the call, with those of the epilogue.
  int input_count() const { return info().inputs + epilogue.input_count(); }
  int output_count() const { return epilogue.empty() ? info().outputs : epilogue.output_count(); }
  bool operator==(const CollectiveSpec&) const = default;
};

// From an op's completed attributes, and back.
CollectiveSpec collective_spec(Op op, const Attributes& attributes, const AlgorithmInfo& algorithm,
                               Origin origin);
Attributes attributes_of(const CollectiveSpec& spec);
// The type of the collective's own result. `operand`: of the input, or, where none is read (recv), of the
// output.
Result<TensorType> infer(const CollectiveSpec& spec, const TensorType& operand);
// The types of a call's outputs, those of its epilogue included: the one rule by which planner and backends
// check calls. `operands`: of its inputs, or, where none is read, of its output.
Result<std::vector<TensorType>> infer_outputs(const CollectiveSpec& spec,
                                              std::span<const TensorType> operands);

}  // namespace peri
