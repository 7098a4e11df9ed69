// Elements of the reference interpreter's values in memory, by core's scalar conversions, which the kernels
// do not use; and tensors made from values and read back.
#pragma once

#include <cstring>
#include <string>

#include "core/interpreter/interpreter.hpp"
#include "kernels/backend.hpp"

namespace peri::testing {

// Element `i` of `value`, as its dtype lies in memory.
inline void store_element(std::byte* to, const Value& value, size_t i) {
  auto put = [&](auto element) { std::memcpy(to, &element, sizeof element); };
  switch (value.type.dtype) {
    case DType::f32:
      return put(static_cast<float>(value.floats()[i]));
    case DType::f16:
      return put(f32_to_f16(static_cast<float>(value.floats()[i])));
    case DType::bf16:
      return put(f32_to_bf16(static_cast<float>(value.floats()[i])));
    case DType::i32:
      return put(static_cast<int32_t>(value.integers()[i]));
    case DType::i64:
      return put(value.integers()[i]);
    case DType::u8:
    case DType::boolean:
      return put(static_cast<uint8_t>(value.integers()[i]));
  }
}

inline void load_element(const std::byte* from, Value& value, size_t i) {
  auto get = [&]<class T>(T element) {
    std::memcpy(&element, from, sizeof element);
    return element;
  };
  auto put_float = [&](double x) { std::get<Value::Floats>(value.elements)[i] = x; };
  auto put_integer = [&](int64_t x) { std::get<Value::Integers>(value.elements)[i] = x; };
  switch (value.type.dtype) {
    case DType::f32:
      return put_float(get(float()));
    case DType::f16:
      return put_float(f16_to_f32(get(uint16_t())));
    case DType::bf16:
      return put_float(bf16_to_f32(get(uint16_t())));
    case DType::i32:
      return put_integer(get(int32_t()));
    case DType::i64:
      return put_integer(get(int64_t()));
    case DType::u8:
    case DType::boolean:
      return put_integer(get(uint8_t()));
  }
}

// Calls f(row-major number, element offset) for every element of the window.
template <class F>
void for_each_element(const View& view, F f) {
  for (int64_t i = 0; i < numel(view.shape); ++i) {
    int64_t offset = view.offset.count(), rest = i;
    for (int d = view.shape.rank() - 1; d >= 0; --d) {
      offset += rest % view.shape[d] * view.strides[d];
      rest /= view.shape[d];
    }
    f(i, offset);
  }
}

// Tensors may lie where the CPU does not reach: their elements go through contiguous memory of the host.
inline Result<kernels::Tensor> staging(kernels::Backend& backend, const kernels::Tensor& like) {
  return kernels::Tensor{PERI_TRY(backend.allocate(like.type.bytes(), Place::host)), like.type,
                         View::contiguous(like.type.shape)};
}
inline Status write_tensor(kernels::Backend& backend, const kernels::Tensor& to, const Value& value) {
  const kernels::Tensor host = PERI_TRY(staging(backend, to));
  for (int64_t i = 0; i < numel(to.type.shape); ++i)
    store_element(host.data() + i * size_of(to.type.dtype), value, static_cast<size_t>(i));
  return backend.copy(operand_of(host), operand_of(to));
}
// The elements' bytes in row-major order.
inline Result<std::string> bytes_of(kernels::Backend& backend, const kernels::Tensor& from) {
  const kernels::Tensor host = PERI_TRY(staging(backend, from));
  PERI_TRY(backend.copy(operand_of(from), operand_of(host)));
  PERI_TRY(backend.synchronize());
  return std::string(reinterpret_cast<const char*>(host.data()), from.type.bytes().count());
}
inline Result<Value> read_tensor(kernels::Backend& backend, const kernels::Tensor& from) {
  const std::string bytes = PERI_TRY(bytes_of(backend, from));
  Value value = zeros(from.type);
  for (int64_t i = 0; i < numel(from.type.shape); ++i)
    load_element(reinterpret_cast<const std::byte*>(bytes.data()) + i * size_of(from.type.dtype), value,
                 static_cast<size_t>(i));
  return value;
}
inline Result<kernels::Tensor> make_tensor(kernels::Backend& backend, const Value& value) {
  kernels::Tensor tensor{PERI_TRY(backend.allocate(value.type.bytes(), value.type.place)), value.type,
                         View::contiguous(value.type.shape)};
  PERI_TRY(write_tensor(backend, tensor, value));
  return tensor;
}

}  // namespace peri::testing
