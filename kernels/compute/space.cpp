// How iteration spaces are simplified.
#include "kernels/compute/space.hpp"

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace peri::kernels {

int64_t Space::offset(int operand, int64_t index) const {
  int64_t offset = 0;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    offset += index % shape[i] * strides[operand][i];
    index /= shape[i];
  }
  return offset;
}

Space simplified(Space space) {
  if (space.total() == 0) return {Shape{0}, std::vector<Strides>(space.strides.size(), Strides{0})};
  Space result{{}, std::vector<Strides>(space.strides.size())};
  for (int i = 0; i < space.shape.rank(); ++i) {
    const int64_t size = space.shape[i];
    if (size == 1) continue;
    const int last = result.shape.rank() - 1;
    bool merges = last >= 0;
    for (size_t operand = 0; merges && operand < space.strides.size(); ++operand)
      merges = result.strides[operand][last] == space.strides[operand][i] * size;
    if (merges)
      result.shape[last] *= size;
    else
      result.shape.push_back(size);
    for (size_t operand = 0; operand < space.strides.size(); ++operand) {
      if (merges)
        result.strides[operand][last] = space.strides[operand][i];
      else
        result.strides[operand].push_back(space.strides[operand][i]);
    }
  }
  return result;
}

Space reordered(Space space) {
  space = simplified(std::move(space));
  std::vector<int> order(space.shape.rank());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return std::abs(space.strides[0][a]) > std::abs(space.strides[0][b]);
  });
  Space result{{}, std::vector<Strides>(space.strides.size())};
  for (int i : order) {
    result.shape.push_back(space.shape[i]);
    for (size_t operand = 0; operand < space.strides.size(); ++operand)
      result.strides[operand].push_back(space.strides[operand][i]);
  }
  return simplified(std::move(result));
}

}  // namespace peri::kernels
