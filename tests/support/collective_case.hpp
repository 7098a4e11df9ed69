// One collective with its expected result computed in double precision from every member's data, by the
// definition of the op and nothing of the backend: for tests that run many.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/ops/collective.hpp"
#include "core/types/dtype.hpp"
#include "kernels/backend.hpp"

namespace peri::test {

// Element `index` of a rank's tensor: small numbers, exact in every dtype, so that integer results are exact
// in double too and most float results are; never 0, so that products say something.
inline double element(uint64_t seed, int rank, int64_t index) {
  uint64_t x = seed * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(rank) * 0xC2B2AE3D27D4EB4Fu +
               static_cast<uint64_t>(index);
  x = (x ^ (x >> 31)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 29)) * 0x94D049BB133111EBu;
  return static_cast<double>((x >> 40) % 7) + 1;
}
// The same with fractions and signs, for floats.
inline double float_element(uint64_t seed, int rank, int64_t index) {
  double e = element(seed, rank, index);
  return (static_cast<int64_t>(e) % 2 ? e : -e) + element(seed + 1, rank, index) / 16;
}

inline void store(DType dtype, std::byte* to, double value) {
  auto put = [to](auto v) { std::memcpy(to, &v, sizeof(v)); };
  switch (dtype) {
    case DType::f32:
      return put(static_cast<float>(value));
    case DType::f16:
      return put(f32_to_f16(static_cast<float>(value)));
    case DType::bf16:
      return put(f32_to_bf16(static_cast<float>(value)));
    case DType::i32:
      return put(static_cast<int32_t>(static_cast<int64_t>(value)));
    case DType::i64:
      return put(static_cast<int64_t>(value));
    case DType::u8:
      return put(static_cast<uint8_t>(static_cast<int64_t>(value)));
    case DType::boolean:
      return put(static_cast<uint8_t>(value != 0));
  }
}
inline double load(DType dtype, const std::byte* from) {
  auto get = [from]<class T>(T v) {
    std::memcpy(&v, from, sizeof(v));
    return v;
  };
  switch (dtype) {
    case DType::f32:
      return get(float());
    case DType::f16:
      return f16_to_f32(get(uint16_t()));
    case DType::bf16:
      return bf16_to_f32(get(uint16_t()));
    case DType::i32:
      return get(int32_t());
    case DType::i64:
      return static_cast<double>(get(int64_t()));
    case DType::u8:
    case DType::boolean:
      return get(uint8_t());
  }
  return 0;
}

struct Case {
  Op op = Op::all_reduce;
  std::string algorithm;
  DType dtype = DType::f32;
  Reduce reduce = Reduce::sum;
  Shape shape;  // of the input
  int dim = 0, concat_dim = 0;
  int root = 0;  // a global rank
  Group group;
  uint64_t seed = 1;
  int64_t offset = 0;  // elements by which operands are shifted in their memory
  bool end_barrier = true;
  bool in_place = false;

  // The algorithm is one of the op's.
  CollectiveSpec spec() const {
    return {.op = op,
            .algorithm = find_algorithm(op, algorithm),
            .reduce = reduce,
            .group = group,
            .split_dim = dim,
            .concat_dim = splits_twice() ? concat_dim : dim,
            .root = root,
            .end_barrier = end_barrier,
            .epilogue = {},
            .origin = {"case.lua", 1}};
  }
  // send and barrier write nothing: what they return is their operand.
  bool returns_operand() const { return collective_info(op).outputs == 0; }
  // Whether its input must divide into a part for every member along `dim`, and whether what arrives is
  // joined along another dimension.
  bool splits() const { return collective_info(op).input == Parts::per_member; }
  bool splits_twice() const { return splits() && collective_info(op).output == Parts::per_member; }
  Shape output_shape() const {
    Shape s = shape;
    if (splits()) s[dim] /= group.size();
    if (collective_info(op).output == Parts::per_member) s[splits_twice() ? concat_dim : dim] *= group.size();
    return s;
  }
  double input(int rank, int64_t index) const {
    double v = is_float(dtype) ? float_element(seed, rank, index) : element(seed, rank, index);
    if (reduce == Reduce::prod && is_float(dtype)) v = v < 0 ? -1.5 : 1.25;
    return dtype == DType::boolean ? (v > 4 ? 1 : 0) : round_to(dtype, v);
  }
  std::string name() const {
    return fmt::format("{} {} {}{} {} over {} dims {},{} root {} offset {} seed {}", to_string(op), algorithm,
                       to_string(dtype), shape.to_string(), to_string(reduce), group.to_string(), dim,
                       concat_dim, root, offset, seed);
  }

  // Which element of whose input element `at` of `rank`'s output is; rank -1: of all members', reduced.
  struct Source {
    int rank;
    int64_t index;
  };
  Source source(int rank, std::vector<int64_t> at) const;

  // Element at `at` of `rank`'s output, in double precision and not rounded.
  double expected(int rank, const std::vector<int64_t>& at) const {
    const Source from = source(rank, at);
    return from.rank < 0 ? reduced(from.index) : input(from.rank, from.index);
  }

 private:
  double reduced(int64_t index) const;
};

// Only the host backend has (emulates) a multicast address.
inline bool offers(const kernels::Backend& backend, const AlgorithmInfo& row) {
  if (row.algorithm == Algorithm::nccl)
    return backend.topology().reach(world_group(backend.job().world_size)).nccl;
  return backend.name() == "host" || !uses_multicast(row.algorithm);
}

// Memory for one case's operands, as the algorithm wants it. Symmetric memory is allocated collectively.
struct CaseMemory {
  std::shared_ptr<kernels::Storage> input, output;
  kernels::Operand in, out;
};
inline Result<CaseMemory> place(kernels::Backend& backend, const Case& c) {
  const AlgorithmInfo* algorithm = find_algorithm(c.op, c.algorithm);
  const Bytes before = bytes_of(Elements(c.offset), c.dtype);
  const Bytes in_bytes = bytes_of(Elements(numel(c.shape)), c.dtype),
              out_bytes = bytes_of(Elements(numel(c.output_shape())), c.dtype);
  CaseMemory m;
  m.input = algorithm->symmetric == kInput ? PERI_TRY(backend.allocate_symmetric(in_bytes + before, c.group))
                                           : PERI_TRY(backend.allocate(in_bytes + before, Place::device));
  m.output = c.in_place || c.returns_operand() ? m.input
             : algorithm->symmetric == kOutput
                 ? PERI_TRY(backend.allocate_symmetric(out_bytes + before, c.group))
                 : PERI_TRY(backend.allocate(out_bytes + before, Place::device));
  m.in = {m.input->data() + before, {c.dtype, View::contiguous(c.shape)}};
  m.out = {m.output->data() + before, {c.dtype, View::contiguous(c.output_shape())}};
  return m;
}
// Contiguous operands lie where the CPU may not reach: their bytes go through memory of the host.
inline Result<std::shared_ptr<kernels::Storage>> host_copy(kernels::Backend& backend,
                                                           const kernels::Operand& operand) {
  const Bytes size = bytes_of(Elements(numel(operand.type.view.shape)), operand.type.dtype);
  return backend.allocate(std::max(size, Bytes(1)), Place::host);
}
inline Status set_bytes(kernels::Backend& backend, const kernels::Operand& to, const std::string& bytes) {
  std::shared_ptr<kernels::Storage> host = PERI_TRY(host_copy(backend, to));
  std::memcpy(host->data(), bytes.data(), bytes.size());
  return backend.copy({host->data(), to.type}, to);
}
inline Result<std::string> bytes_of(kernels::Backend& backend, const kernels::Operand& from) {
  std::shared_ptr<kernels::Storage> host = PERI_TRY(host_copy(backend, from));
  PERI_TRY(backend.copy(from, {host->data(), from.type}));
  PERI_TRY(backend.synchronize());
  return std::string(reinterpret_cast<const char*>(host->data()),
                     static_cast<size_t>(numel(from.type.view.shape) * size_of(from.type.dtype)));
}
// What goes wrong here is told by what follows: the operand then holds something else.
inline void fill(kernels::Backend& backend, const Case& c, int rank, const kernels::Operand& in) {
  std::string bytes(static_cast<size_t>(numel(c.shape) * size_of(c.dtype)), '\0');
  for (int64_t i = 0; i < numel(c.shape); ++i)
    store(c.dtype, reinterpret_cast<std::byte*>(bytes.data()) + i * size_of(c.dtype), c.input(rank, i));
  if (Status s = set_bytes(backend, in, bytes); !s) fmt::print(stderr, "{}\n", s.error().to_string());
}
// "" or the first wrong element.
inline std::string compare(kernels::Backend& backend, const Case& c, int rank, const kernels::Operand& out) {
  Shape shape = c.output_shape();
  const Result<std::string> bytes = bytes_of(backend, out);
  if (!bytes) return bytes.error().to_string();
  const auto* data = reinterpret_cast<const std::byte*>(bytes->data());
  double epsilon = c.dtype == DType::bf16  ? 0x1p-8
                   : c.dtype == DType::f16 ? 0x1p-11
                   : c.dtype == DType::f32 ? 1e-6
                                           : 0;
  if (c.algorithm == "nccl") epsilon *= 64;  // it may round every partial sum
  std::vector<int64_t> at(static_cast<size_t>(shape.rank()));
  for (int64_t i = 0; i < numel(shape); ++i) {
    int64_t rest = i;
    for (int d = shape.rank() - 1; d >= 0; --d) {
      at[d] = rest % shape[d];
      rest /= shape[d];
    }
    double want = c.expected(rank, at), got = load(c.dtype, data + i * size_of(c.dtype));
    if (!is_float(c.dtype)) want = c.dtype == DType::boolean ? want : round_to(c.dtype, want);
    if (!(std::abs(got - want) <= epsilon * std::max(1.0, std::abs(want))))
      return fmt::format("{}: element {} is {}, not {}", c.name(), i, got, want);
  }
  return "";
}
// With as many operands as the op has.
inline Status run_collective(kernels::Backend& backend, const CollectiveSpec& spec,
                             const kernels::Operand& in, const kernels::Operand& out) {
  return backend.collective(spec, {&in, static_cast<size_t>(spec.info().inputs)},
                            {&out, static_cast<size_t>(spec.info().outputs)});
}
inline kernels::ProgramStep collective_step(const CollectiveSpec& spec, const kernels::Operand& in,
                                            const kernels::Operand& out) {
  kernels::CollectiveStep step{spec, {in}, {out}};
  step.inputs.resize(static_cast<size_t>(spec.info().inputs));
  step.outputs.resize(static_cast<size_t>(spec.info().outputs));
  return step;
}
// Places, fills, runs and compares.
inline std::string run_case(kernels::Backend& backend, const Case& c) {
  Result<CaseMemory> memory = place(backend, c);
  if (!memory) return memory.error().to_string();
  int rank = backend.job().rank;
  fill(backend, c, rank, memory->in);
  Status status = run_collective(backend, c.spec(), memory->in, memory->out);
  if (!status) return status.error().to_string();
  std::string wrong = compare(backend, c, rank, memory->out);
  // Without an end barrier the caller must keep its memory as it is until the next meeting.
  if (!c.end_barrier) PERI_CHECK(backend.exchange(c.group, "", "end of case"), "meeting");
  return wrong;
}

}  // namespace peri::test
