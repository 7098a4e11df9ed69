// A collective call as every backend carries it out: checked against the op's shape rule and the algorithm's
// row, with its parts and its symmetric operand worked out. Separate from the backends so that they refuse
// the same calls in the same words, and so that ranks tell different calls apart in the same way.
#pragma once

#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/job/control.hpp"

namespace peri::kernels {

// Where one of the equal parts that a contiguous tensor falls into along a dimension lies: rows of equal
// length at equal distances. Positions in a part count its bytes without the gaps. As what device code takes,
// it counts bytes in plain int64, and so do the algorithms, which walk positions.
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

struct CheckedCollective {
  job::Operation operation;
  uint64_t signature;  // equal on all members if and only if they are in the same operation
  CollectiveSpec spec;
  int index;  // this rank's position in the group
  int root;   // the root's position in the group; -1: there is none
  DType dtype;
  const std::byte* input;              // nullptr where none is read
  std::byte* output;                   // nullptr where none is written
  Shape input_shape, output_shape;     // of what there is not: as of the other
  SymmetricMemory* memory = nullptr;   // of the algorithm's symmetric operand
  std::vector<std::byte*> operands{};  // of the members: where their symmetric operands are mapped here

  const CollectiveInfo& info() const { return spec.info(); }
  const AlgorithmInfo& algorithm() const { return *spec.algorithm; }
  const Group& group() const { return spec.group; }
  int members() const { return spec.group.size(); }
  int me() const { return index; }
  Bytes input_bytes() const { return input ? bytes_of(Elements(numel(input_shape)), dtype) : Bytes(); }
  Bytes output_bytes() const { return output ? bytes_of(Elements(numel(output_shape)), dtype) : Bytes(); }
  // The op as moves of equal parts: what a member's input holds for `member`, and where in the output what
  // comes from it lies.
  Window input_part(int member) const;
  Window output_part(int member) const;
  Bytes part_bytes() const {
    if (info().output == Parts::whole) return output_bytes();
    return info().input == Parts::whole ? input_bytes() : input_bytes() / members();
  }
  // Whether every member gets a part of its own of this rank's input.
  bool is_personal() const { return info().input == Parts::per_member; }
  bool is_message() const { return info().sources == Sources::peer; }
  // Whether member `m` gives something.
  bool is_source(int m) const { return info().sources != Sources::root || m == root; }
  // Whether this rank's output is its input, whatever the others have.
  bool keeps_input() const { return info().sources == Sources::members_to_root && me() != root; }
  // Whether the result is written where the input lies.
  bool in_place() const { return output == input; }
  // The symmetric operand of a member.
  std::byte* symmetric(int member) const { return operands[static_cast<size_t>(member)]; }
  // Of sender and receiver of a message alike: type and number of elements, whatever their shape.
  uint64_t message_signature() const {
    return (static_cast<uint64_t>(numel(input_shape)) << 8) + static_cast<uint64_t>(dtype);
  }
};

// InvalidArgument if rank `rank` of `world` cannot communicate in the group.
Status check_group(const Group& group, int rank, int world);
// InvalidArgument if member `me` of the group cannot put a signal to `member` through the channel, or wait
// for one from it.
enum class Signalling : uint8_t { put, wait };
Status check_signal(Signalling what, const Group& group, int me, int member, int channel, int channels,
                    const job::Operation& operation);
// `find` gives the symmetric memory of this rank that holds an address, or nullptr.
Result<CheckedCollective> check_collective(const CollectiveSpec& spec, std::span<const Operand> inputs,
                                           std::span<const Operand> outputs, const JobOptions& job,
                                           const std::function<SymmetricMemory*(const std::byte*)>& find);

}  // namespace peri::kernels
