// Shape and dtype rules: for every op one result worked out by hand, and what each refuses.
#include <catch2/catch.hpp>

#include <limits>
#include <set>

#include "tests/core/types.hpp"

using namespace peri;

namespace {

constexpr DType bf16 = DType::bf16, i32 = DType::i32, u8 = DType::u8, boolean = DType::boolean;

AttributeValue n(int64_t value) {
  return value;
}
AttributeValue s(const char* value) {
  return std::string(value);
}
const Group kTwo = {{0, 1}};

struct Case {
  Op op;
  std::vector<TensorType> operands;
  Attributes attributes;
  std::string expected;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {Op::input, {}, {{"index", n(0)}, {"dtype", bf16}, {"shape", Ints{2, 3}}}, "bf16[2,3]"},
      {Op::constant,
       {},
       {{"index", n(0)}, {"dtype", u8}, {"shape", Ints{}}, {"place", Place::host}},
       "u8[] on host"},
      {Op::full, {}, {{"shape", Ints{2, 0}}, {"value", 1.0}}, "f32[2,0]"},
      {Op::arange, {}, {{"count", n(7)}}, "i64[7]"},
      {Op::rand, {}, {{"shape", Ints{3}}, {"dtype", bf16}}, "bf16[3]"},
      {Op::randn, {}, {{"shape", Ints{3}}}, "f32[3]"},
      {Op::cast, {f32({2})}, {{"dtype", i32}}, "i32[2]"},
      {Op::isnan, {f32({2})}, {}, "bool[2]"},
      {Op::logical_not, {i64({2})}, {}, "bool[2]"},
      {Op::lt, {i64({2, 1}), i64({3})}, {}, "bool[2,3]"},
      {Op::where, {type(boolean, {2, 1}), type(bf16, {3}), type(bf16, {})}, {}, "bf16[2,3]"},
      {Op::sum, {f32({2, 3, 4})}, {{"dims", Ints{0, -1}}}, "f32[3]"},
      {Op::sum, {type(boolean, {2, 3})}, {{"keepdim", true}}, "i64[1,1]"},
      {Op::sum, {f32({0})}, {}, "f32[]"},
      {Op::mean, {type(bf16, {2, 3})}, {{"dims", Ints{1}}, {"keepdim", true}}, "bf16[2,1]"},
      {Op::prod, {type(i32, {2, 3})}, {}, "i64[]"},
      {Op::max, {type(u8, {2, 3})}, {{"dims", Ints{1}}}, "u8[2]"},
      {Op::min, {f32({0, 3})}, {{"dims", Ints{1}}}, "f32[0]"},
      {Op::any, {type(bf16, {2, 3})}, {{"dims", Ints{-1}}}, "bool[2]"},
      {Op::all, {f32({0, 3})}, {{"keepdim", true}}, "bool[1,1]"},
      {Op::norm, {type(bf16, {2, 3})}, {{"dims", Ints{1}}}, "bf16[2]"},
      {Op::norm, {f32({0, 3})}, {{"p", 1.0}}, "f32[]"},
      {Op::cumsum, {type(u8, {2, 3})}, {{"dim", n(-1)}}, "i64[2,3]"},
      {Op::cumprod, {type(bf16, {0, 3})}, {{"dim", n(0)}}, "bf16[0,3]"},
      {Op::argmax, {f32({2, 3})}, {{"dim", n(-1)}}, "i64[2]"},
      {Op::argmin, {f32({2, 3})}, {{"dim", n(0)}, {"keepdim", true}}, "i64[1,3]"},
      {Op::sort, {type(u8, {2, 3})}, {{"dim", n(0)}}, "u8[2,3]"},
      {Op::topk, {type(bf16, {2, 3})}, {{"k", n(2)}}, "bf16[2,2]"},
      {Op::result,
       {f32({4, 3})},
       {{"index", n(1)}, {"dtype", DType::i64}, {"shape", Ints{4, 2}}},
       "i64[4,2]"},
      {Op::softmax, {f32({2, 0})}, {}, "f32[2,0]"},
      {Op::rms_norm, {f32({2, 3}), f32({3})}, {}, "f32[2,3]"},
      {Op::layer_norm, {f32({2, 3}), f32({3}), f32({3})}, {}, "f32[2,3]"},
      {Op::matmul, {f32({5, 1, 2, 3}), f32({4, 3, 6})}, {}, "f32[5,4,2,6]"},
      {Op::matmul, {f32({2, 0}), f32({0, 6})}, {}, "f32[2,6]"},
      {Op::matmul, {f32({3}), f32({3})}, {}, "f32[]"},
      {Op::matmul, {f32({3}), f32({4, 3, 6})}, {}, "f32[4,6]"},
      {Op::matmul, {f32({5, 1, 2, 3}), f32({3})}, {}, "f32[5,1,2]"},
      {Op::conv1d, {f32({2, 3, 9}), f32({4, 3, 2})}, {}, "f32[2,4,8]"},
      {Op::conv1d,
       {f32({2, 6, 9}), f32({4, 3, 3}), f32({4})},
       {{"stride", Ints{2}}, {"padding", Ints{1}}, {"dilation", Ints{2}}, {"groups", n(2)}},
       "f32[2,4,4]"},
      {Op::conv2d, {f32({0, 3, 9, 7}), f32({4, 3, 3, 2})}, {{"stride", Ints{1, 2}}}, "f32[0,4,7,3]"},
      {Op::conv2d, {f32({1, 1, 4, 4}), f32({1, 1, 2, 2})}, {{"padding", Ints{0, 1}}}, "f32[1,1,3,5]"},
      {Op::linear, {f32({5, 2, 3}), f32({7, 3}), f32({7})}, {}, "f32[5,2,7]"},
      {Op::embedding, {type(i32, {2, 5}), type(bf16, {100, 8})}, {}, "bf16[2,5,8]"},
      {Op::index_select, {f32({2, 5}), i64({9})}, {{"dim", n(1)}}, "f32[2,9]"},
      {Op::index_copy, {f32({2, 5}), i64({3}), f32({2, 3})}, {{"dim", n(1)}}, "f32[2,5]"},
      {Op::gather, {type(u8, {2, 5}), type(i32, {1, 9})}, {{"dim", n(-1)}}, "u8[1,9]"},
      {Op::scatter, {f32({2, 5}), i64({2, 9}), f32({3, 9})}, {{"dim", n(1)}}, "f32[2,5]"},
      {Op::scatter_add, {type(u8, {2, 5}), i64({7, 5}), type(u8, {7, 5})}, {{"dim", n(0)}}, "u8[2,5]"},
      {Op::one_hot, {type(u8, {2, 3})}, {{"classes", n(7)}}, "i64[2,3,7]"},
      {Op::one_hot, {i64({})}, {{"classes", n(0)}, {"dtype", boolean}}, "bool[0]"},
      {Op::masked_fill, {type(u8, {2, 3}), type(boolean, {3})}, {{"value", 255.0}}, "u8[2,3]"},
      {Op::reshape, {f32({2, 6})}, {{"shape", Ints{3, -1}}}, "f32[3,4]"},
      {Op::reshape, {f32({0, 6})}, {{"shape", Ints{-1, 3}}}, "f32[0,3]"},
      {Op::reshape, {f32({1})}, {{"shape", Ints{}}}, "f32[]"},
      {Op::permute, {f32({2, 3, 4})}, {{"dims", Ints{2, 0, 1}}}, "f32[4,2,3]"},
      {Op::slice,
       {f32({10})},
       {{"dim", n(0)}, {"start", n(1)}, {"stop", n(8)}, {"step", n(3)}},
       "f32[3]"},  // 1, 4, 7
      {Op::slice, {f32({10})}, {{"dim", n(0)}, {"start", n(10)}, {"stop", n(10)}}, "f32[0]"},
      {Op::expand, {f32({3, 1})}, {{"shape", Ints{2, -1, 4}}}, "f32[2,3,4]"},
      {Op::expand, {f32({1})}, {{"shape", Ints{0}}}, "f32[0]"},
      {Op::unfold, {f32({9, 2})}, {{"dim", n(0)}, {"size", n(3)}, {"step", n(2)}}, "f32[4,2,3]"},
      {Op::unfold, {f32({0})}, {{"dim", n(0)}, {"size", n(0)}}, "f32[1,0]"},
      {Op::tile, {f32({2, 3})}, {{"repeats", Ints{2}}}, "f32[2,6]"},
      {Op::tile, {f32({2, 3})}, {{"repeats", Ints{4, 1, 0}}}, "f32[4,2,0]"},
      {Op::tile, {f32({1, 3})}, {{"repeats", Ints{2, 1}}}, "f32[2,3]"},
      {Op::tile, {f32({})}, {{"repeats", Ints{}}}, "f32[]"},
      {Op::pad, {f32({2, 3})}, {{"padding", Ints{1, 2, 0, 3}}}, "f32[5,6]"},
      {Op::pad, {f32({2, 3})}, {{"padding", Ints{}}, {"value", 1.0}}, "f32[2,3]"},
      {Op::shard, {f32({4, 6})}, {{"dim", n(1)}, {"group", kTwo}}, "f32[4,3]"},
      {Op::window_copy, {f32({4, 6}), f32({2, 6}), f32({2, 6})}, {}, "f32[4,6]"},
      {Op::transpose, {f32({2, 3, 4})}, {}, "f32[2,4,3]"},
      {Op::contiguous, {type(u8, {3}, Place::host)}, {}, "u8[3] on host"},
      {Op::cat, {f32({2, 3}), f32({2, 0}), f32({2, 4})}, {{"dim", n(1)}}, "f32[2,7]"},
      {Op::stack, {f32({2, 3}), f32({2, 3})}, {{"dim", n(1)}}, "f32[2,2,3]"},
      {Op::copy_to, {f32({3})}, {{"place", Place::host}}, "f32[3] on host"},
      {Op::rope, {f32({5, 2, 8}), i64({5})}, {}, "f32[5,2,8]"},
      {Op::attention, {f32({3, 4, 8}), f32({7, 2, 8}), f32({7, 2, 8}), i64({3})}, {}, "f32[3,4,8]"},
      {Op::all_reduce, {f32({3})}, {{"group", kTwo}, {"algorithm", s("one_shot")}}, "f32[3]"},
      {Op::all_gather, {f32({3, 4})}, {{"dim", n(1)}, {"group", kTwo}}, "f32[3,8]"},
      {Op::reduce_scatter, {f32({4, 3})}, {{"group", kTwo}}, "f32[2,3]"},
      {Op::all_to_all,
       {f32({4, 3})},
       {{"split_dim", n(0)}, {"concat_dim", n(1)}, {"group", kTwo}},
       "f32[2,6]"},
      {Op::broadcast, {f32({3})}, {{"root", n(1)}, {"group", kTwo}}, "f32[3]"},
      {Op::reduce, {f32({3})}, {{"root", n(1)}, {"group", kTwo}}, "f32[3]"},
      {Op::send, {f32({3})}, {{"peer", n(1)}, {"group", kTwo}}, "f32[3]"},
      {Op::recv, {f32({3})}, {{"peer", n(0)}, {"group", kTwo}}, "f32[3]"},
      {Op::barrier, {f32({3})}, {{"group", kTwo}}, "f32[3]"},
  };
  return all;
}

}  // namespace

TEST_CASE("every shape rule infers the types worked out by hand") {
  std::set<std::string_view> covered = {"pointwise"};
  for (const Case& c : cases()) {
    INFO(to_string(c.op));
    Result<TensorType> result = infer_call(c.op, c.operands, c.attributes);
    CHECK((result ? result->to_string() : result.error().message) == c.expected);
    covered.insert(info(c.op).rule);
  }
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& row = info(static_cast<Op>(i));
    INFO(row.rule << ", the rule of " << row.name << ", has no case");
    CHECK(covered.contains(row.rule));
  }
}

TEST_CASE("every pointwise op takes each dtype that it declares, and no other") {
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& row = info(static_cast<Op>(i));
    if (!row.has(kPointwise)) continue;
    for (int d = 0; d < kDTypeCount; ++d) {
      const DType t = static_cast<DType>(d);
      std::vector<TensorType> operands(static_cast<size_t>(row.min_operands), type(t, {2, 3}));
      if (row.op == Op::where) operands[0].dtype = boolean;
      Attributes attributes;
      if (row.op == Op::cast) attributes.set("dtype", DType::f16);
      const bool accepted = row.dtypes == DTypes::any || (row.dtypes == DTypes::floats && is_float(t)) ||
                            (row.dtypes == DTypes::integers && is_integer(t)) ||
                            (row.dtypes == DTypes::numeric && t != boolean);
      INFO(row.name << " of " << to_string(t));
      Result<TensorType> result = infer_call(row.op, operands, attributes);
      REQUIRE(result.has_value() == accepted);
      if (accepted) CHECK(result->shape == Shape{2, 3});
      if (!accepted) CHECK(result.error().code == Code::DTypeMismatch);
    }
  }
}

TEST_CASE("mistakes are named") {
  struct Mistake {
    Op op;
    std::vector<TensorType> operands;
    Attributes attributes;
    Code code;
    std::string message;
  };
  const int64_t huge = std::numeric_limits<int64_t>::max();
  const Attributes two = {{"group", kTwo}};
  const Mistake mistakes[] = {
      {Op::add, {f32({2})}, {}, Code::InvalidArgument, "takes 2 operands, got 1"},
      {Op::cat, {}, {{"dim", n(0)}}, Code::InvalidArgument, "takes at least 1 operand, got 0"},
      {Op::linear, {f32({2})}, {}, Code::InvalidArgument, "takes 2 to 3 operands, got 1"},
      {Op::add, {f32({2}), type(bf16, {2})}, {}, Code::DTypeMismatch, "dtypes differ: f32 (a) and bf16 (b)"},
      {Op::exp, {i64({2})}, {}, Code::DTypeMismatch, "takes floats (f32, f16, bf16), and a is i64"},
      {Op::where,
       {f32({2}), f32({2}), f32({2})},
       {},
       Code::DTypeMismatch,
       "the condition a must be bool, not f32"},
      {Op::add,
       {f32({2}), type(DType::f32, {2}, Place::host)},
       {},
       Code::InvalidArgument,
       "b is in host memory, and this runs on the device"},
      {Op::rand,
       {},
       {{"shape", Ints{2}}, {"dtype", i32}},
       Code::DTypeMismatch,
       "makes floats (f32, f16, bf16), not i32"},
      {Op::full,
       {},
       {{"shape", Ints{2, -3}}, {"value", 0.0}},
       Code::InvalidArgument,
       "dim 2 of shape [2,-3] is negative"},
      {Op::full,
       {},
       {{"shape", Ints(9, 1)}, {"value", 0.0}},
       Code::Unsupported,
       "a shape of 9 dimensions; at most 8 are supported"},
      {Op::full,
       {},
       {{"shape", Ints{huge, huge}}, {"value", 0.0}},
       Code::InvalidArgument,
       "shape [9223372036854775807,9223372036854775807] has more elements than memory can hold"},
      {Op::arange, {}, {{"count", n(-1)}}, Code::InvalidArgument, "count is -1; it cannot be negative"},
      {Op::input,
       {},
       {{"index", n(-1)}, {"dtype", bf16}, {"shape", Ints{}}},
       Code::InvalidArgument,
       "the index is negative"},
      {Op::sum, {f32({2, 3})}, {{"dims", Ints{1, -1}}}, Code::InvalidArgument, "dim 2 is given twice"},
      {Op::max, {f32({2, 0})}, {}, Code::ShapeMismatch, "dim 2 of a is empty, and nothing has no max"},
      {Op::argmin,
       {f32({0})},
       {{"dim", n(0)}},
       Code::ShapeMismatch,
       "dim 1 of a is empty, and nothing has no argmin"},
      {Op::rms_norm,
       {f32({2, 3}), f32({2})},
       {},
       Code::ShapeMismatch,
       "sizes differ: 3 (dim 2 of a) and 2 (dim 1 of b)"},
      {Op::matmul,
       {f32({64, 512}), f32({1024, 8})},
       {},
       Code::ShapeMismatch,
       "inner dimensions differ: 512 (dim 2 of a) and 1024 (dim 1 of b)"},
      {Op::matmul,
       {f32({3}), f32({})},
       {},
       Code::ShapeMismatch,
       "b has no dimension; a vector or a matrix is needed"},
      {Op::matmul,
       {f32({2, 3}), f32({4})},
       {},
       Code::ShapeMismatch,
       "inner dimensions differ: 3 (dim 2 of a) and 4 (dim 1 of b)"},
      {Op::norm, {f32({3})}, {{"p", 3.0}}, Code::InvalidArgument, "p is 3; it may be 1, 2 or math.huge"},
      {Op::norm,
       {f32({0})},
       {{"p", std::numeric_limits<double>::infinity()}},
       Code::ShapeMismatch,
       "dim 1 of a is empty, and nothing has no norm"},
      {Op::gather,
       {f32({2, 3}), i64({3, 3})},
       {{"dim", n(1)}},
       Code::ShapeMismatch,
       "dim 1 of b is 3, and that of a only 2"},
      {Op::gather,
       {f32({2, 3}), i64({3})},
       {{"dim", n(1)}},
       Code::ShapeMismatch,
       "b must have 2 dimensions, not 1"},
      {Op::gather,
       {f32({2}), f32({2})},
       {{"dim", n(0)}},
       Code::DTypeMismatch,
       "b holds indices and must be i32 or i64, not f32"},
      {Op::scatter_add,
       {f32({2, 3}), i64({2, 4}), f32({2, 3})},
       {{"dim", n(1)}},
       Code::ShapeMismatch,
       "dim 2 of b is 4, and that of c only 3"},
      {Op::scatter_add,
       {f32({2}), i64({2}), i64({2})},
       {{"dim", n(0)}},
       Code::DTypeMismatch,
       "dtypes differ: f32 (a) and i64 (c)"},
      {Op::scatter_add,
       {type(boolean, {2}), i64({2}), type(boolean, {2})},
       {{"dim", n(0)}},
       Code::DTypeMismatch,
       "adds numbers, and a is bool"},
      {Op::one_hot,
       {i64({2})},
       {{"classes", n(-1)}},
       Code::InvalidArgument,
       "classes is -1; it cannot be negative"},
      {Op::masked_fill,
       {f32({3}), type(boolean, {2, 3})},
       {{"value", 0.0}},
       Code::ShapeMismatch,
       "the mask b, of shape [2,3], does not broadcast to a's [3]"},
      {Op::masked_fill,
       {f32({3}), f32({3})},
       {{"value", 0.0}},
       Code::DTypeMismatch,
       "the mask b must be bool, not f32"},
      {Op::masked_fill,
       {type(u8, {3}), type(boolean, {3})},
       {{"value", 256.0}},
       Code::InvalidArgument,
       "u8 cannot hold 256"},
      {Op::unfold,
       {f32({2, 4})},
       {{"dim", n(1)}, {"size", n(5)}},
       Code::ShapeMismatch,
       "windows of 5 do not fit into the 4 of dim 2"},
      {Op::tile,
       {f32({2})},
       {{"repeats", Ints{2, -1}}},
       Code::InvalidArgument,
       "repeats has -1; it cannot be negative"},
      {Op::pad,
       {f32({2})},
       {{"padding", Ints{1, 1, 1}}},
       Code::InvalidArgument,
       "padding has 3 numbers; a has 1 dimension, and each takes two"},
      {Op::conv1d,
       {f32({2, 4, 9}), f32({4, 3, 2})},
       {},
       Code::ShapeMismatch,
       "dim 2 of b is 3, expected 4: the 4 channels of a (dim 2) over 1 group"},
      {Op::conv1d,
       {f32({2, 3, 4}), f32({4, 3, 3})},
       {{"dilation", Ints{3}}, {"padding", Ints{1}}},
       Code::ShapeMismatch,
       "the kernel covers 7 positions, and dim 3 of a has 6 with padding"},
      {Op::conv1d,
       {f32({2, 3, 4}), f32({4, 3, 3})},
       {{"stride", Ints{1, 2}}},
       Code::InvalidArgument,
       "stride has 2 numbers; there is 1 spatial dimension"},
      {Op::conv2d,
       {f32({2, 3, 4}), f32({4, 3, 3, 3})},
       {},
       Code::ShapeMismatch,
       "a must have 4 dimensions, not 3"},
      {Op::matmul,
       {f32({2, 3, 4}), f32({5, 4, 3})},
       {},
       Code::ShapeMismatch,
       "shapes do not broadcast: 2 (dim 1 of a) and 5 (dim 1 of b)"},
      {Op::linear,
       {f32({2, 3}), f32({7, 4})},
       {},
       Code::ShapeMismatch,
       "inner dimensions differ: 3 (dim 2 of a) and 4 (dim 2 of b)"},
      {Op::linear,
       {f32({2, 3}), f32({7, 3}), f32({3})},
       {},
       Code::ShapeMismatch,
       "sizes differ: 7 (dim 1 of b) and 3 (dim 1 of c)"},
      {Op::embedding,
       {f32({2}), f32({9, 8})},
       {},
       Code::DTypeMismatch,
       "a holds indices and must be i32 or i64, not f32"},
      {Op::embedding,
       {i64(Shape{1, 1, 1, 1, 1, 1, 1, 1}), f32({9, 8})},
       {},
       Code::Unsupported,
       "a shape of 9 dimensions; at most 8 are supported"},
      {Op::index_copy,
       {f32({2, 5}), i64({3}), f32({2, 4})},
       {{"dim", n(1)}},
       Code::ShapeMismatch,
       "sizes differ: 3 (dim 1 of b) and 4 (dim 2 of c)"},
      {Op::index_copy,
       {f32({2}), i64({2}), i64({2})},
       {{"dim", n(0)}},
       Code::DTypeMismatch,
       "dtypes differ: f32 (a) and i64 (c)"},
      {Op::reshape,
       {f32({2, 3})},
       {{"shape", Ints{4}}},
       Code::ShapeMismatch,
       "shape [4] has 4 elements, and a has 6"},
      {Op::reshape,
       {f32({2, 3})},
       {{"shape", Ints{4, -1}}},
       Code::ShapeMismatch,
       "no size for the -1 in [4,-1] gives the 6 elements of a"},
      {Op::reshape,
       {f32({0})},
       {{"shape", Ints{0, -1}}},
       Code::ShapeMismatch,
       "no size for the -1 in [0,-1] gives the 0 elements of a"},
      {Op::reshape,
       {f32({2})},
       {{"shape", Ints{-1, -1}}},
       Code::InvalidArgument,
       "shape [-1,-1] has more than one -1"},
      {Op::permute, {f32({2, 3})}, {{"dims", Ints{0}}}, Code::InvalidArgument, "1 dims given, and a has 2"},
      {Op::permute, {f32({2, 3})}, {{"dims", Ints{0, 0}}}, Code::InvalidArgument, "dim 1 is given twice"},
      {Op::slice,
       {f32({4})},
       {{"dim", n(0)}, {"start", n(0)}, {"stop", n(5)}},
       Code::ShapeMismatch,
       "positions 1 to 5 are not within the 4 of dim 1"},
      {Op::slice,
       {f32({4})},
       {{"dim", n(0)}, {"start", n(0)}, {"stop", n(4)}, {"step", n(0)}},
       Code::InvalidArgument,
       "step is 0; it must be at least 1"},
      {Op::expand,
       {f32({3})},
       {{"shape", Ints{4}}},
       Code::ShapeMismatch,
       "dim 1 of a is 3 and cannot be repeated to 4; only 1 can"},
      {Op::expand,
       {f32({3, 1})},
       {{"shape", Ints{4}}},
       Code::ShapeMismatch,
       "shape [4] has fewer dimensions than a's [3,1]"},
      {Op::expand,
       {f32({})},
       {{"shape", Ints{-1}}},
       Code::InvalidArgument,
       "dim 1 of shape [-1] is negative"},
      {Op::cat,
       {f32({2, 3}), f32({4, 3})},
       {{"dim", n(1)}},
       Code::ShapeMismatch,
       "sizes differ: 2 (dim 1 of a) and 4 (dim 1 of b)"},
      {Op::cat,
       {f32({}), f32({})},
       {{"dim", n(0)}},
       Code::InvalidArgument,
       "dim 1 is out of range: there are 0 dimensions"},
      {Op::stack,
       {f32({2}), f32({3})},
       {{"dim", n(0)}},
       Code::ShapeMismatch,
       "shapes differ: [2] (a) and [3] (b)"},
      {Op::rope,
       {f32({5, 2, 7}), i64({5})},
       {},
       Code::ShapeMismatch,
       "dim 3 of a is 7; halves are rotated, so it must be even"},
      {Op::attention,
       {f32({3, 4, 8}), f32({7, 3, 8}), f32({7, 3, 8})},
       {},
       Code::ShapeMismatch,
       "4 heads of queries (dim 2 of a) are not a multiple of 3 heads of keys (dim 2 of b)"},
      {Op::attention,
       {f32({9, 4, 8}), f32({7, 2, 8}), f32({7, 2, 8})},
       {},
       Code::ShapeMismatch,
       "9 queries (dim 1 of a) but 7 keys (dim 1 of b): the first would see none"},
      {Op::shard,
       {f32({5})},
       {{"dim", n(0)}, {"group", kTwo}},
       Code::ShapeMismatch,
       "5 (dim 1 of a) does not divide into 2 equal parts, one per member of the group"},
      {Op::reduce_scatter,
       {f32({5})},
       two,
       Code::ShapeMismatch,
       "5 (dim 1 of a) does not divide into 2 equal parts, one per member of the group"},
      {Op::all_to_all,
       {f32({5})},
       two,
       Code::ShapeMismatch,
       "5 (dim 1 of a) does not divide into 2 equal parts, one per member of the group"},
      {Op::all_gather,
       {f32({})},
       two,
       Code::InvalidArgument,
       "dim 1 is out of range: there are 0 dimensions"},
      {Op::all_gather,
       {f32({0, int64_t{1} << 59})},
       {{"dim", n(1)}, {"group", world_group(64)}},
       Code::InvalidArgument,
       "the result has more elements than memory can hold"},
      {Op::all_reduce,
       {i64({5})},
       {{"reduce", s("avg")}, {"group", kTwo}},
       Code::DTypeMismatch,
       "avg of i64: an average of integers is not one"},
      {Op::all_reduce,
       {type(boolean, {5})},
       two,
       Code::DTypeMismatch,
       "takes numbers (not bool), and a is bool"},
      {Op::all_reduce,
       {f32({5})},
       {{"group", kTwo}, {"algorithm", s("three_shot")}},
       Code::NotFound,
       "no algorithm named three_shot"},
      {Op::all_reduce, {f32({5})}, {{"group", Group{}}}, Code::InvalidArgument, "the group is empty"},
      {Op::barrier,
       {f32({5})},
       {{"group", Group{{1, 0, 1}}}},
       Code::InvalidArgument,
       "rank 1 is in the group twice"},
      {Op::barrier,
       {f32({5})},
       {{"group", Group{{0, -1}}}},
       Code::InvalidArgument,
       "rank -1 in the group; ranks count from 0"},
      {Op::broadcast,
       {f32({5})},
       {{"root", n(2)}, {"group", kTwo}},
       Code::InvalidArgument,
       "root 2 is not in group {0,1}"},
      {Op::reduce,
       {f32({5})},
       {{"root", n(2)}, {"group", kTwo}},
       Code::InvalidArgument,
       "root 2 is not in group {0,1}"},
      {Op::reduce,
       {i64({5})},
       {{"reduce", s("avg")}, {"group", kTwo}},
       Code::DTypeMismatch,
       "avg of i64: an average of integers is not one"},
      {Op::send,
       {f32({5})},
       {{"peer", n(huge)}, {"group", kTwo}},
       Code::InvalidArgument,
       "peer 9223372036854775807 is not in group {0,1}"},
  };
  for (const Mistake& mistake : mistakes) {
    INFO(to_string(mistake.op));
    Result<TensorType> result = infer_call(mistake.op, mistake.operands, mistake.attributes);
    CHECK(message(result) == mistake.message);
    if (!result) CHECK(result.error().code == mistake.code);
  }
}

TEST_CASE("hints say what to write") {
  CHECK(infer_call(Op::exp, {i64({2})}).error().hint == "cast it: a:to(\"f32\")");
  CHECK(infer_call(Op::add, {f32({2}), i64({2})}).error().hint == "cast one of them: b:to(\"f32\")");
  CHECK(infer_call(Op::add, {i64({2}), f32({2})}).error().hint == "cast one of them: a:to(\"f32\")");
  CHECK(infer_call(Op::add, {type(bf16, {2}), f32({2})}).error().hint == "cast one of them: a:to(\"f32\")");
  CHECK(infer_call(Op::exp, {type(DType::f32, {2}, Place::host)}).error().hint ==
        "copy it first: a:to(\"device\")");
}

TEST_CASE("views and copies work on host memory") {
  const TensorType x = type(DType::f32, {2, 6}, Place::host);
  CHECK(infer_call(Op::reshape, {x}, {{"shape", Ints{12}}})->to_string() == "f32[12] on host");
  CHECK(infer_call(Op::transpose, {x})->to_string() == "f32[6,2] on host");
  CHECK(infer_call(Op::copy_to, {x}, {{"place", Place::device}})->to_string() == "f32[2,6]");
}

TEST_CASE("composites decompose into ops that infer the same type") {
  for (const Case& c : cases()) {
    if (!info(c.op).has(kComposite)) continue;
    std::vector<TensorType> values = c.operands;
    Result<std::vector<Step>> steps = decompose(c.op, values, c.attributes);
    REQUIRE(steps);
    for (const Step& step : *steps) {
      CHECK(!info(step.op).has(kComposite));
      std::vector<TensorType> operands;
      for (int i : step.operands) operands.push_back(values.at(static_cast<size_t>(i)));
      Result<TensorType> result = infer_call(step.op, operands, step.attributes);
      REQUIRE(message(result) == "ok");
      values.push_back(*result);
    }
    CHECK(values.back().to_string() == c.expected);
  }
  // A vector goes through matmul as one row.
  CHECK(decompose(Op::linear, std::vector{f32({3}), f32({7, 3})}, {})->back().attributes ==
        Attributes{{"shape", Ints{7}}});
  CHECK(message(decompose(Op::linear, std::vector{f32({2}), f32({7, 3})}, {})) ==
        "inner dimensions differ: 2 (dim 1 of a) and 3 (dim 2 of b)");
}
