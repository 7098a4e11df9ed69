// What is hard on buffers that alternate and on slots that a value alone says to be full: worlds of any size
// and groups of any part of them; calls back to back, of changing size, op, group and algorithm, eager and
// replayed; numbers that look like an empty slot. Expected values: collective_case.hpp's, or bit for bit by
// the definition.
#include <catch2/catch.hpp>

#include "tests/support/collective_case.hpp"
#include "tests/support/random.hpp"
#include "tests/support/ranks.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::test;
using testing::Random;

namespace {

constexpr DType kNumeric[] = {DType::f32, DType::f16, DType::bf16, DType::i32, DType::i64, DType::u8};
constexpr Reduce kReduces[] = {Reduce::sum, Reduce::avg, Reduce::min, Reduce::max, Reduce::prod};

// The algorithms of the backend that move data; messages between two ranks are collectives_test's.
std::vector<AlgorithmInfo> rows_of(const Backend& backend) {
  std::vector<AlgorithmInfo> rows;
  for (const AlgorithmInfo& row : algorithms())
    if (row.op != Op::send && row.op != Op::recv && offers(backend, row)) rows.push_back(row);
  return rows;
}

// Of a random case: a reduction whose result its dtype holds, and a shape that the op can divide.
void make_valid(Case& c) {
  const bool large = c.reduce == Reduce::prod && (c.dtype == DType::u8 || c.group.size() > 4);
  if (large || (c.reduce == Reduce::avg && !is_float(c.dtype))) c.reduce = Reduce::max;
  if (c.splits()) c.shape[c.dim] *= c.group.size();
}

}  // namespace

TEST_CASE("worlds of two to eight ranks, whole and in parts") {
  const int world = GENERATE(2, 3, 4, 5, 6, 7, 8);
  auto body = [](Backend& backend) -> std::string {
    const int n = backend.job().world_size;
    Group reversed = world_group(n), even, odd;
    std::ranges::reverse(reversed.ranks);
    for (int r = 0; r < n; ++r) (r % 2 ? odd : even).ranks.push_back(r);
    uint64_t seed = 0;
    Mistakes mistakes;
    for (const Group& group : {world_group(n), reversed, even, odd, Group{{n - 1, 0}}})
      for (const AlgorithmInfo& row : rows_of(backend))
        for (int64_t length : {1, 37}) {
          ++seed;
          Case c{.op = row.op, .algorithm = std::string(row.name), .group = group, .seed = seed};
          c.dtype = kNumeric[seed % 6];
          c.reduce = kReduces[seed % 5];
          c.shape = {length, 5};
          c.root = group.ranks[seed % static_cast<uint64_t>(group.size())];
          c.offset = static_cast<int64_t>(seed % 3);
          make_valid(c);
          if (group.index_of(backend.job().rank) < 0) continue;
          mistakes.note(run_case(backend, c));
        }
    return mistakes.text();
  };
  check_well(run_ranks(job_options(world), body));
}

namespace {

// Blocks that are allocated once, handed out piece by piece and taken back all at once, so that between the
// calls of a round nothing else is issued. Pieces of symmetric memory lie at the same place on all members.
class Blocks {
 public:
  static constexpr int64_t kBytes = 24 << 20;
  Blocks(Backend& backend, const std::vector<Group>& groups) {
    blocks_.push_back(backend.allocate(Bytes(kBytes), Place::device).value_or(nullptr));
    for (const Group& group : groups)
      blocks_.push_back(group.index_of(backend.job().rank) < 0
                            ? nullptr
                            : backend.allocate_symmetric(Bytes(kBytes), group).value_or(nullptr));
    used_.resize(blocks_.size());
  }
  // Block 0 is ordinary memory, block 1 + g symmetric memory of group g.
  std::optional<Operand> take(size_t block, DType dtype, const Shape& shape, int64_t offset) {
    const int64_t at = used_[block] + offset * size_of(dtype);
    used_[block] = (at + numel(shape) * size_of(dtype) + 63) / 64 * 64;
    if (!blocks_[block] || used_[block] > kBytes) return {};
    return Operand{blocks_[block]->data() + at, {dtype, View::contiguous(shape)}};
  }
  void take_back() { std::ranges::fill(used_, 0); }

 private:
  std::vector<std::shared_ptr<Storage>> blocks_;
  std::vector<int64_t> used_;
};

// A call that can be issued any number of times: its input is put where the algorithm wants it by a copy, as
// an executable does with its inputs.
struct Repeatable {
  Case c;
  Operand input, in, out;
  Status issue(Backend& backend) const {
    if (in.data != input.data) PERI_TRY(backend.copy(input, in));
    return run_collective(backend, c.spec(), in, out);
  }
  void add_to(std::vector<ProgramStep>& steps) const {
    if (in.data != input.data) steps.push_back(CopyStep{input, in, {}});
    steps.push_back(collective_step(c.spec(), in, out));
  }
};

Case random_case(Random& random, const std::vector<AlgorithmInfo>& rows, const Group& group) {
  const AlgorithmInfo& row = random.pick(rows);
  Case c{.op = row.op, .algorithm = std::string(row.name), .group = group, .seed = random.next() % 1000};
  c.dtype = kNumeric[random.below(6)];
  c.reduce = kReduces[random.below(5)];
  const int64_t size = random.chance(10) ? 300 : random.chance(30) ? 60 : 6;  // up to size x size elements
  c.shape = {random.between(1, size), random.between(1, size)};
  c.dim = static_cast<int>(random.below(2));
  c.concat_dim = c.splits_twice() ? static_cast<int>(random.below(2)) : c.dim;
  c.root = random.pick(group.ranks);
  c.offset = random.below(4);
  c.in_place = row.clobbers_input && random.chance(50);
  make_valid(c);
  return c;
}

#define RETURN_ERROR(expression) \
  if (Status s = (expression); !s) return s.error().to_string()

// Three sets of calls, two of them recorded, in random order and many times; only then does anybody look.
std::string run_round(Backend& backend, const std::vector<Group>& groups, Blocks& blocks, Random& random) {
  const int rank = backend.job().rank;
  const std::vector<AlgorithmInfo> rows = rows_of(backend);
  std::vector<Repeatable> sets[3];
  for (auto& set : sets)
    for (int i = 0; i < 8; ++i) {
      const size_t g = static_cast<size_t>(random.below(std::ssize(groups)));
      const Case c = random_case(random, rows, groups[g]);
      if (groups[g].index_of(rank) < 0) continue;
      const SymmetricOperand where = find_algorithm(c.op, c.algorithm)->symmetric;
      const auto input = blocks.take(0, c.dtype, c.shape, c.offset);
      const auto in = where == kInput ? blocks.take(1 + g, c.dtype, c.shape, c.offset) : input;
      const auto out = c.in_place || c.returns_operand()
                           ? in
                           : blocks.take(where == kOutput ? 1 + g : 0, c.dtype, c.output_shape(), c.offset);
      if (!input || !in || !out) return "the blocks are too small";
      fill(backend, c, rank, *input);
      set.push_back({c, *input, *in, *out});
    }
  std::unique_ptr<Recording> recordings[2];
  for (int k : {0, 1}) {
    std::vector<ProgramStep> steps;
    for (const Repeatable& call : sets[k]) call.add_to(steps);
    auto recording = backend.prepare(steps, Marks::none);
    if (!recording) return recording.error().to_string();
    recordings[k] = std::move(*recording);
  }
  for (int step = 0; step < 12; ++step) {
    const int64_t which = step < 3 ? step : random.below(3);
    if (which < 2) {
      RETURN_ERROR(backend.replay(*recordings[which]));
      continue;
    }
    for (const Repeatable& call : sets[2]) RETURN_ERROR(call.issue(backend));
  }
  Mistakes mistakes;
  for (const auto& set : sets)
    for (const Repeatable& call : set) mistakes.note(compare(backend, call.c, rank, call.out));
  auto met = backend.exchange(world_group(backend.job().world_size), "", "end of round");
  if (!met) mistakes.note(met.error().to_string());
  return mistakes.text();
}

}  // namespace

TEST_CASE("calls back to back: any size, op, group and algorithm, eager and replayed") {
  const int world = GENERATE(2, 4);
  auto body = [](Backend& backend) -> std::string {
    const std::vector<Group> groups =
        backend.job().world_size == 2 ? std::vector<Group>{{{0, 1}}, {{1, 0}}}
                                      : std::vector<Group>{{{0, 1, 2, 3}}, {{3, 1}}, {{2, 0, 1}}, {{0, 2}}};
    Blocks blocks(backend, groups);
    Random random(77);  // the same on all ranks
    for (int round = 0; round < 12; ++round) {
      blocks.take_back();
      if (std::string wrong = run_round(backend, groups, blocks, random); !wrong.empty())
        return fmt::format("round {}: {}", round, wrong);
    }
    return "";
  };
  check_well(run_ranks(job_options(world), body));
}

namespace {

// Bits that an element may have: NaNs of several payloads, all ones among them, zeros of both signs,
// infinities, the smallest number; and 1 and 2, so that not every result is a NaN.
std::vector<uint64_t> bits_for(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return {0xFFFFFFFF, 0xFFFFFFFF, 0x7FC00000, 0xFFFF0000, 0x80000000, 0x80000000, 0,          0x7F800000,
              0xFF800000, 1,          0x3F800000, 0x40000000, 0x3F800000, 0x40000000, 0x3F800000, 0x40000000};
    case DType::f16:
      return {0xFFFF, 0xFFFF, 0x7E00, 0x8000, 0x8000, 0,      0x7C00, 0xFC00,
              1,      0x3C00, 0x4000, 0x3C00, 0x4000, 0x3C00, 0x4000, 0x3C00};
    case DType::bf16:
      return {0xFFFF, 0xFFFF, 0x7FC0, 0x8000, 0x8000, 0,      0x7F80, 0xFF80,
              1,      0x3F80, 0x4000, 0x3F80, 0x4000, 0x3F80, 0x4000, 0x3F80};
    default:
      return {~uint64_t(0), ~uint64_t(0), 0, 1, 2, 0x7F, uint64_t(1) << 63, 0xFFFFFFFF};
  }
}
uint64_t special(const Case& c, int rank, int64_t i) {
  const std::vector<uint64_t> all = bits_for(c.dtype);
  Random random(c.seed * 1'000'003 + static_cast<uint64_t>(rank) * 7919 + static_cast<uint64_t>(i));
  if (i / 64 % 5 == 4) return all[0];  // whole stretches of ones
  return all[static_cast<size_t>(random.below(std::ssize(all)))];
}

template <class T>
T combined(Reduce reduce, T x, T y) {
  switch (reduce) {
    case Reduce::sum:
    case Reduce::avg:
      return x + y;
    case Reduce::min:
      return x < y || x != x ? x : y;
    case Reduce::max:
      return x > y || x != x ? x : y;
    case Reduce::prod:
      return x * y;
  }
  return x;
}
// As the reduction compares them: signed, but for u8.
int64_t widened(DType dtype, uint64_t bits) {
  return dtype == DType::u8    ? static_cast<int64_t>(bits & 0xFF)
         : dtype == DType::i32 ? static_cast<int32_t>(static_cast<uint32_t>(bits))
                               : static_cast<int64_t>(bits);
}
uint64_t reduced(const Case& c, int64_t i) {
  const int n = c.group.size();
  auto member = [&](int m) { return special(c, c.group.ranks[static_cast<size_t>(m)], i); };
  if (!is_float(c.dtype)) {
    int64_t total = widened(c.dtype, member(0));
    for (int m = 1; m < n; ++m) {
      const int64_t next = widened(c.dtype, member(m));
      if (c.reduce == Reduce::min || c.reduce == Reduce::max)
        total = combined(c.reduce, total, next);
      else  // wraps
        total = static_cast<int64_t>(
            combined(c.reduce, static_cast<uint64_t>(total), static_cast<uint64_t>(next)));
    }
    return static_cast<uint64_t>(total);
  }
  auto number = [&](uint64_t bits) {
    return c.dtype == DType::f32   ? std::bit_cast<float>(static_cast<uint32_t>(bits))
           : c.dtype == DType::f16 ? f16_to_f32(static_cast<uint16_t>(bits))
                                   : bf16_to_f32(static_cast<uint16_t>(bits));
  };
  float total = number(member(0));
  for (int m = 1; m < n; ++m) total = combined(c.reduce, total, number(member(m)));
  if (c.reduce == Reduce::avg) total /= static_cast<float>(n);
  return c.dtype == DType::f32   ? std::bit_cast<uint32_t>(total)
         : c.dtype == DType::f16 ? f32_to_f16(total)
                                 : f32_to_bf16(total);
}
// Of one dimension.
uint64_t wanted(const Case& c, int rank, int64_t i) {
  const Case::Source from = c.source(rank, {i});
  return from.rank < 0 ? reduced(c, from.index) : special(c, from.rank, from.index);
}
bool is_nan(DType dtype, uint64_t bits) {
  return dtype == DType::f32    ? (bits & 0x7FFFFFFF) > 0x7F800000
         : dtype == DType::f16  ? (bits & 0x7FFF) > 0x7C00
         : dtype == DType::bf16 ? (bits & 0x7FFF) > 0x7F80
                                : false;
}

// "" or the first element with other bits. The payload of a NaN that was computed is nobody's promise.
std::string compare_bits(const Case& c, int rank, const std::string& bytes) {
  const auto size = static_cast<size_t>(size_of(c.dtype));
  const bool computed = collective_info(c.op).reduces;
  for (size_t i = 0; i * size < bytes.size(); ++i) {
    uint64_t got = 0, want = 0;
    const uint64_t expected = wanted(c, rank, static_cast<int64_t>(i));
    std::memcpy(&got, bytes.data() + i * size, size);
    std::memcpy(&want, &expected, size);
    if (got == want || (computed && is_nan(c.dtype, got) && is_nan(c.dtype, want))) continue;
    return fmt::format("{}: element {} is {:#x}, not {:#x}", c.name(), i, got, want);
  }
  return "";
}

// All sizes and reductions of one algorithm and dtype, issued back to back.
std::string run_special(Backend& backend, Blocks& blocks, const AlgorithmInfo& row, DType dtype,
                        const Group& group) {
  struct Issued {
    Case c;
    Operand in, out;
  };
  const int rank = backend.job().rank;
  const auto size = static_cast<size_t>(size_of(dtype));
  const bool reduces = collective_info(row.op).reduces;
  std::vector<Issued> calls;
  blocks.take_back();
  for (Reduce reduce : kReduces) {
    if (reduces ? reduce == Reduce::avg && !is_float(dtype) : reduce != Reduce::sum) continue;
    for (int64_t count : {1, 2, 3, 9, 4096, 5, 40'001, 7, 31, 2, 1, 640}) {
      if (count > 5000 && reduce != Reduce::sum) continue;
      Case c{.op = row.op,
             .algorithm = std::string(row.name),
             .dtype = dtype,
             .reduce = reduce,
             .shape = {count},
             .group = group,
             .seed = calls.size()};
      if (c.splits()) c.shape[0] *= group.size();
      c.root = group.ranks.back();
      const auto in = blocks.take(row.symmetric == kInput, dtype, c.shape, count % 2);
      const auto out = c.returns_operand()
                           ? in
                           : blocks.take(row.symmetric == kOutput, dtype, c.output_shape(), count % 2);
      if (!in || !out) return "the blocks are too small";
      std::string bytes(static_cast<size_t>(c.shape[0]) * size, '\0');
      for (int64_t i = 0; i < c.shape[0]; ++i) {
        const uint64_t bits = special(c, rank, i);
        std::memcpy(bytes.data() + static_cast<size_t>(i) * size, &bits, size);
      }
      RETURN_ERROR(set_bytes(backend, *in, bytes));
      calls.push_back({c, *in, *out});
    }
  }
  for (const Issued& call : calls) RETURN_ERROR(run_collective(backend, call.c.spec(), call.in, call.out));
  Mistakes mistakes;
  for (const auto& [c, in, out] : calls) {
    auto bytes = bytes_of(backend, out);
    if (!bytes) return bytes.error().to_string();
    mistakes.note(compare_bits(c, rank, *bytes));
    if (c.op != Op::all_reduce) continue;
    auto all = backend.exchange(group, *bytes, "compare");
    if (!all) return all.error().to_string();
    for (const std::string& theirs : *all)
      if (theirs != *bytes) mistakes.note(c.name() + ": other bits on another rank");
  }
  return mistakes.text();
}

}  // namespace

TEST_CASE("NaNs of any payload, signed zeros and infinities come through; nothing waits for a value") {
  const int world = GENERATE(2, 3);
  auto body = [](Backend& backend) -> std::string {
    const Group world = world_group(backend.job().world_size);
    Blocks blocks(backend, {world});
    Mistakes mistakes;
    for (const AlgorithmInfo& row : rows_of(backend))
      for (DType dtype : kNumeric)
        if (row.algorithm == Algorithm::nccl)  // has an arithmetic of its own
          continue;
        else
          mistakes.note(run_special(backend, blocks, row, dtype, world));
    return mistakes.text();
  };
  check_well(run_ranks(job_options(world), body));
}
