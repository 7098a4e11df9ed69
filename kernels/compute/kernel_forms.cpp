#include "kernels/compute/kernel_forms.hpp"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <numbers>
#include <utility>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"

namespace peri::kernels {

bool ReductionSpaces::is_by_columns() const {
  return kept.shape.rank() > 0 && reduced.total() > 1 &&
         std::abs(kept.inner_stride(1)) < std::abs(reduced.inner_stride(0));
}

ReductionSpaces split_reduction(const KernelCall& call, const Ints& dims) {
  const View &in = call.in(0), &out = call.out();
  std::vector<char> is_reduced(static_cast<size_t>(in.shape.rank()), dims.empty());
  for (int64_t dim : dims) is_reduced[static_cast<size_t>(dim)] = true;
  const bool keepdim = out.shape.rank() == in.shape.rank();
  ReductionSpaces spaces{{{}, std::vector<Strides>(2)}, {{}, std::vector<Strides>(1)}};
  int at = 0;  // in the output
  for (int i = 0; i < in.shape.rank(); ++i) {
    if (is_reduced[static_cast<size_t>(i)]) {
      spaces.reduced.shape.push_back(in.shape[i]);
      spaces.reduced.strides[0].push_back(in.strides[i]);
      at += keepdim;
    } else {
      spaces.kept.shape.push_back(in.shape[i]);
      spaces.kept.strides[0].push_back(in.strides[i]);
      spaces.kept.strides[1].push_back(out.strides[at++]);
    }
  }
  spaces.reduced = simplified(std::move(spaces.reduced));
  spaces.kept = reordered(std::move(spaces.kept));  // by the input's strides
  std::swap(spaces.kept.strides[0], spaces.kept.strides[1]);
  return spaces;
}

Result<SortedLines> sorted_lines(const KernelCall& call) {
  const int dim = call.spec.attributes.get<"dim">();
  const View &values = call.out(), &positions = call.outputs[1].view, &in = call.in(0);
  SortedLines sorted{.lines = {in.shape, {values.strides, positions.strides, in.strides}},
                     .length = in.shape[dim],
                     .kept = values.shape[dim],
                     .values_stride = values.strides[dim],
                     .positions_stride = positions.strides[dim],
                     .in_stride = in.strides[dim]};
  if (sorted.length >= std::numeric_limits<uint32_t>::max())
    return fail(Code::Unsupported, fmt::format("{}: dim {} has {} elements; fewer than 2^32 - 1 are sorted",
                                               call.spec.name(), dim + 1, sorted.length));
  switch (op_of<SortingOp>(call.spec.op)) {
    case SortingOp::sort:
      sorted.descending = call.spec.attributes.as<Op::sort>().descending;
      break;
    case SortingOp::topk:
      sorted.descending = call.spec.attributes.as<Op::topk>().largest;
      break;
  }
  sorted.lines.shape.erase(dim);
  for (Strides& strides : sorted.lines.strides) strides.erase(dim);
  sorted.lines = reordered(std::move(sorted.lines));
  return sorted;
}

Space gathered_elements(const KernelCall& call) {
  Space space{call.out().shape, {call.out().strides, call.in(1).strides, call.in(0).strides}};
  space.strides[2][call.spec.attributes.get<"dim">()] = 0;
  return reordered(std::move(space));
}

ScatteredLines scattered_lines(const KernelCall& call, const Strides& out) {
  const int dim = call.spec.attributes.get<"dim">();
  const View &index = call.in(1), &source = call.in(2);
  ScatteredLines result{.lines = {index.shape, {out, index.strides, source.strides}},
                        .count = index.shape[dim],
                        .rows = call.out().shape[dim],
                        .out_stride = out[dim],
                        .index_stride = index.strides[dim],
                        .source_stride = source.strides[dim]};
  result.lines.shape.erase(dim);
  for (Strides& strides : result.lines.strides) strides.erase(dim);
  result.lines = reordered(std::move(result.lines));
  return result;
}

MatrixOperands as_matrices(const KernelCall& call) {
  MatrixOperands result{{call.inputs[0], call.inputs[1]}, call.outputs[0]};
  auto insert = [](View& view, int at) {
    view.shape.insert(at, 1);
    view.strides.insert(at, 1);
  };
  View &a = result.inputs[0].view, &b = result.inputs[1].view, &c = result.output.view;
  if (b.shape.rank() == 1) {
    insert(b, 1);
    insert(c, c.shape.rank());
  }
  if (a.shape.rank() == 1) {
    insert(a, 0);
    insert(c, c.shape.rank() - 1);
  }
  return result;
}

Lines normalised_lines(const KernelCall& call) {
  const View &in = call.in(0), &out = call.out();
  const int dim = call.spec.attributes.find<"dim">().value_or(out.shape.rank() - 1);
  Lines result{{{}, std::vector<Strides>(2)}};
  for (int i = 0; i < out.shape.rank(); ++i) {
    if (i == dim) {
      result.length = out.shape[i];
      result.out_stride = out.strides[i];
      result.in_stride = in.strides[i];
    } else {
      result.lines.shape.push_back(out.shape[i]);
      result.lines.strides[0].push_back(out.strides[i]);
      result.lines.strides[1].push_back(in.strides[i]);
    }
  }
  result.lines = reordered(std::move(result.lines));
  return result;
}

std::vector<double> rope_frequencies(double base, int64_t half) {
  constexpr double kQuarterTurns = 2 * std::numbers::inv_pi;  // in a radian
  std::vector<double> frequencies;
  for (int64_t j = 0; j < half; ++j)
    frequencies.push_back(std::pow(base, -static_cast<double>(j) / static_cast<double>(half)) *
                          kQuarterTurns);
  return frequencies;
}

double attention_scale(const KernelCall& call) {
  const double given = call.spec.attributes.as<Op::attention>().scale;
  return given != 0 ? given : 1 / std::sqrt(static_cast<double>(call.in(0).shape[2]));
}

std::vector<int64_t> cat_offsets(const KernelCall& call) {
  const int dim = call.spec.attributes.as<Op::cat>().dim;
  const int64_t step = call.out().strides[dim] * size_of(call.dtype());
  std::vector<int64_t> offsets;
  int64_t at = 0;  // along the joined dimension
  for (const OperandType& input : call.inputs) {
    offsets.push_back(at * step);
    at += input.view.shape[dim];
  }
  return offsets;
}

Space batch_of_products(const KernelCall& call) {
  auto leading = [](View view) {
    for (int i = 0; i < 2; ++i) {
      view.shape.erase(view.shape.rank() - 1);
      view.strides.erase(view.strides.rank() - 1);
    }
    return view;
  };
  const View batch = leading(call.out());
  return simplified({batch.shape,
                     {batch.strides, broadcast_to(leading(call.in(0)), batch.shape).strides,
                      broadcast_to(leading(call.in(1)), batch.shape).strides}});
}

std::optional<BatchRows> rows_of_batch(const Space& batch, int64_t rows, int64_t c_row, int64_t a_row) {
  if (batch.shape.rank() == 0 || batch.shape.rank() == kMaxRank) return std::nullopt;
  for (int64_t stride : batch.strides[2])
    if (stride != 0) return std::nullopt;
  Space all{batch.shape, {batch.strides[0], batch.strides[1]}};
  all.shape.push_back(rows);
  all.strides[0].push_back(c_row);
  all.strides[1].push_back(a_row);
  all = simplified(std::move(all));
  if (all.shape.rank() != 1) return std::nullopt;
  return BatchRows{all.total(), all.strides[0][0], all.strides[1][0]};
}

}  // namespace peri::kernels
