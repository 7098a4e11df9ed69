// The table of inner loops, expanded from ops.def through core/types/scalar.hpp.
#include "kernels/host/compute/tile_ops.hpp"

#include <type_traits>

#include "core/types/scalar.hpp"
#include "kernels/host/simd/isa.hpp"

namespace peri::kernels::host {
namespace {

// A comparison's 0 or 1 goes through int32, as before AVX-512 no instruction converts float to int64.
template <class Out, class T>
PERI_SCALAR Out to_register(T value) {
  if constexpr (std::is_same_v<Out, T>)
    return value;
  else
    return static_cast<int32_t>(value);
}

// sin and cos of a tile without huge angles: the same bits as by the table's expression.
template <Op op>
constexpr bool kHasUsualForm = op == Op::sin || op == Op::cos;

template <Op op>
struct UsualLoop {
  // Short enough that a huge angle slows few others down, and that the second pass finds x in L1.
  static constexpr int64_t kPiece = 256;

  PERI_SCALAR static void run(void* out, const void* const* in, int64_t count) {
    auto* to = static_cast<float*>(out);
    auto* x = static_cast<const float*>(in[0]);
    for (int64_t i = 0; i < count; i += kPiece) piece(to + i, x + i, count - i < kPiece ? count - i : kPiece);
  }

 private:
  PERI_SCALAR static void piece(float* to, const float* x, int64_t count) {
    uint32_t huge = 0;
    for (int64_t i = 0; i < count; ++i) huge |= scalar::absolute(x[i]) <= scalar::kUsualAngle ? 0u : 1u;
    if (huge == 0) {
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) to[i] = scalar::sine_of_usual(x[i], op == Op::cos);
    } else {
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) to[i] = scalar::evaluate<op, float>(x[i]);
    }
  }
};

template <Op op, class T, int arity, class Out>
struct Loop {
  PERI_SCALAR static void run(void* out, const void* const* in, int64_t count) {
    auto* to = static_cast<Out*>(out);
    auto* x = static_cast<const T*>(in[0]);
    if constexpr (arity == 1) {
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) to[i] = to_register<Out>(scalar::evaluate<op, T>(x[i]));
    } else if constexpr (arity == 2) {
      auto* y = static_cast<const T*>(in[1]);
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) to[i] = to_register<Out>(scalar::evaluate<op, T>(x[i], y[i]));
    } else {
      auto* condition = static_cast<const int64_t*>(in[0]);
      auto *y = static_cast<const T*>(in[1]), *z = static_cast<const T*>(in[2]);
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i)
        to[i] = scalar::evaluate<op, T>(static_cast<T>(scalar::truth(condition[i] != 0)), y[i], z[i]);
    }
  }
};

template <Op op, class T, int arity, ResultDType result>
TileOp loop() {
  static_assert(arity < 3 || op == Op::where, "an op of three operands takes a condition first");
  if constexpr (op == Op::cast || !scalar::defined_for<op, T>())
    return nullptr;
  else if constexpr (kHasUsualForm<op>)
    return for_this_cpu<UsualLoop<op>>();
  else
    return for_this_cpu<Loop<op, T, arity, std::conditional_t<result == ResultDType::boolean, int64_t, T>>>();
}

}  // namespace

TileOp tile_op(Op op, DType last) {
  using enum ResultDType;
  switch (op) {
#define PERI_POINTWISE(name, arity, attributes, dtypes, result, ...) \
  case Op::name:                                                     \
    return is_float(last) ? loop<Op::name, float, arity, result>() : loop<Op::name, int64_t, arity, result>();
#define PERI_OP(name, ...) \
  case Op::name:           \
    return nullptr;
#include "core/ops/ops.def"
  }
  return nullptr;
}

}  // namespace peri::kernels::host
