// Shapes and strides: at most eight dimensions, in elements, with checked arithmetic.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "core/error.hpp"
#include "core/types/dtype.hpp"
#include "core/types/units.hpp"

namespace peri {

inline constexpr int kMaxRank = 8;

// A short list of int64, one per dimension. 0-based inside C++. Lists with different tags do not convert to
// each other and do not compare.
template <class Tag>
class Dims {
 public:
  constexpr Dims() = default;
  Dims(std::initializer_list<int64_t> dims);
  explicit Dims(std::span<const int64_t> dims);
  template <class Other>
  explicit Dims(const Dims<Other>&) = delete;

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[i]; }
  int64_t& operator[](int i) { return dims_[i]; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }
  void push_back(int64_t d);
  void insert(int at, int64_t d);
  void erase(int at);
  bool operator==(const Dims& other) const;
  std::string to_string() const;  // "[2,3]"

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};
struct ShapeTag;
struct StridesTag;
// The sizes, each >= 0.
using Shape = Dims<ShapeTag>;
// How many elements lie from one position to the next; 0 repeats the same element.
using Strides = Dims<StridesTag>;

// Product of the dimensions; an error if a dimension is negative, or if the elements of the widest dtype
// would not fit an int64 of bytes. Empty dimensions count as one there, so that strides of a checked shape do
// not overflow either.
Result<int64_t> checked_numel(const Shape& shape);
// For shapes that have been checked.
int64_t numel(const Shape& shape);
Strides contiguous_strides(const Shape& shape);
bool is_contiguous(const Shape& shape, const Strides& strides);
// NumPy's rule; the error says which dimensions (1-based, as users count) of which operands (a, b, ...)
// differ.
Result<Shape> broadcast(const Shape& a, const Shape& b);
Result<Shape> broadcast(std::span<const Shape> shapes);
// What messages call the i-th operand: a, b, c, ...
std::string operand_name(size_t i);
// A shape from as many numbers as a user gives; an error if they are more than kMaxRank, negative or too
// large.
Result<Shape> make_shape(std::span<const int64_t> dims);

// What every value is known by: `bf16[64,512]`, and `f32[3] on host` where it is not on the device.
struct TensorType {
  DType dtype = DType::f32;
  Shape shape;
  Place place = Place::device;
  Bytes bytes() const { return bytes_of(Elements(numel(shape)), dtype); }
  bool operator==(const TensorType&) const = default;
  std::string to_string() const;
};

}  // namespace peri
