// `infer`: the checks that all ops share, then the op's own rule, for everything but views and collectives
// (shape_rules_views.cpp, shape_rules_collectives.cpp).
#include "core/ops/shape_rules.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

namespace peri {

namespace shape_rules {

namespace {

constexpr Rule kRules[] = {
#define PERI_OP(name, family, min_operands, max_operands, attributes, dtypes, rule, ...) rule,
#include "core/ops/ops.def"
};

bool accepts(DTypes dtypes, DType t) {
  switch (dtypes) {
    case DTypes::floats:
      return is_float(t);
    case DTypes::integers:
      return is_integer(t);
    case DTypes::numeric:
      return is_float(t) || is_integer(t);
    case DTypes::any:
    case DTypes::mixed:
      return true;
  }
  return false;
}

const char* describe(DTypes dtypes) {
  switch (dtypes) {
    case DTypes::floats:
      return "floats (f32, f16, bf16)";
    case DTypes::integers:
      return "integers (i32, i64, u8)";
    case DTypes::numeric:
      return "numbers (not bool)";
    case DTypes::any:
    case DTypes::mixed:
      return "any dtype";
  }
  return "?";
}

// Host memory is for moving, looking at and cutting; arithmetic happens on the device.
bool works_on_host(const OpInfo& row) {
  return row.has(kView) || row.has(kDeviceCopy) || row.op == Op::contiguous || row.op == Op::transpose ||
         row.op == Op::window_copy;
}

Status check_places(const OpInfo& row, std::span<const TensorType> operands) {
  for (size_t i = 0; i < operands.size(); ++i)
    if (operands[i].place == Place::host && !works_on_host(row))
      return fail(Code::InvalidArgument,
                  fmt::format("{} is in host memory, and this runs on the device", operand_name(i)), {},
                  fmt::format("copy it first: {}:to(\"device\")", operand_name(i)));
  return {};
}

Status check_dtypes(const OpInfo& row, std::span<const TensorType> operands, const Attributes& attributes) {
  if (row.has(kCreation)) {
    const DType dtype = attributes.get<"dtype">();
    if (!accepts(row.dtypes, dtype))
      return fail(Code::DTypeMismatch,
                  fmt::format("makes {}, not {}", describe(row.dtypes), to_string(dtype)));
  }
  if (row.dtypes == DTypes::mixed) return {};  // the rule says
  for (size_t i = 0; i < operands.size(); ++i)
    if (!accepts(row.dtypes, operands[i].dtype))
      return fail(Code::DTypeMismatch,
                  fmt::format("takes {}, and {} is {}", describe(row.dtypes), operand_name(i),
                              to_string(operands[i].dtype)),
                  {},
                  fmt::format("cast it: {}:to(\"{}\")", operand_name(i),
                              row.dtypes == DTypes::integers ? "i64" : "f32"));
  return check_equal_dtypes(operands, row.op == Op::where ? 1 : 0);
}

Status check_group(const Attributes& attributes) {
  const std::optional<Group> group = attributes.find<"group">();
  if (!group) return {};
  std::vector<int> ranks = group->ranks;
  std::sort(ranks.begin(), ranks.end());
  if (ranks.empty()) return fail(Code::InvalidArgument, "the group is empty");
  if (ranks.front() < 0)
    return fail(Code::InvalidArgument,
                fmt::format("rank {} in the group; ranks count from 0", ranks.front()));
  if (auto twice = std::adjacent_find(ranks.begin(), ranks.end()); twice != ranks.end())
    return fail(Code::InvalidArgument, fmt::format("rank {} is in the group twice", *twice));
  return {};
}

}  // namespace

Status check_count(const OpInfo& row, size_t count) {
  const size_t least = static_cast<size_t>(row.min_operands), most = static_cast<size_t>(row.max_operands);
  if (count >= least && (row.max_operands < 0 || count <= most)) return {};
  std::string expected = row.max_operands < 0 ? fmt::format("at least {}", least)
                         : least == most      ? fmt::to_string(least)
                                              : fmt::format("{} to {}", least, most);
  return fail(Code::InvalidArgument,
              fmt::format("takes {} operand{}, got {}", expected,
                          expected == "1" || expected == "at least 1" ? "" : "s", count));
}

Status check_index_dtype(const RuleCall& call, size_t i) {
  DType t = call.type(i).dtype;
  if (t == DType::i32 || t == DType::i64) return {};
  return fail(Code::DTypeMismatch,
              fmt::format("{} holds indices and must be i32 or i64, not {}", operand_name(i), to_string(t)),
              {}, fmt::format("cast it: {}:to(\"i64\")", operand_name(i)));
}

Status check_rank(const RuleCall& call, size_t i, int rank) {
  if (call.shape(i).rank() == rank) return {};
  return fail(Code::ShapeMismatch, fmt::format("{} must have {} dimension{}, not {}", operand_name(i), rank,
                                               rank == 1 ? "" : "s", call.shape(i).rank()));
}

Status check_same_size(const RuleCall& call, size_t i, int dim, size_t expected_i, int expected_dim) {
  const int64_t size = call.shape(i)[dim], expected = call.shape(expected_i)[expected_dim];
  if (size == expected) return {};
  return fail(Code::ShapeMismatch,
              fmt::format("sizes differ: {} (dim {} of {}) and {} (dim {} of {})", expected, expected_dim + 1,
                          operand_name(expected_i), size, dim + 1, operand_name(i)));
}

// "b:to("f32")": the cast that loses least.
static std::string cast_to_wider(std::span<const TensorType> operands, size_t a, size_t b) {
  const DType wide = wider(operands[a].dtype, operands[b].dtype);
  return fmt::format("{}:to(\"{}\")", operand_name(operands[a].dtype == wide ? b : a), to_string(wide));
}

Status check_equal_dtypes(std::span<const TensorType> operands, size_t first) {
  for (size_t i = first + 1; i < operands.size(); ++i)
    if (operands[i].dtype != operands[first].dtype)
      return fail(Code::DTypeMismatch,
                  fmt::format("dtypes differ: {} ({}) and {} ({})", to_string(operands[first].dtype),
                              operand_name(first), to_string(operands[i].dtype), operand_name(i)),
                  {}, fmt::format("cast one of them: {}", cast_to_wider(operands, first, i)));
  return {};
}

Status check_number(DType dtype, double value) {
  if (holds(dtype, value)) return {};
  return fail(Code::InvalidArgument, fmt::format("{} cannot hold {}", to_string(dtype), value), {},
              is_float(dtype) || value == std::trunc(value) ? "" : "give dtype = \"f32\"");
}

// --- sources and creation ---

Result<ResultTypes> source(const RuleCall& call) {
  const auto [index, dtype, dims, place] = call.attributes.as<Op::input, Op::constant>();
  if (index < 0) return fail(Code::InvalidArgument, "the index is negative");
  return TensorType{dtype, PERI_TRY(make_shape(dims)), place};
}

// The graph compares it with what the operand's op gives.
Result<ResultTypes> further_result(const RuleCall& call) {
  const auto [index, dtype, dims] = call.attributes.as<Op::result>();
  return TensorType{dtype, PERI_TRY(make_shape(dims))};
}

Result<ResultTypes> filled(const RuleCall& call) {
  Shape shape = PERI_TRY(make_shape(call.attributes.get<"shape">()));
  const DType dtype = call.attributes.get<"dtype">();
  if (call.op == Op::full) PERI_TRY(check_number(dtype, call.attributes.as<Op::full>().value));
  return TensorType{dtype, shape};
}

Result<ResultTypes> arange(const RuleCall& call) {
  const auto [count, start, step, dtype] = call.attributes.as<Op::arange>();
  if (count < 0) return fail(Code::InvalidArgument, fmt::format("count is {}; it cannot be negative", count));
  if (!is_float(dtype) && count > 0) {
    if (count > 1 && step != std::trunc(step))
      return fail(Code::InvalidArgument, fmt::format("step is {}, and makes no {}", step, to_string(dtype)),
                  {}, "give dtype = \"f32\"");
    PERI_TRY(check_number(dtype, start));
    PERI_TRY(check_number(dtype, start + static_cast<double>(count - 1) * step));
  }
  return TensorType{dtype, Shape{count}};
}

// --- pointwise ---

Result<ResultTypes> pointwise(const RuleCall& call) {
  if (call.op == Op::where && call.type(0).dtype != DType::boolean)
    return fail(Code::DTypeMismatch,
                fmt::format("the condition a must be bool, not {}", to_string(call.type(0).dtype)), {},
                "compare it: a:ne(0)");
  Shape shapes[3];
  for (size_t i = 0; i < call.operands.size(); ++i) shapes[i] = call.shape(i);
  TensorType result{DType::boolean, PERI_TRY(broadcast(std::span(shapes, call.operands.size())))};
  switch (info(call.op).result) {
    case ResultDType::same:
      result.dtype = call.operands.back().dtype;
      break;
    case ResultDType::boolean:
      break;
    case ResultDType::attribute:
      result.dtype = call.attributes.get<"dtype">();
      break;
  }
  return result;
}

// --- several families ---

Result<ResultTypes> same_as_operand(const RuleCall& call) {
  return call.type(0);
}

// --- reductions ---

// The shape after reducing `dims` of operand a; refuses an empty slice where the reduction of nothing has no
// value.
static Result<Shape> reduce(const RuleCall& call, const Ints& dims, bool keepdim, bool empty_has_value) {
  const Shape& shape = call.shape(0);
  uint32_t reduced = dims.empty() ? (1u << shape.rank()) - 1 : 0;
  for (int64_t dim : dims) {
    if (reduced >> dim & 1u)
      return fail(Code::InvalidArgument, fmt::format("dim {} is given twice", dim + 1));
    reduced |= 1u << dim;
  }
  Shape result;
  for (int i = 0; i < shape.rank(); ++i) {
    const bool is_reduced = reduced >> i & 1u;
    if (is_reduced && shape[i] == 0 && !empty_has_value)
      return fail(Code::ShapeMismatch,
                  fmt::format("dim {} of a is empty, and nothing has no {}", i + 1, to_string(call.op)));
    if (!is_reduced)
      result.push_back(shape[i]);
    else if (keepdim)
      result.push_back(1);
  }
  return result;
}

Result<ResultTypes> total(const RuleCall& call) {
  const auto [dims, keepdim] = call.attributes.as<Op::sum, Op::mean, Op::prod>();
  const DType t = call.type(0).dtype;
  Shape shape = PERI_TRY(reduce(call, dims, keepdim, true));
  return TensorType{is_float(t) ? t : DType::i64, shape};
}

Result<ResultTypes> extremum(const RuleCall& call) {
  const auto [dims, keepdim] = call.attributes.as<Op::max, Op::min>();
  return TensorType{call.type(0).dtype, PERI_TRY(reduce(call, dims, keepdim, false))};
}

Result<ResultTypes> arg_extremum(const RuleCall& call) {
  const auto [dim, keepdim] = call.attributes.as<Op::argmax, Op::argmin>();
  return TensorType{DType::i64, PERI_TRY(reduce(call, Ints{dim}, keepdim, false))};
}

Result<ResultTypes> quantified(const RuleCall& call) {
  const auto [dims, keepdim] = call.attributes.as<Op::any, Op::all>();
  return TensorType{DType::boolean, PERI_TRY(reduce(call, dims, keepdim, true))};
}

Result<ResultTypes> norm(const RuleCall& call) {
  const auto [p, dims, keepdim] = call.attributes.as<Op::norm>();
  const bool is_largest = p == std::numeric_limits<double>::infinity();
  if (p != 1 && p != 2 && !is_largest)
    return fail(Code::InvalidArgument, fmt::format("p is {}; it may be 1, 2 or math.huge", p));
  return TensorType{call.type(0).dtype, PERI_TRY(reduce(call, dims, keepdim, !is_largest))};
}

Result<ResultTypes> running_total(const RuleCall& call) {
  const DType t = call.type(0).dtype;
  return TensorType{is_float(t) ? t : DType::i64, call.shape(0)};
}

// --- sorting: values and positions ---

Result<ResultTypes> sort(const RuleCall& call) {
  return ResultTypes(call.type(0), {{DType::i64, call.shape(0)}});
}

Result<ResultTypes> topk(const RuleCall& call) {
  Shape shape = call.shape(0);
  const auto top = call.attributes.as<Op::topk>();
  if (top.k < 0 || top.k > shape[top.dim])
    return fail(Code::ShapeMismatch,
                fmt::format("k is {}, and dim {} of a is {}", top.k, top.dim + 1, shape[top.dim]));
  shape[top.dim] = top.k;
  return ResultTypes({call.type(0).dtype, shape}, {{DType::i64, shape}});
}

// --- normalisation ---

Result<ResultTypes> scaled_lines(const RuleCall& call) {
  const int rank = call.shape(0).rank();
  if (rank == 0) return fail(Code::ShapeMismatch, "a needs at least one dimension");
  for (size_t i = 1; i < call.operands.size(); ++i) {
    PERI_TRY(check_rank(call, i, 1));
    PERI_TRY(check_same_size(call, i, 0, 0, rank - 1));
  }
  return call.type(0);
}

// --- linear algebra ---

static Status inner_dimensions_differ(int64_t a, int a_dim, int64_t b, int b_dim, std::string hint) {
  return fail(Code::ShapeMismatch,
              fmt::format("inner dimensions differ: {} (dim {} of a) and {} (dim {} of b)", a, a_dim + 1, b,
                          b_dim + 1),
              {}, std::move(hint));
}

Result<ResultTypes> matmul(const RuleCall& call) {
  for (size_t i = 0; i < 2; ++i)
    if (call.shape(i).rank() == 0)
      return fail(Code::ShapeMismatch,
                  fmt::format("{} has no dimension; a vector or a matrix is needed", operand_name(i)), {},
                  "multiply by a number: a * b");
  const Shape &a = call.shape(0), &b = call.shape(1);
  const bool a_is_vector = a.rank() == 1, b_is_vector = b.rank() == 1;
  const int inner_a = a.rank() - 1, inner_b = b_is_vector ? 0 : b.rank() - 2;
  if (a[inner_a] != b[inner_b])
    PERI_TRY(inner_dimensions_differ(
        a[inner_a], inner_a, b[inner_b], inner_b,
        !b_is_vector && a[inner_a] == b[inner_b + 1] ? "b looks transposed: use b:t()" : ""));
  const Shape batches[] = {Shape(std::span(a.begin(), a.end() - (a_is_vector ? 1 : 2))),
                           Shape(std::span(b.begin(), b.end() - (b_is_vector ? 1 : 2)))};
  Shape shape = PERI_TRY(broadcast(batches));
  if (!a_is_vector) shape.push_back(a[a.rank() - 2]);
  if (!b_is_vector) shape.push_back(b[b.rank() - 1]);
  return TensorType{call.type(0).dtype, shape};
}

Result<ResultTypes> linear(const RuleCall& call) {
  const Shape &x = call.shape(0), &weight = call.shape(1);
  if (x.rank() == 0) return fail(Code::ShapeMismatch, "a needs at least one dimension");
  PERI_TRY(check_rank(call, 1, 2));
  if (x[x.rank() - 1] != weight[1])
    PERI_TRY(inner_dimensions_differ(x[x.rank() - 1], x.rank() - 1, weight[1], 1, "the weight is [out, in]"));
  if (call.operands.size() == 3) {
    PERI_TRY(check_rank(call, 2, 1));
    PERI_TRY(check_same_size(call, 2, 0, 1, 0));
  }
  TensorType result = call.type(0);
  result.shape[x.rank() - 1] = weight[0];
  return result;
}

// --- lookups ---

Result<ResultTypes> embedding(const RuleCall& call) {
  PERI_TRY(check_index_dtype(call, 0));
  PERI_TRY(check_rank(call, 1, 2));
  Ints dims(call.shape(0).begin(), call.shape(0).end());
  dims.push_back(call.shape(1)[1]);
  return TensorType{call.type(1).dtype, PERI_TRY(make_shape(dims))};
}

Result<ResultTypes> index_select(const RuleCall& call) {
  PERI_TRY(check_index_dtype(call, 1));
  PERI_TRY(check_rank(call, 1, 1));
  TensorType result = call.type(0);
  result.shape[call.attributes.as<Op::index_select>().dim] = call.shape(1)[0];
  return result;
}

// No dimension of operand i is longer than that of operand `of`, but for dimension `except`.
static Status check_not_longer(const RuleCall& call, size_t i, size_t of, int except) {
  for (int d = 0; d < call.shape(i).rank(); ++d)
    if (d != except && call.shape(i)[d] > call.shape(of)[d])
      return fail(Code::ShapeMismatch,
                  fmt::format("dim {} of {} is {}, and that of {} only {}", d + 1, operand_name(i),
                              call.shape(i)[d], operand_name(of), call.shape(of)[d]));
  return {};
}

Result<ResultTypes> gather(const RuleCall& call) {
  PERI_TRY(check_index_dtype(call, 1));
  PERI_TRY(check_rank(call, 1, call.shape(0).rank()));
  PERI_TRY(check_not_longer(call, 1, 0, call.attributes.as<Op::gather>().dim));
  return TensorType{call.type(0).dtype, call.shape(1)};
}

// What is written into a tensor has its dtype.
static Status check_source_dtype(const RuleCall& call) {
  const DType a = call.type(0).dtype, c = call.type(2).dtype;
  if (a == c) return {};
  return fail(Code::DTypeMismatch,
              fmt::format("dtypes differ: {} (a) and {} (c)", to_string(a), to_string(c)), {},
              fmt::format("cast one of them: c:to(\"{}\")", to_string(a)));
}

Result<ResultTypes> scatter(const RuleCall& call) {
  const int rank = call.shape(0).rank();
  PERI_TRY(check_index_dtype(call, 1));
  PERI_TRY(check_rank(call, 1, rank));
  PERI_TRY(check_rank(call, 2, rank));
  PERI_TRY(check_source_dtype(call));
  if (call.op == Op::scatter_add && call.type(0).dtype == DType::boolean)
    return fail(Code::DTypeMismatch, "adds numbers, and a is bool", {}, "cast them: a:to(\"i64\")");
  PERI_TRY(check_not_longer(call, 1, 0, call.attributes.as<Op::scatter, Op::scatter_add>().dim));
  PERI_TRY(check_not_longer(call, 1, 2, rank));
  return call.type(0);
}

Result<ResultTypes> index_copy(const RuleCall& call) {
  PERI_TRY(check_index_dtype(call, 1));
  PERI_TRY(check_rank(call, 1, 1));
  PERI_TRY(check_rank(call, 2, call.shape(0).rank()));
  PERI_TRY(check_source_dtype(call));
  const int dim = call.attributes.as<Op::index_copy>().dim;
  for (int i = 0; i < call.shape(0).rank(); ++i) {
    if (i == dim)
      PERI_TRY(check_same_size(call, 2, i, 1, 0));
    else
      PERI_TRY(check_same_size(call, 2, i, 0, i));
  }
  return call.type(0);
}

// --- transformers ---

Result<ResultTypes> rope(const RuleCall& call) {
  const Shape& x = call.shape(0);
  if (!is_float(call.type(0).dtype))
    return fail(Code::DTypeMismatch, fmt::format("a must be a float, not {}", to_string(call.type(0).dtype)),
                {}, "cast it: a:to(\"f32\")");
  if (x.rank() < 3)
    return fail(Code::ShapeMismatch, fmt::format("a must be [..., s, h, d], not {}", x.to_string()));
  if (x[x.rank() - 1] % 2 != 0)
    return fail(Code::ShapeMismatch, fmt::format("dim {} of a is {}; halves are rotated, so it must be even",
                                                 x.rank(), x[x.rank() - 1]));
  PERI_TRY(check_index_dtype(call, 1));
  PERI_TRY(check_rank(call, 1, 1));
  PERI_TRY(check_same_size(call, 1, 0, 0, x.rank() - 3));
  return call.type(0);
}

Result<ResultTypes> attention(const RuleCall& call) {
  if (!is_float(call.type(0).dtype))
    return fail(Code::DTypeMismatch, fmt::format("a must be a float, not {}", to_string(call.type(0).dtype)),
                {}, "cast it: a:to(\"f32\")");
  PERI_TRY(check_equal_dtypes(call.operands.first(3), 0));
  for (size_t i = 0; i < 3; ++i) PERI_TRY(check_rank(call, i, 3));
  PERI_TRY(check_same_size(call, 1, 2, 0, 2));
  PERI_TRY(check_same_size(call, 2, 0, 1, 0));
  PERI_TRY(check_same_size(call, 2, 1, 1, 1));
  PERI_TRY(check_same_size(call, 2, 2, 1, 2));
  const int64_t s = call.shape(0)[0], h = call.shape(0)[1], t = call.shape(1)[0], g = call.shape(1)[1];
  if (g == 0 || h % g != 0)
    return fail(
        Code::ShapeMismatch,
        fmt::format("{} heads of queries (dim 2 of a) are not a multiple of {} heads of keys (dim 2 of b)", h,
                    g));
  if (call.operands.size() == 4) {
    PERI_TRY(check_index_dtype(call, 3));
    PERI_TRY(check_rank(call, 3, 1));
    PERI_TRY(check_same_size(call, 3, 0, 0, 0));
  }
  if (s > 0 && t == 0) return fail(Code::ShapeMismatch, "there are no keys (dim 1 of b is 0) to attend to");
  if (s > t && call.operands.size() == 3 && call.attributes.as<Op::attention>().causal)
    return fail(
        Code::ShapeMismatch,
        fmt::format("{} queries (dim 1 of a) but {} keys (dim 1 of b): the first would see none", s, t), {},
        "give the queries' positions, or causal = false");
  return call.type(0);
}

}  // namespace shape_rules

Result<TensorType> infer(Op op, std::span<const TensorType> operands, const Attributes& attributes) {
  const ResultTypes types = PERI_TRY(infer_results(op, operands, attributes));
  return types[0];
}

Result<ResultTypes> infer_results(Op op, std::span<const TensorType> operands, const Attributes& attributes) {
  const OpInfo& row = info(op);
  PERI_TRY(shape_rules::check_count(row, operands.size()));
  PERI_TRY(shape_rules::check_places(row, operands));
  PERI_TRY(shape_rules::check_dtypes(row, operands, attributes));
  PERI_TRY(shape_rules::check_group(attributes));
  ResultTypes results = PERI_TRY(shape_rules::kRules[static_cast<size_t>(op)]({op, operands, attributes}));
  PERI_CHECK(results.size() == row.results, "a rule gives as many results as the family's row says");
  for (size_t i = 0; i < results.size(); ++i) PERI_TRY(checked_numel(results[i].shape));
  return results;
}

}  // namespace peri
