// Pointwise kernels: every op of the table against the reference over dtypes, layouts and broadcasts; fusion,
// threads and instruction sets change no bit.
#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/host/simd/isa.hpp"
#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::testing;

namespace {

std::vector<Value> operands_of(Random& random, const OpInfo& row, DType dtype,
                               std::span<const Shape> shapes) {
  std::vector<Value> operands;
  for (int i = 0; i < row.min_operands; ++i)
    operands.push_back(
        random_value(random, row.op == Op::where && i == 0 ? DType::boolean : dtype, shapes[i], -6, 6));
  return operands;
}

// relu(a * b + c) in `dtype`, stored with the product; as one kernel or instruction by instruction.
FusedProgram multiply_add(DType dtype) {
  return {{dtype, dtype, dtype},
          {{Op::mul, {0, 1}, dtype},
           {Op::add, {3, 2}, dtype},
           {Op::full, {}, dtype, 0.3},
           {Op::maximum, {4, 5}, dtype},
           {Op::cast, {6}, DType::f32},
           {Op::exp, {7}, DType::f32},
           {Op::lt, {4, 5}, DType::boolean},
           {Op::where, {9, 6, 3}, dtype}},
          {3, 8, 10, 9}};
}

struct ThreadsAndIsa {
  ~ThreadsAndIsa() {
    host::set_thread_count(1);
    host::limit_isa(host::Isa::avx512);
  }
};

}  // namespace

TEST_CASE("every pointwise op agrees with the reference in every layout") {
  Random random(1);
  const Shape shapes[] = {{3, 1, 5}, {2, 5}, {3, 2, 1}};
  int checked = 0;
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& row = info(static_cast<Op>(i));
    if (!row.has(kPointwise) || row.op == Op::cast) continue;
    for (DType dtype : kDTypes) {
      if (!takes(row.dtypes, dtype)) continue;
      CHECK(disagreement(row.op, operands_of(random, row, dtype, shapes)) == "");
      ++checked;
    }
  }
  CHECK(checked > 150);
}

TEST_CASE("pointwise ops on long, odd and empty shapes") {
  Random random(2);
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{4, 0, 3}, Shape{1}, Shape{511}, Shape{1537},
                             Shape{3, 700}, Shape{700, 3}, Shape{2, 1, 3, 1, 2, 1, 2, 5}}) {
    const Value x = random_value(random, DType::f32, shape), y = random_value(random, DType::f32, shape);
    CHECK(disagreement(Op::add, {x, y}) == "");
    CHECK(disagreement(Op::mul, {x, random_value(random, DType::f32, Shape{})}) == "");
    CHECK(disagreement(Op::eq, {x, x}) == "");
    CHECK(disagreement(Op::silu, {random_value(random, DType::bf16, shape)}) == "");
    CHECK(disagreement(Op::floor_div, {random_value(random, DType::i32, shape, -9, 9),
                                       random_value(random, DType::i32, shape, -3, 3)}) == "");
  }
  const Value row = random_value(random, DType::f32, {1, 700}),
              column = random_value(random, DType::f32, {5, 1});
  CHECK(disagreement(Op::sub, {row, column}) == "");
  CHECK(disagreement(Op::sub, {column, row}) == "");
}

TEST_CASE("casts between all dtypes, special numbers included") {
  const double inf = INFINITY;
  for (DType from : kFloats)
    for (DType to : kDTypes)
      CHECK(disagreement(
                Op::cast,
                {floats({12}, {0, -0.0, 1.5, -2.5, 255.5, 300, -1, 65504, inf, -inf, NAN, 1e-7}, from)},
                {{"dtype", to}}) == "");
  for (DType from : {DType::i32, DType::i64})
    for (DType to : kDTypes)
      CHECK(disagreement(Op::cast, {integers(from, {7}, {0, 1, -1, 255, 256, 16777217, -2147483648})},
                         {{"dtype", to}}) == "");
  for (DType to : kDTypes) {
    CHECK(disagreement(Op::cast, {integers(DType::u8, {3}, {0, 1, 255})}, {{"dtype", to}}) == "");
    CHECK(disagreement(Op::cast, {integers(DType::boolean, {2}, {0, 1})}, {{"dtype", to}}) == "");
  }
}

TEST_CASE("special numbers by hand") {
  const double inf = INFINITY;
  auto result =
      run_op(Op::maximum, std::vector{floats({4}, {1, NAN, -inf, 2}), floats({4}, {NAN, 1, inf, 3})}, {});
  const Value value = read(*result);
  CHECK(std::isnan(value.floats()[0]));
  CHECK(std::isnan(value.floats()[1]));
  CHECK(value.floats()[2] == inf);
  CHECK(value.floats()[3] == 3);
  const int64_t least = INT64_MIN;
  auto divided = run_op(
      Op::floor_div,
      std::vector{integers(DType::i64, {4}, {7, -7, least, 5}), integers(DType::i64, {4}, {2, 2, -1, 0})},
      {});
  CHECK(read(*divided).integers() == std::vector<int64_t>{3, -4, least, 0});
}

TEST_CASE("fused and unfused programs have the same bits, on any threads and instruction set") {
  ThreadsAndIsa restore;
  for (DType dtype : kFloats) {
    Random random(3);
    const Shape shape{300, 701};
    const FusedProgram program = multiply_add(dtype);
    std::vector<Window> inputs = {place(random_value(random, dtype, shape)),
                                  place(random_value(random, dtype, {701})),
                                  place(random_value(random, dtype, {300, 1}), Style::gapped)};
    // Unfused: one kernel per instruction.
    std::vector<Window> registers = inputs;
    for (const FusedInstruction& instruction : program.instructions) {
      const bool is_immediate = instruction.op == Op::full;
      std::vector<Window> operands;
      KernelSpec spec{};
      FusedInstruction alone = instruction;
      for (size_t i = 0; i < instruction.operands.size(); ++i) {
        operands.push_back(registers[instruction.operands[i]]);
        spec.fused.operand_dtypes.push_back(operands.back().dtype);
        alone.operands[i] = static_cast<int>(i);
      }
      spec.fused.instructions = {alone};
      spec.fused.results = {static_cast<int>(operands.size())};
      registers.push_back(blank({instruction.dtype, is_immediate ? Shape{} : shape}));
      auto done = launch(spec, operands, std::span(&registers.back(), 1));
      REQUIRE((done ? "" : done.error().to_string()) == "");
    }
    for (int threads : {1, 2, 5})
      for (host::Isa isa : {host::Isa::baseline, host::Isa::avx2, host::Isa::avx512}) {
        host::set_thread_count(threads);
        host::limit_isa(isa);
        // Another layout of an output is another kernel, so that the cache does not hide the instruction set.
        const Style style = kStyles[static_cast<int>(isa)];
        std::vector<Window> outputs;
        for (int reg : program.results) outputs.push_back(blank({registers[reg].dtype, shape}, style));
        auto done = launch({.fused = program}, inputs, outputs);
        REQUIRE((done ? "" : done.error().to_string()) == "");
        for (size_t i = 0; i < outputs.size(); ++i) {
          CHECK((bits(outputs[i]) == bits(registers[program.results[i]])));
          CHECK(is_clean_outside(outputs[i]));
        }
      }
  }
}

TEST_CASE("an output may have the memory of an operand of the same layout") {
  constexpr DType f32 = DType::f32;
  Random random(4);
  const Value x = random_value(random, f32, {40, 65}), y = random_value(random, f32, {40, 65});
  const FusedProgram programs[] = {
      {{f32, f32}, {{Op::mul, {0, 1}, f32}, {Op::add, {2, 0}, f32}}, {3, 2}},
      // The last value may take a dead one's place, but not its memory: x is still to be read.
      {{f32, f32}, {{Op::mul, {0, 1}, f32}, {Op::exp, {2}, f32}, {Op::add, {3, 0}, f32}}, {4, 1}},
      // An operand is a result too.
      {{f32, f32}, {{Op::mul, {0, 1}, f32}}, {2, 0}},
  };
  for (const FusedProgram& program : programs) {
    std::vector<Window> inputs = {place(x), place(y)}, apart = {blank(x.type), blank(x.type)};
    REQUIRE(launch({.fused = program}, inputs, apart));
    const std::vector<Window> same = inputs;
    REQUIRE(launch({.fused = program}, inputs, same));
    CHECK((bits(same[0]) == bits(apart[0])));
    CHECK((bits(same[1]) == bits(apart[1])));
  }
}

TEST_CASE("inconsistent programs are refused") {
  const OperandType f32{DType::f32, View::contiguous({4})}, i32{DType::i32, View::contiguous({4})},
      wide{DType::f32, View::contiguous({2, 4})};
  const FusedProgram good{{DType::f32}, {{Op::exp, {0}, DType::f32}}, {1}};
  auto code = [](const FusedProgram& program, std::vector<OperandType> in, std::vector<OperandType> out) {
    auto kernel = host::compile_kernel({.fused = program}, in, out);
    return kernel ? "compiled" : std::string(to_string(kernel.error().code));
  };
  auto changed = [&](auto change) {
    FusedProgram program = good;
    change(program);
    return program;
  };
  CHECK(code(good, {f32}, {f32}) == "compiled");
  CHECK(code(good, {f32}, {wide}) == "compiled");
  CHECK(code(good, {wide}, {f32}) == "ShapeMismatch");
  CHECK(code(good, {i32}, {f32}) == "DTypeMismatch");
  CHECK(code(good, {f32}, {i32}) == "DTypeMismatch");
  CHECK(code(good, {f32, f32}, {f32}) == "InvalidArgument");
  CHECK(code(good, {f32}, {}) == "InvalidArgument");
  CHECK(code(changed([](FusedProgram& p) { p.instructions[0].operands = {1}; }), {f32}, {f32}) ==
        "InvalidArgument");
  CHECK(code(changed([](FusedProgram& p) { p.instructions[0].operands = {0, 0}; }), {f32}, {f32}) ==
        "InvalidArgument");
  CHECK(code(changed([](FusedProgram& p) { p.instructions[0].op = Op::sum; }), {f32}, {f32}) ==
        "InvalidArgument");
  CHECK(code(changed([](FusedProgram& p) { p.instructions[0].dtype = DType::bf16; }), {f32}, {f32}) ==
        "DTypeMismatch");
  CHECK(code(changed([](FusedProgram& p) { p.results = {7}; }), {f32}, {f32}) == "InvalidArgument");
}

TEST_CASE("sines of huge angles agree with the reference, also beside others") {
  Value x = zeros({DType::f32, {700}});
  auto& angles = std::get<Value::Floats>(x.elements);
  for (size_t i = 0; i < angles.size(); ++i) angles[i] = 0.25 * static_cast<double>(i);
  angles[300] = 0x1p40;
  angles[301] = -0x1.8p100;
  CHECK(disagreement(Op::sin, {x}) == "");
  CHECK(disagreement(Op::cos, {x}) == "");
}
