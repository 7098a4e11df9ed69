// A collective call as every backend carries it out: checked against the op's shape rule and the algorithm's
// row, with its parts and its symmetric operand worked out. Separate from the backends so that they refuse
// the same calls in the same words, and so that ranks tell different calls apart in the same way.
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>

#include "kernels/backend.hpp"
#include "kernels/job/control.hpp"

namespace peri::kernels {

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

struct CollectiveCall {
  job::Operation operation;
  uint64_t signature;  // equal on all members if and only if they are in the same operation
  Group group;
  int index;  // this rank's position in it
  Op op;
  const AlgorithmInfo& algorithm;
  DType dtype;
  std::optional<Reduce> reduction;  // of all_reduce and reduce_scatter
  const std::byte* input;
  std::byte* output;
  Shape input_shape, output_shape;
  int dim = 0, concat_dim = 0;  // 0-based; `dim` is all_to_all's split_dim
  int peer = -1;                // send, recv: a global rank
  int root = -1;                // broadcast: a member
  bool end_barrier;
  SymmetricMemory* memory = nullptr;  // of the algorithm's symmetric operand
  int64_t memory_offset = 0;          // of the operand in the block, in bytes

  int members() const { return group.size(); }
  int me() const { return index; }
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
  // Of sender and receiver of a message alike: type and number of elements, whatever their shape.
  uint64_t message_signature() const {
    return (static_cast<uint64_t>(numel(input_shape)) << 8) + static_cast<uint64_t>(dtype);
  }
};

// InvalidArgument if rank `rank` of `world` cannot communicate in the group.
Status check_group(const Group& group, int rank, int world);
// `find` gives the symmetric memory of this rank that holds an address, or nullptr.
Result<CollectiveCall> check_collective(const CollectiveSpec& spec, const Operand& input,
                                        const Operand& output, const JobOptions& job,
                                        const std::function<SymmetricMemory*(const std::byte*)>& find);

}  // namespace peri::kernels
