// Short ways to write types and to look at errors in tests of core.
#pragma once

#include <string>
#include <vector>

#include "core/ops/op.hpp"

namespace peri {

inline TensorType type(DType dtype, Shape shape, Place place = Place::device) {
  return {dtype, shape, place};
}
inline TensorType f32(Shape shape) {
  return type(DType::f32, shape);
}
inline TensorType i64(Shape shape) {
  return type(DType::i64, shape);
}

inline Result<TensorType> infer_call(Op op, const std::vector<TensorType>& operands,
                                     Attributes attributes = {}) {
  return infer(op, operands, PERI_TRY(complete(op, std::move(attributes), operands)));
}

// "ok" or the message, so that a failing comparison shows it.
template <class T>
std::string message(const Result<T>& result) {
  return result ? "ok" : result.error().message;
}

}  // namespace peri
