// Every algorithm against sums in double precision: dtypes, reductions, odd sizes, offsets, dimensions and
// groups.
#include <catch2/catch.hpp>

#include "tests/support/collective_case.hpp"
#include "tests/support/ranks.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::test;

namespace {

constexpr DType kNumeric[] = {DType::f32, DType::f16, DType::bf16, DType::i32, DType::i64, DType::u8};
constexpr Reduce kReduces[] = {Reduce::sum, Reduce::avg, Reduce::min, Reduce::max, Reduce::prod};

bool is_defined(DType dtype, Reduce reduce) {
  return reduce != Reduce::avg || is_float(dtype);
}

}  // namespace

TEST_CASE("every all_reduce algorithm gives the sums, and the same bits as the others") {
  int world = GENERATE(2, 3, 4);
  auto body = [](Backend& backend) -> std::string {
    Group world = world_group(backend.job().world_size);
    Mistakes mistakes;
    for (DType dtype : kNumeric)
      for (Reduce reduce : kReduces)
        for (int64_t count : {0, 1, 5, 67, 1023}) {
          if (!is_defined(dtype, reduce)) continue;
          std::string first;
          for (const AlgorithmInfo& row : algorithms()) {
            if (row.op != Op::all_reduce || !offers(backend, row)) continue;
            Case c{.algorithm = std::string(row.name),
                   .dtype = dtype,
                   .reduce = reduce,
                   .shape = {count},
                   .group = world};
            c.offset = count % 3;
            c.in_place = row.clobbers_input && count % 2;
            Result<CaseMemory> memory = place(backend, c);
            if (!memory) return memory.error().to_string();
            fill(backend, c, backend.job().rank, memory->in);
            if (Status s = run_collective(backend, c.spec(), memory->in, memory->out); !s)
              return s.error().to_string();
            mistakes.note(compare(backend, c, backend.job().rank, memory->out));
            std::string bytes = bytes_of(backend, memory->out).value_or("");
            if (first.empty()) first = bytes;
            if (bytes != first && row.algorithm != Algorithm::nccl)
              mistakes.note(c.name() + ": other bits than by ll");
          }
          auto all = backend.exchange(world, first, "compare");
          if (!all) return all.error().to_string();
          for (const std::string& theirs : *all)
            if (theirs != first)
              mistakes.note(fmt::format("{} {} of {}: other bits on another rank", to_string(dtype),
                                        to_string(reduce), count));
        }
    return mistakes.text();
  };
  check_well(run_ranks(job_options(world), body));
}

TEST_CASE("every algorithm moves the right parts, along any dimension") {
  int world = GENERATE(2, 3, 4);
  auto body = [](Backend& backend) -> std::string {
    Mistakes mistakes;
    const int64_t n = backend.job().world_size;
    const Group world = world_group(backend.job().world_size);
    uint64_t seed = 7;
    for (const AlgorithmInfo& row : algorithms()) {
      if (row.op == Op::all_reduce || row.op == Op::send || row.op == Op::recv || !offers(backend, row))
        continue;
      for (DType dtype : {DType::f32, DType::bf16, DType::i64, DType::u8, DType::boolean}) {
        if (collective_info(row.op).reduces && dtype == DType::boolean) continue;
        for (int dim : {0, 1, 2})
          for (int concat_dim : {0, 1, 2}) {
            if (row.op != Op::all_to_all && concat_dim != dim) continue;
            for (int64_t inner : {0, 1, 5}) {
              Case c{.op = row.op,
                     .algorithm = std::string(row.name),
                     .dtype = dtype,
                     .group = world,
                     .seed = ++seed};
              c.dim = dim;
              c.concat_dim = concat_dim;
              c.shape = {3, 2, inner};
              c.shape[dim] *= c.splits() ? n : 1;
              c.reduce = dtype == DType::f32 ? Reduce::avg : Reduce::sum;
              c.root = static_cast<int>(seed % static_cast<uint64_t>(n));
              c.offset = static_cast<int64_t>(seed % 5);
              c.end_barrier = seed % 2;
              mistakes.note(run_case(backend, c));
            }
          }
      }
    }
    return mistakes.text();
  };
  check_well(run_ranks(job_options(world), body));
}

TEST_CASE("messages larger than any buffer go through every algorithm") {
  auto body = [](Backend& backend) -> std::string {
    Mistakes mistakes;
    uint64_t seed = 50;
    for (const AlgorithmInfo& row : algorithms()) {
      if (row.op == Op::send || row.op == Op::recv || row.op == Op::barrier || !offers(backend, row))
        continue;
      Case c{.op = row.op,
             .algorithm = std::string(row.name),
             .dtype = DType::bf16,
             .group = world_group(3),
             .seed = ++seed};
      c.shape = {3, 300, 77};
      c.dim = c.concat_dim = 1;
      c.root = 1;
      c.offset = 1;
      mistakes.note(run_case(backend, c));
    }
    return mistakes.text();
  };
  check_well(run_ranks(job_options(3), body));
}

TEST_CASE("six ranks fold in rank order") {
  auto body = [](Backend& backend) -> std::string {
    Mistakes mistakes;
    for (DType dtype : kNumeric)
      for (const char* algorithm : {"ll", "two_shot"}) {
        Case c{.algorithm = algorithm, .dtype = dtype, .shape = {1301}, .group = world_group(6)};
        mistakes.note(run_case(backend, c));
      }
    return mistakes.text();
  };
  check_well(run_ranks(job_options(6), body));
}

TEST_CASE("f32 sums are accumulated in the order of the group, 16-bit floats rounded once") {
  // By hand: (1 + 1e8) - 1e8 is 0 in f32, the 1 being swallowed; from the other end it is 1. In bf16, 256 + 1
  // + 1 is 258 exactly, and 256 if each sum were rounded.
  int world = GENERATE(3, 6);
  auto body = [](Backend& backend) -> std::string {
    const float f32_inputs[] = {1.0f, 1e8f, -1e8f, 0, 0, 0};
    const float bf16_inputs[] = {256, 1, 1, 0, 0, 0};
    auto rank = static_cast<size_t>(backend.job().rank);
    auto in = backend.allocate(Bytes(4), Place::device), out = backend.allocate(Bytes(4), Place::device);
    Case c{.algorithm = "ll", .shape = {1}, .group = world_group(backend.job().world_size)};
    Operand a{(*in)->data(), {DType::f32, View::contiguous({1})}}, b{(*out)->data(), a.type};
    auto sum_of = [&](float input) -> double {
      std::byte element[4];
      store(c.dtype, element, input);
      const auto size = static_cast<size_t>(size_of(c.dtype));
      Status s = set_bytes(backend, a, {reinterpret_cast<const char*>(element), size});
      if (s) s = run_collective(backend, c.spec(), a, b);
      const Result<std::string> bytes = s ? bytes_of(backend, b) : std::unexpected(s.error());
      return bytes ? load(c.dtype, reinterpret_cast<const std::byte*>(bytes->data())) : NAN;
    };
    if (double got = sum_of(f32_inputs[rank]); got != 0) return fmt::format("f32: {}", got);
    a.type.dtype = b.type.dtype = c.dtype = DType::bf16;
    if (double got = sum_of(bf16_inputs[rank]); got != 258) return fmt::format("bf16: {}", got);
    return "";
  };
  check_well(run_ranks(job_options(world), body));
}

TEST_CASE("overlapping groups keep their state apart") {
  const std::vector<Group> groups = {{{0, 2}}, {{1, 3}}, {{0, 1, 2, 3}}, {{0, 1}}, {{3, 2}}, {{2, 1, 0}}};
  auto body = [&groups](Backend& backend) -> std::string {
    Mistakes mistakes;
    for (int round = 0; round < 20; ++round)
      for (const Group& group : groups) {
        if (group.index_of(backend.job().rank) < 0) continue;
        const char* algorithm = round % 3 == 0 ? "ll" : round % 3 == 1 ? "one_shot" : "two_shot";
        Case c{.algorithm = algorithm,
               .shape = {100 + round},
               .group = group,
               .seed = static_cast<uint64_t>(round)};
        mistakes.note(run_case(backend, c));
        Case gather{.op = Op::all_gather, .algorithm = "ll", .shape = {4, 3}, .group = group};
        mistakes.note(run_case(backend, gather));
      }
    return mistakes.text();
  };
  check_well(run_ranks(job_options(4), body));
}

TEST_CASE("200 random sequences of collectives") {
  // One job runs all sequences: what one leaves behind, the next meets.
  const int world = 3;
  auto body = [](Backend& backend) -> std::string {
    Mistakes mistakes;
    const std::vector<Group> groups = {{{0, 1, 2}}, {{0, 1}}, {{1, 2}}, {{2, 0}}};
    uint64_t state = 2024;  // the same on all ranks
    auto pick = [&state](uint64_t below) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      return static_cast<int64_t>((state >> 33) % below);
    };
    for (int sequence = 0; sequence < 200; ++sequence) {
      for (int64_t left = 1 + pick(5); left > 0; --left) {
        const AlgorithmInfo& row = algorithms()[static_cast<size_t>(pick(algorithms().size()))];
        Case c{.op = row.op, .algorithm = std::string(row.name), .seed = static_cast<uint64_t>(pick(1000))};
        c.group = groups[static_cast<size_t>(pick(groups.size()))];
        c.dtype = kNumeric[pick(6)];
        c.reduce = kReduces[pick(5)];
        c.shape = {1 + pick(40), 1 + pick(30)};
        c.dim = static_cast<int>(pick(2));
        c.concat_dim = c.splits_twice() ? static_cast<int>(pick(2)) : c.dim;
        c.root = c.group.ranks[static_cast<size_t>(pick(static_cast<uint64_t>(c.group.size())))];
        c.offset = pick(4);
        c.end_barrier = pick(2);
        if (!is_defined(c.dtype, c.reduce)) c.reduce = Reduce::sum;
        if (c.dtype == DType::u8 && c.reduce == Reduce::prod) c.reduce = Reduce::max;
        if (c.splits()) c.shape[c.dim] *= c.group.size();
        if (row.op == Op::send || row.op == Op::recv || !offers(backend, row)) continue;
        if (c.group.index_of(backend.job().rank) < 0) continue;
        mistakes.note(run_case(backend, c));
      }
    }
    return mistakes.text();
  };
  check_well(run_ranks(job_options(world), body));
}

namespace {

CollectiveSpec message(Op op, int peer, const Group& group) {
  CollectiveSpec spec{.op = op, .algorithm = find_algorithm(op, Algorithm::ll), .group = group, .peer = peer};
  spec.origin = {"m.lua", 3};
  return spec;
}

}  // namespace

TEST_CASE("send and recv pass any size around a ring") {
  auto body = [](Backend& backend) -> std::string {
    Mistakes mistakes;
    const int rank = backend.job().rank, n = backend.job().world_size;
    const Group world = world_group(n);
    for (int64_t count : {0, 1, 1000, 50'000, 1'000'000}) {  // the last is larger than the channel
      Shape shape{count};
      auto in = backend.allocate(Bytes(count * 4), Place::device),
           out = backend.allocate(Bytes(count * 4), Place::device);
      Operand a{(*in)->data(), {DType::i32, View::contiguous(shape)}}, b{(*out)->data(), a.type};
      Case c{.op = Op::send,
             .dtype = DType::i32,
             .shape = shape,
             .group = world,
             .seed = static_cast<uint64_t>(count)};
      fill(backend, c, rank, a);
      auto send = [&] { return run_collective(backend, message(Op::send, (rank + 1) % n, world), a, a); };
      auto receive = [&] {
        return run_collective(backend, message(Op::recv, (rank + n - 1) % n, world), b, b);
      };
      const bool first = rank == 0 || count <= 50'000;  // what fits is sent before anybody receives
      Status one = first ? send() : receive();
      Status two = first ? receive() : send();
      if (!one) return one.error().to_string();
      if (!two) return two.error().to_string();
      mistakes.note(compare(backend, c, (rank + n - 1) % n, b));
    }
    return mistakes.text();
  };
  check_well(run_ranks(job_options(3), body));
}

TEST_CASE("a captured sequence replays with what its inputs then hold") {
  auto body = [](Backend& backend) -> std::string {
    Mistakes mistakes;
    Group world = world_group(backend.job().world_size);
    std::vector<Case> cases;
    for (const AlgorithmInfo& row : algorithms())
      if ((row.op == Op::all_reduce || row.op == Op::all_gather) && offers(backend, row))
        cases.push_back(
            {.op = row.op, .algorithm = std::string(row.name), .shape = {501, 2}, .group = world});
    std::vector<CaseMemory> memory;
    for (Case& c : cases) {
      c.dim = 1;
      memory.push_back(*place(backend, c));
    }
    std::vector<ProgramStep> steps;
    for (size_t i = 0; i < cases.size(); ++i)
      steps.push_back(collective_step(cases[i].spec(), memory[i].in, memory[i].out));
    auto recording = backend.prepare(steps, Marks::none);
    if (!recording) return recording.error().to_string();
    if ((*recording)->step_count() != static_cast<int>(cases.size())) return "steps are missing";
    for (uint64_t seed = 1; seed < 20; ++seed) {
      for (size_t i = 0; i < cases.size(); ++i) {
        cases[i].seed = seed;
        fill(backend, cases[i], backend.job().rank, memory[i].in);
      }
      if (Status s = backend.replay(**recording); !s) return s.error().to_string();
      for (size_t i = 0; i < cases.size(); ++i)
        mistakes.note(compare(backend, cases[i], backend.job().rank, memory[i].out));
    }
    return mistakes.text();
  };
  check_well(run_ranks(job_options(2), body));
}

TEST_CASE("a collective that cannot be is refused before anybody waits") {
  auto body = [](Backend& backend) -> std::string {
    Group world = world_group(2);
    auto memory = backend.allocate(Bytes(4096), Place::device);
    auto symmetric = backend.allocate_symmetric(Bytes(1024), world);
    auto operand = [&](Shape shape) {
      return Operand{(*memory)->data(), {DType::f32, View::contiguous(shape)}};
    };
    auto at = [](Operand operand, std::byte* data) { return operand.data = data, operand; };
    Mistakes mistakes;
    auto refused = [&](const Case& c, Operand in, Operand out, Code code, const char* words) {
      Status status = run_collective(backend, c.spec(), in, out);
      if (status) return mistakes.note(fmt::format("{}: not refused", words));
      std::string text = status.error().to_string();
      if (status.error().code != code || text.find(words) == text.npos || !text.starts_with("case.lua:1: "))
        mistakes.note(fmt::format("not \"{}\" but: {}", words, text));
    };
    Case c{.algorithm = "one_shot", .shape = {8}, .group = world};
    refused(c, operand({8}), operand({8}), Code::InvalidArgument,
            "its input must lie in symmetric memory of {0,1}");
    Operand in = at(operand({8}), (*symmetric)->data());
    refused(c, in, in, Code::InvalidArgument, "overlap");
    refused(c, at(operand({8}), in.data + 1000), operand({8}), Code::InvalidArgument,
            "beyond its symmetric memory");
    refused(c, in, operand({9}), Code::ShapeMismatch, "f32[9]");
    c.algorithm = "nccl";
    if (!backend.topology().reach(world_group(backend.job().world_size)).nccl)
      refused(c, in, operand({8}), Code::Unsupported, "NCCL");
    c.algorithm = "ll";
    const Status operands = backend.collective(c.spec(), {&in, 1}, {});
    if (operands || operands.error().code != Code::InvalidArgument) mistakes.note("no output is not refused");
    c.group = {{0, 5}};
    refused(c, in, operand({8}), Code::InvalidArgument, "{0,5}");
    c.group = world;
    c.dtype = DType::i32;
    c.reduce = Reduce::avg;
    Operand integers = operand({8});
    integers.type.dtype = DType::i32;
    refused(c, integers, integers, Code::DTypeMismatch, "avg");
    Status self =
        run_collective(backend, message(Op::send, backend.job().rank, world), operand({8}), operand({8}));
    if (self) mistakes.note("a message to oneself");
    return mistakes.text();
  };
  check_well(run_ranks(job_options(2), body));
}

TEST_CASE("after an end barrier an input may be overwritten at once") {
  auto body = [](Backend& backend) -> std::string {
    Mistakes mistakes;
    for (const AlgorithmInfo& row : algorithms()) {
      if (row.symmetric != kInput || !offers(backend, row)) continue;
      Case c{.op = row.op, .algorithm = std::string(row.name), .shape = {3 * 4000}, .group = world_group(3)};
      Result<CaseMemory> memory = place(backend, c);
      if (!memory) return memory.error().to_string();
      for (c.seed = 1; c.seed < 40; ++c.seed) {
        fill(backend, c, backend.job().rank, memory->in);
        if (Status s = run_collective(backend, c.spec(), memory->in, memory->out); !s)
          return s.error().to_string();
        const std::string ones(static_cast<size_t>(c.shape[0] * 4), '\xFF');
        if (Status s = set_bytes(backend, memory->in, ones); !s) return s.error().to_string();
        mistakes.note(compare(backend, c, backend.job().rank, memory->out));
      }
    }
    return mistakes.text();
  };
  check_well(run_ranks(job_options(3), body));
}
