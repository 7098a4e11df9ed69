// Creation: full, arange, rand and randn, element by element of the result's logical order, whatever its
// layout.
#include <algorithm>
#include <span>
#include <vector>

#include "core/ops/attributes_of.hpp"
#include "core/types/random.hpp"
#include "kernels/compute/space.hpp"
#include "kernels/host/compute/compile.hpp"
#include "kernels/host/compute/threads.hpp"
#include "kernels/host/simd/elements.hpp"
#include "kernels/host/simd/isa.hpp"
#include "kernels/host/simd/strided_copy.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kGrain = 16 * 1024;

// fill(first, count, registers): the registers of elements first .. first + count - 1.
template <class Fill>
class CreationKernel final : public Kernel {
 public:
  CreationKernel(const KernelCall& call, Fill fill)
      : space_(simplified({call.out().shape, {call.out().strides}})),
        size_(size_of(call.dtype())),
        register_size_(register_size(call.dtype())),
        store_(store_tile(call.dtype())),
        fill_(std::move(fill)) {}

  void run(Addresses, Addresses outputs) const override {
    parallel_for(space_.total(), kGrain, [&](int64_t begin, int64_t end) {
      alignas(64) std::byte registers[kTile * kRegisterBytes];
      for (int64_t at = begin; at < end; at += kTile) {
        const int64_t count = std::min(kTile, end - at);
        fill_(at, count, static_cast<void*>(registers));
        for_each_run(space_, 0, at, count, [&](int64_t done, int64_t n, int64_t offset) {
          store_(registers + done * register_size_, outputs[0] + offset * size_, space_.inner_stride(0), n);
        });
      }
    });
  }

 private:
  Space space_;
  int64_t size_, register_size_;
  StoreTile store_;
  Fill fill_;
};

template <class Fill>
CompiledHostKernel make(const KernelCall& call, Fill fill) {
  return std::make_unique<CreationKernel<Fill>>(call, std::move(fill));
}

// The same value everywhere.
class FullKernel final : public Kernel {
 public:
  FullKernel(const KernelCall& call, double number) {
    const DType dtype = call.dtype();
    const View& out = call.out();
    fill_ = StridedCopy(out.shape, broadcast_to(View(), out.shape).strides, out.strides, size_of(dtype));
    const float real = float_register(dtype, number);
    const int64_t whole = integer_register(dtype, number);
    store_tile(dtype)(is_float(dtype) ? static_cast<const void*>(&real) : &whole,
                      reinterpret_cast<std::byte*>(&value_), 1, 1);
  }
  void run(Addresses, Addresses outputs) const override {
    fill_.run_parallel(reinterpret_cast<const std::byte*>(&value_), outputs[0]);
  }

 private:
  StridedCopy fill_;
  uint64_t value_ = 0;  // its first bytes are the element's, as the machine is little-endian
};

// start + step * i for i = first, first + 1, ..., as registers. The elements' numbers below 2^53 are exact in
// double.
struct ArangeFloats {
  PERI_SCALAR static void run(float* to, double start, double step, int64_t first, int64_t count) {
    const auto begin = static_cast<double>(first);
#pragma GCC ivdep
    for (int32_t i = 0; i < static_cast<int32_t>(count); ++i)
      to[i] = static_cast<float>(start + step * (begin + static_cast<double>(i)));
  }
};
struct ArangeWide {
  PERI_SCALAR static void run(int64_t* to, double start, double step, int64_t first, int64_t count) {
    const auto begin = static_cast<double>(first);
#pragma GCC ivdep
    for (int32_t i = 0; i < static_cast<int32_t>(count); ++i)
      to[i] = scalar::convert<int64_t>(start + step * (begin + static_cast<double>(i)));
  }
};

CompiledHostKernel compile_arange(const KernelCall& call) {
  const auto arange = call.spec.attributes.as<Op::arange>();
  const double start = arange.start, step = arange.step;
  const DType dtype = call.dtype();
  if (dtype == DType::f32)
    return make(call, [=, run = for_this_cpu<ArangeFloats>()](int64_t first, int64_t count, void* registers) {
      run(static_cast<float*>(registers), start, step, first, count);
    });
  if (dtype == DType::i64)
    return make(call, [=, run = for_this_cpu<ArangeWide>()](int64_t first, int64_t count, void* registers) {
      run(static_cast<int64_t*>(registers), start, step, first, count);
    });
  return make(call, [=](int64_t first, int64_t count, void* registers) {
    for (int64_t i = 0; i < count; ++i) {
      const double number = start + step * static_cast<double>(first + i);
      if (is_float(dtype))
        static_cast<float*>(registers)[i] = float_register(dtype, number);
      else
        static_cast<int64_t*>(registers)[i] = integer_register(dtype, number);
    }
  });
}

}  // namespace

CompiledHostKernel compile_creation(const KernelCall& call) {
  const Attributes& attributes = call.spec.attributes;
  auto seed = [&] { return static_cast<uint64_t>(attributes.as<Op::rand, Op::randn>().seed); };
  switch (op_of<CreationOp>(call.spec.op)) {
    case CreationOp::full:
      return std::make_unique<FullKernel>(call, attributes.as<Op::full>().value);
    case CreationOp::arange:
      return compile_arange(call);
    case CreationOp::rand:
      return make(call, [seed = seed(), dtype = call.dtype()](int64_t first, int64_t count, void* registers) {
        fill_uniform(seed, static_cast<uint64_t>(first), dtype,
                     std::span(static_cast<float*>(registers), static_cast<size_t>(count)));
      });
    case CreationOp::randn:
      return make(call, [seed = seed()](int64_t first, int64_t count, void* registers) {
        fill_normal(seed, static_cast<uint64_t>(first),
                    std::span(static_cast<float*>(registers), static_cast<size_t>(count)));
      });
  }
  PERI_CHECK(false, "not a creation");
}

}  // namespace peri::kernels::host
