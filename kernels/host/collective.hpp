// Collectives of the host backend: one call is prepared (checked, addresses and functions fixed) and then run
// any number of times. The algorithms are in collective_staged.cpp (ordinary memory, through the group's
// workspace) and collective_direct.cpp (symmetric memory, read and written in place).
#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <tuple>

#include "kernels/backend.hpp"
#include "kernels/host/collective_reduce.hpp"
#include "kernels/host/signal.hpp"
#include "kernels/host/symmetric_memory.hpp"

namespace peri::host {

// Something that can be recorded and run again. Nothing is allocated in `run` after its first time.
class Call {
 public:
  virtual ~Call() = default;
  virtual Status run() = 0;
};

// What a rank shares with its peers: the control plane, the groups' contexts and the pairs' channels, made
// when first used.
class Communicator {
 public:
  explicit Communicator(std::unique_ptr<Control> control) : control_(std::move(control)) {}
  Control& control() const { return *control_; }
  const std::shared_ptr<SymmetricBlocks>& blocks() const { return blocks_; }
  // InvalidArgument if this rank is no member, or if the members are not distinct ranks of the job.
  Result<GroupContext*> context(const Group& group);
  Result<Channel*> channel(const Group& group, int from, int to, const Operation& operation);

 private:
  std::unique_ptr<Control> control_;
  std::shared_ptr<SymmetricBlocks> blocks_ = std::make_shared<SymmetricBlocks>();
  std::map<Group, std::unique_ptr<GroupContext>> contexts_;
  std::map<std::tuple<Group, int, int>, std::unique_ptr<Channel>> channels_;
};

// Checks the operands against the op's shape rule and the algorithm's row. The call refers to the
// communicator.
Result<std::unique_ptr<Call>> prepare_collective(Communicator& communicator, const CollectiveSpec& spec,
                                                 const Operand& input, const Operand& output);

// Where one of the equal parts that a contiguous tensor falls into along a dimension lies: rows of equal
// length at equal distances. Positions in a part count its bytes without the gaps.
struct Window {
  int64_t row_bytes = std::numeric_limits<int64_t>::max();
  int64_t row_stride = 0;
  int64_t begin = 0;
  int64_t address(int64_t position) const {
    return begin + position / row_bytes * row_stride + position % row_bytes;
  }
  // Part `index` of `count` along `dim`, each of shape `part`.
  static Window of_part(DType dtype, const Shape& part, int dim, int index, int count);
  // Memory without gaps that holds a part from position `at` on.
  static Window packed_from(int64_t at) { return {.begin = -at}; }
};
// Copies positions [at, at + length) of a part from one window to another.
void copy_window(std::byte* to, const Window& to_window, const std::byte* from, const Window& from_window,
                 int64_t at, int64_t length);

// A collective that has been checked: what the algorithms are made from.
struct CheckedCollective {
  Communicator& communicator;
  GroupContext& context;
  Operation operation;
  uint64_t signature;  // equal on all members if and only if they are in the same operation
  Op op;
  const AlgorithmInfo& algorithm;
  DType dtype;
  const std::byte* input;
  std::byte* output;
  Shape input_shape, output_shape;
  ReduceArrays reduce;          // of all_reduce and reduce_scatter
  int dim = 0, concat_dim = 0;  // 0-based; `dim` is all_to_all's split_dim
  int peer = -1;                // send, recv: a global rank
  int root = -1;                // broadcast: a member
  bool end_barrier;
  HostSymmetricMemory* memory = nullptr;  // of the algorithm's symmetric operand
  int64_t memory_offset = 0;              // of the operand in the block, in bytes

  int members() const { return context.size(); }
  int me() const { return context.index(); }
  int64_t input_bytes() const { return numel(input_shape) * size_of(dtype); }
  int64_t output_bytes() const { return numel(output_shape) * size_of(dtype); }
  // The op as moves of equal parts: what a member's input holds for `member`, and where in the output what
  // comes from it lies.
  Window input_part(int member) const;
  Window output_part(int member) const;
  int64_t part_bytes() const {
    return op == Op::all_to_all ? input_bytes() / members() : std::min(input_bytes(), output_bytes());
  }
  // The symmetric operand of a member.
  std::byte* symmetric(int member) const { return memory->buffer(member) + memory_offset; }
  // Meets the other members; `phase` tells the synchronisations of one call apart.
  Status synchronize(uint64_t phase) const { return context.synchronize(signature + phase, operation); }
};

std::unique_ptr<Call> staged_collective(CheckedCollective checked);
std::unique_ptr<Call> direct_collective(CheckedCollective checked);

}  // namespace peri::host
