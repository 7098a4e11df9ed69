// What a collective with an epilogue takes and makes, worked out by hand, and what is refused.
#include <catch2/catch.hpp>

#include "core/ops/collective.hpp"
#include "tests/core/types.hpp"

using namespace peri;

namespace {

constexpr DType f32_ = DType::f32, bf16_ = DType::bf16;

CollectiveSpec reduction(Epilogue epilogue, Op op = Op::all_reduce) {
  return {.op = op,
          .algorithm = find_algorithm(op, Algorithm::ll),
          .group = {{0, 1}},
          .epilogue = std::move(epilogue),
          .origin = {}};
}

// h = result + residual.
FusedProgram add_residual(DType dtype = f32_) {
  return {{dtype, dtype}, {{Op::add, {0, 1}, dtype}}, {2}};
}

std::string outputs_of(const CollectiveSpec& spec, const std::vector<TensorType>& operands) {
  const Result<std::vector<TensorType>> made = infer_outputs(spec, operands);
  if (!made) return made.error().message;
  std::string text;
  for (const TensorType& type : *made) text += (text.empty() ? "" : " ") + type.to_string();
  return text;
}

}  // namespace

TEST_CASE("an epilogue's inputs and outputs follow the collective's") {
  const TensorType x = f32({4, 8}), scale = f32({8});
  CHECK(outputs_of(reduction({}), {x}) == "f32[4,8]");
  CHECK(outputs_of(reduction({add_residual(), {}}), {x, x}) == "f32[4,8]");
  CHECK(outputs_of(reduction({{}, 1e-6}), {x, scale}) == "f32[4,8] f32[4,8]");
  CHECK(outputs_of(reduction({add_residual(), 1e-6}), {x, x, scale}) == "f32[4,8] f32[4,8]");

  // Of what the collective makes, not of its operand.
  CollectiveSpec gather = reduction({add_residual(), 1e-6}, Op::all_gather);
  gather.concat_dim = 1;
  CHECK(outputs_of(gather, {x, f32({4, 16}), f32({16})}) == "f32[4,16] f32[4,16]");

  // h = x + r; c = bf16(h): two results of two dtypes, and a norm of the first.
  FusedProgram two = add_residual();
  two.instructions.push_back({Op::cast, {2}, bf16_});
  two.results = {2, 3};
  CHECK(outputs_of(reduction({two, 1e-6}), {x, x, scale}) == "f32[4,8] bf16[4,8] f32[4,8]");

  const CollectiveSpec both = reduction({two, 1e-6});
  CHECK(both.input_count() == 3);
  CHECK(both.output_count() == 3);
  CHECK(both.epilogue.to_string() ==
        "{(f32, f32) r2 = add(r0, r1) : f32; r3 = cast(r2) : bf16 -> r2, r3} rms_norm {eps = 1e-06}");
  CHECK(reduction({}).output_count() == 1);
  CHECK(reduction({}, Op::send).output_count() == 0);
  CHECK(outputs_of(reduction({}, Op::send), {x}).empty());
  CHECK(outputs_of(reduction({}, Op::recv), {x}) == "f32[4,8]");
}

TEST_CASE("an epilogue that cannot be is refused in clear words") {
  const TensorType x = f32({4, 8}), scale = f32({8});
  CHECK(outputs_of(reduction({{}, 1e-6}), {x}) == "it takes 2 inputs, not 1");
  CHECK(outputs_of(reduction({add_residual(), 1e-6}), {x, x}) == "it takes 3 inputs, not 2");
  CHECK(outputs_of(reduction({{}, 1e-6}, Op::send), {x, scale}) == "it has no result for an epilogue");
  CHECK(outputs_of(reduction({{}, 1e-6}), {x, f32({4})}).starts_with("its epilogue: "));
  CHECK(outputs_of(reduction({{}, 1e-6}), {i64({4, 8}), i64({8})}).starts_with("its epilogue: "));
  CHECK(outputs_of(reduction({add_residual(), {}}), {x, f32({8})}) ==
        "its epilogue: register 1 is f32[4,8], and input 2 is f32[8]");
  CHECK(outputs_of(reduction({add_residual(bf16_), {}}), {x, type(bf16_, {4, 8})}) ==
        "its epilogue: register 0 is bf16[4,8], and the collective's result is f32[4,8]");

  FusedProgram program = add_residual();
  program.instructions = {{Op::cast, {0}, bf16_}};
  CHECK(outputs_of(reduction({program, {}}), {x, x}) ==
        "its epilogue: its first result is bf16, and overwrites the collective's, which is f32");
  program = add_residual();
  program.instructions.push_back({Op::mul, {0, 2}, f32_});
  program.results = {2, 3};
  CHECK(
      outputs_of(reduction({program, {}}), {x, x}) ==
      "its epilogue: an instruction reads the collective's result after the first result has overwritten it");
  program.results = {3, 2};
  CHECK(outputs_of(reduction({program, {}}), {x, x}) == "f32[4,8] f32[4,8]");
  program.results = {0};
  CHECK(outputs_of(reduction({program, {}}), {x, x}) ==
        "its epilogue: its first result is not made by an instruction");
  program.results = {};
  CHECK(outputs_of(reduction({program, {}}), {x, x}) == "its epilogue: its program has no result");
  program.results = {4};
  CHECK(outputs_of(reduction({program, {}}), {x, x}) == "its epilogue: no register 4");
  program = add_residual();
  program.instructions[0] = {Op::softmax, {0}, f32_};
  CHECK(outputs_of(reduction({program, {}}), {x, x}) == "its epilogue: softmax is not pointwise");
  program.instructions[0] = {Op::add, {0, 5}, f32_};
  CHECK(outputs_of(reduction({program, {}}), {x, x}) == "its epilogue: no register 5");
  program.instructions[0] = {Op::add, {0, 1}, bf16_};
  CHECK(outputs_of(reduction({program, {}}), {x, x}) == "its epilogue: add makes f32, not bf16");
  CHECK(outputs_of(reduction({{{}, {{Op::full, {}, f32_, 1}}, {0}}, {}}), {x}) ==
        "its epilogue: its program has no register for the collective's result");
}
