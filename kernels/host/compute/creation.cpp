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

// Numbers given in double: value(i) for element i.
template <class Value>
CompiledHostKernel make_numbers(const KernelCall& call, Value value) {
  return make(call, [dtype = call.dtype(), value](int64_t first, int64_t count, void* registers) {
    for (int64_t i = 0; i < count; ++i) {
      if (is_float(dtype))
        static_cast<float*>(registers)[i] = float_register(dtype, value(first + i));
      else
        static_cast<int64_t*>(registers)[i] = integer_register(dtype, value(first + i));
    }
  });
}

}  // namespace

CompiledHostKernel compile_creation(const KernelCall& call) {
  const Attributes& attributes = call.spec.attributes;
  auto seed = [&] { return static_cast<uint64_t>(attributes.as<Op::rand, Op::randn>().seed); };
  switch (op_of<CreationOp>(call.spec.op)) {
    case CreationOp::full:
      return make_numbers(call, [value = attributes.as<Op::full>().value](int64_t) { return value; });
    case CreationOp::arange: {
      const auto arange = attributes.as<Op::arange>();
      return make_numbers(call, [start = arange.start, step = arange.step](int64_t i) {
        return start + step * static_cast<double>(i);
      });
    }
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
