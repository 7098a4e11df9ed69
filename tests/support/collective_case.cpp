// What each collective gives, by its definition and nothing of the backend.
#include "tests/support/collective_case.hpp"

#include "core/ops/families.hpp"

namespace peri::test {

Case::Source Case::source(int rank, std::vector<int64_t> at) const {
  auto index = [&] {
    int64_t i = 0;
    for (int d = 0; d < shape.rank(); ++d) i = i * shape[d] + at[d];
    return i;
  };
  if (info(op).family == Family::message) return {rank, index()};
  auto member = [this](int64_t m) { return group.ranks[m]; };
  auto d = static_cast<size_t>(dim), c = static_cast<size_t>(concat_dim);
  const int me = group.index_of(rank);
  switch (op_of<CollectiveOp>(op)) {
    case CollectiveOp::all_reduce:
      return {-1, index()};
    case CollectiveOp::reduce_scatter:
      at[d] += me * (shape[dim] / group.size());
      return {-1, index()};
    case CollectiveOp::broadcast:
      return {root, index()};
    case CollectiveOp::reduce:
      return {rank == root ? -1 : rank, index()};
    case CollectiveOp::all_gather: {
      const int64_t from = at[d] / shape[dim];
      at[d] %= shape[dim];
      return {member(from), index()};
    }
    case CollectiveOp::all_to_all: {
      const int64_t length = output_shape()[concat_dim] / group.size();  // what each gives along concat_dim
      const int64_t from = at[c] / length;
      at[c] %= length;
      at[d] += me * (shape[dim] / group.size());
      return {member(from), index()};
    }
  }
  return {rank, index()};
}

double Case::reduced(int64_t index) const {
  double total = 0;
  for (int m = 0; m < group.size(); ++m) {
    const double v = input(group.ranks[m], index);
    if (m == 0)
      total = v;
    else if (reduce == Reduce::min)
      total = std::min(total, v);
    else if (reduce == Reduce::max)
      total = std::max(total, v);
    else if (reduce == Reduce::prod)
      total *= v;
    else
      total += v;
  }
  return reduce == Reduce::avg ? total / group.size() : total;
}

}  // namespace peri::test
