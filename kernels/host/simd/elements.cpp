// The loops that load, store, round and cast tiles.
#include "kernels/host/simd/elements.hpp"

#include <limits>

#include "kernels/host/simd/isa.hpp"

namespace peri::kernels::host {
namespace {

template <DType dtype>
struct Load {
  PERI_SCALAR static void run(void* registers, const std::byte* memory, int64_t stride, int64_t count) {
    using E = Element<dtype>;
    auto* to = static_cast<typename E::Register*>(registers);
    auto* from = reinterpret_cast<const typename E::Memory*>(memory);
    if (stride == 1) {
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) to[i] = E::load(from[i]);
    } else if (stride == 0) {
      const auto value = E::load(from[0]);
      for (int64_t i = 0; i < count; ++i) to[i] = value;
    } else {
      for (int64_t i = 0; i < count; ++i) to[i] = E::load(from[i * stride]);
    }
  }
};

template <DType dtype>
struct Store {
  PERI_SCALAR static void run(const void* registers, std::byte* memory, int64_t stride, int64_t count) {
    using E = Element<dtype>;
    auto* from = static_cast<const typename E::Register*>(registers);
    auto* to = reinterpret_cast<typename E::Memory*>(memory);
    if (stride == 1) {
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) to[i] = E::store(from[i]);
    } else {
      for (int64_t i = 0; i < count; ++i) to[i * stride] = E::store(from[i]);
    }
  }
};

// Registers of one dtype to registers of another, by the table's cast.
template <class From, DType to_dtype>
struct Cast {
  PERI_SCALAR static void run(void* to, const void* from, int64_t count) {
    using E = Element<to_dtype>;
    auto* out = static_cast<typename E::Register*>(to);
    auto* in = static_cast<const From*>(from);
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) out[i] = E::load(cast(in[i]));
  }
  PERI_SCALAR static typename Element<to_dtype>::Memory cast(From x) {
    if constexpr (to_dtype == DType::boolean)
      return scalar::convert<bool>(x);
    else if constexpr (is_float(to_dtype))
      return Element<to_dtype>::store(scalar::convert<float>(x));
    else
      return scalar::convert<typename Element<to_dtype>::Memory>(x);
  }
};

}  // namespace

LoadTile load_tile(DType dtype) {
  return with_dtype(dtype, []<DType t>() { return LoadTile(for_this_cpu<Load<t>>()); });
}

StoreTile store_tile(DType dtype) {
  return with_dtype(dtype, []<DType t>() { return StoreTile(for_this_cpu<Store<t>>()); });
}

int64_t integer_register(DType dtype, double number) {
  switch (dtype) {
    case DType::i32:
      return scalar::convert<int32_t>(number);
    case DType::u8:
      return scalar::convert<uint8_t>(number);
    case DType::boolean:
      return number != 0;
    case DType::i64:
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      break;
  }
  return scalar::convert<int64_t>(number);
}

RoundTile cast_tile(DType from, DType to) {
  const bool widens = from == to || (is_float(from) && to == DType::f32) ||
                      (!is_float(from) && to == DType::i64) || (from == DType::boolean && is_integer(to));
  if (widens) return nullptr;
  return with_dtype(to, [from]<DType t>() {
    return RoundTile(is_float(from) ? for_this_cpu<Cast<float, t>>() : for_this_cpu<Cast<int64_t, t>>());
  });
}

RoundTile round_tile(DType dtype) {
  return dtype == DType::boolean ? nullptr : cast_tile(is_float(dtype) ? DType::f32 : DType::i64, dtype);
}

}  // namespace peri::kernels::host
