// Checked arithmetic on shapes: element counts, strides, broadcasting.
#include "core/types/shape.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace peri {

template <class Tag>
Dims<Tag>::Dims(std::initializer_list<int64_t> dims) : Dims(std::span(dims.begin(), dims.size())) {}

template <class Tag>
Dims<Tag>::Dims(std::span<const int64_t> dims) {
  for (int64_t d : dims) push_back(d);
}

template <class Tag>
void Dims<Tag>::push_back(int64_t d) {
  PERI_CHECK(rank_ < kMaxRank, "more than eight dimensions");
  dims_[rank_++] = d;
}

template <class Tag>
void Dims<Tag>::insert(int at, int64_t d) {
  PERI_CHECK(at >= 0 && at <= rank_, "position outside the dimensions");
  push_back(d);
  std::rotate(dims_.begin() + at, dims_.begin() + rank_ - 1, dims_.begin() + rank_);
}

template <class Tag>
void Dims<Tag>::erase(int at) {
  PERI_CHECK(at >= 0 && at < rank_, "position outside the dimensions");
  std::copy(dims_.begin() + at + 1, dims_.begin() + rank_, dims_.begin() + at);
  --rank_;
}

template <class Tag>
bool Dims<Tag>::operator==(const Dims& other) const {
  return std::equal(begin(), end(), other.begin(), other.end());
}

template <class Tag>
std::string Dims<Tag>::to_string() const {
  return fmt::format("[{}]", fmt::join(begin(), end(), ","));
}

template class Dims<ShapeTag>;
template class Dims<StridesTag>;

std::string operand_name(size_t i) {
  return i < 26 ? std::string(1, static_cast<char>('a' + i)) : fmt::format("operand {}", i + 1);
}

Result<int64_t> checked_numel(const Shape& shape) {
  constexpr int64_t kLimit = std::numeric_limits<int64_t>::max() / 8;
  int64_t product = 1;  // with empty dimensions counted as one
  bool empty = false;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] < 0)
      return fail(Code::InvalidArgument,
                  fmt::format("dim {} of shape {} is negative", i + 1, shape.to_string()));
    if (shape[i] == 0)
      empty = true;
    else if (product > kLimit / shape[i])
      return fail(Code::InvalidArgument,
                  fmt::format("shape {} has more elements than memory can hold", shape.to_string()));
    else
      product *= shape[i];
  }
  return empty ? 0 : product;
}

Result<Shape> make_shape(std::span<const int64_t> dims) {
  if (dims.size() > kMaxRank)
    return fail(Code::Unsupported,
                fmt::format("a shape of {} dimensions; at most {} are supported", dims.size(), kMaxRank));
  Shape shape(dims);
  PERI_TRY(checked_numel(shape));
  return shape;
}

int64_t numel(const Shape& shape) {
  int64_t product = 1;
  for (int64_t d : shape) product *= d;
  return product;
}

Strides contiguous_strides(const Shape& shape) {
  Strides strides;
  for (int i = 0; i < shape.rank(); ++i) strides.push_back(0);
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= std::max<int64_t>(shape[i], 1);
  }
  return strides;
}

bool is_contiguous(const Shape& shape, const Strides& strides) {
  if (numel(shape) == 0) return true;
  int64_t expected = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

Result<Shape> broadcast(std::span<const Shape> shapes) {
  int rank = 0;
  for (const Shape& shape : shapes) rank = std::max(rank, shape.rank());
  Shape result;
  for (int from_front = 0; from_front < rank; ++from_front) {
    int64_t size = 1;
    size_t chosen = 0;  // the operand that decided `size`
    for (size_t i = 0; i < shapes.size(); ++i) {
      int at = from_front - (rank - shapes[i].rank());
      if (at < 0 || shapes[i][at] == 1 || shapes[i][at] == size) continue;
      if (size != 1) {
        int chosen_at = from_front - (rank - shapes[chosen].rank());
        return fail(Code::ShapeMismatch,
                    fmt::format("shapes do not broadcast: {} (dim {} of {}) and {} (dim {} of {})", size,
                                chosen_at + 1, operand_name(chosen), shapes[i][at], at + 1, operand_name(i)),
                    {}, "aligned at their last dimensions, sizes must be equal or 1");
      }
      size = shapes[i][at];
      chosen = i;
    }
    result.push_back(size);
  }
  return result;
}

Result<Shape> broadcast(const Shape& a, const Shape& b) {
  const Shape shapes[] = {a, b};
  return broadcast(shapes);
}

std::string TensorType::to_string() const {
  return fmt::format("{}{}{}", peri::to_string(dtype), shape.to_string(),
                     place == Place::host ? " on host" : "");
}

}  // namespace peri
