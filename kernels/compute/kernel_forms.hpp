// What every backend reads from a kernel call before their ways part: which dimensions a reduction walks,
// where the lines of a normalisation lie, the constants of rope and attention, the parts of a cat, the rows
// of a batch.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "kernels/compute/call.hpp"
#include "kernels/compute/space.hpp"

namespace peri::kernels {

// The dimensions of a reduction's operand that stay (operands out, in; in any order) and those that go
// (operand in; in logical order).
struct ReductionSpaces {
  Space kept, reduced;
  // Whether neighbouring results lie nearer to each other than the elements of one.
  bool is_by_columns() const;
};
// `dims`: those that go; all if there are none.
ReductionSpaces split_reduction(const KernelCall& call, const Ints& dims);

// The lines of the output along one dimension, and the same lines of the first operand; strides in elements.
struct Lines {
  Space lines;  // operands out, in
  int64_t length = 1, out_stride = 1, in_stride = 1;
};
// Along the attribute `dim`, or the last dimension where there is none.
Lines normalised_lines(const KernelCall& call);

// The elements of a gather by element: operands out, index, and the source's line along the dimension, which
// has stride 0.
Space gathered_elements(const KernelCall& call);

// The lines along the dimension of a scatter by element; strides in elements.
struct ScatteredLines {
  Space lines;          // operands out, index, source; of the index's shape
  int64_t count, rows;  // along the dimension: of the index, of the output
  int64_t out_stride, index_stride, source_stride;
};
// `out`: the strides of what is written, which has the output's shape.
ScatteredLines scattered_lines(const KernelCall& call, const Strides& out);

// A matmul's operands as matrices: a vector a is one row, a vector b one column.
struct MatrixOperands {
  std::array<OperandType, 2> inputs;
  OperandType output;
};
MatrixOperands as_matrices(const KernelCall& call);

// The lines that sort and topk put in order; strides in elements. Unsupported: a line of 2^32 - 1 elements or
// more.
struct SortedLines {
  Space lines;  // operands values, positions, in
  int64_t length = 1, kept = 1;
  int64_t values_stride = 1, positions_stride = 1, in_stride = 1;
  bool descending = false;
};
Result<SortedLines> sorted_lines(const KernelCall& call);

// Quarter turns per position of each pair: 2 / pi * base^(-j / half).
std::vector<double> rope_frequencies(double base, int64_t half);

// What scores are multiplied by: the attribute, or 1 / sqrt(width) where it is 0.
double attention_scale(const KernelCall& call);

// Where each operand's part begins in the output of a cat, in bytes.
std::vector<int64_t> cat_offsets(const KernelCall& call);

// Of a matmul: the products of the batch, operands c, a, b, without the dimensions of the matrices.
Space batch_of_products(const KernelCall& call);

// A batch of products whose b is the same for all, as more rows of a and of c: how many, and how far apart
// they are. Nothing if b differs, if there is no batch, or if the rows are not evenly spaced.
struct BatchRows {
  int64_t count, c_stride, a_stride;
};
// `batch`: operands c, a, b; each product has `rows` rows, c_row and a_row elements apart.
std::optional<BatchRows> rows_of_batch(const Space& batch, int64_t rows, int64_t c_row, int64_t a_row);

}  // namespace peri::kernels
