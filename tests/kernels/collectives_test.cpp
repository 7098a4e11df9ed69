// Every algorithm against sums in double precision: dtypes, reductions, odd sizes, offsets, dimensions and
// groups.
#include <catch2/catch.hpp>

#include "tests/support/collective_case.hpp"
#include "tests/support/ranks.hpp"

using namespace peri;
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
    for (DType dtype : kNumeric)
      for (Reduce reduce : kReduces)
        for (int64_t count : {0, 1, 5, 67, 1023}) {
          if (!is_defined(dtype, reduce)) continue;
          std::string first;
          for (const AlgorithmInfo& row : algorithms()) {
            if (row.op != Op::all_reduce) continue;
            Case c{.algorithm = std::string(row.name),
                   .dtype = dtype,
                   .reduce = reduce,
                   .shape = {count},
                   .group = world};
            c.offset = count % 3;
            c.in_place = row.clobbers_input && count % 2;
            Result<CaseMemory> memory = place(backend, c);
            if (!memory) return memory.error().to_string();
            fill(c, backend.job().rank, memory->in);
            if (Status s = backend.collective(c.spec(), memory->in, memory->out); !s)
              return s.error().to_string();
            if (std::string wrong = compare(c, backend.job().rank, memory->out); !wrong.empty()) return wrong;
            std::string bytes = bytes_of(memory->out);
            if (first.empty()) first = bytes;
            if (bytes != first) return c.name() + ": other bits than by ll";
          }
          auto all = backend.exchange(world, first, "compare");
          if (!all) return all.error().to_string();
          for (const std::string& theirs : *all)
            if (theirs != first) return "other bits on another rank";
        }
    return "";
  };
  CHECK(failures(run_ranks(job_options(world), body)) == "");
}
