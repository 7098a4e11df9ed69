// sort and topk: each line's keys with their positions, sorted whole or only as far as is asked for.
#include <algorithm>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/compute/sort_order.hpp"
#include "kernels/host/compute/compile.hpp"
#include "kernels/host/compute/threads.hpp"
#include "kernels/host/simd/elements.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kGrain = 4096;  // elements of a thread

// T: a register.
template <class T>
class SortKernel final : public Kernel {
 public:
  SortKernel(const KernelCall& call, SortedLines sorted)
      : sorted_(std::move(sorted)), dtype_(call.dtype()), load_(load_tile(dtype_)) {}

  void run(Addresses inputs, Addresses outputs) const override {
    const int64_t length = sorted_.length;
    if (sorted_.kept == 0) return;
    parallel_for(sorted_.lines.total(), kGrain / length, [&](int64_t begin, int64_t end) {
      auto* items = reinterpret_cast<Item*>(thread_scratch(length * sizeof(Item)));
      for (int64_t line = begin; line < end; ++line) {
        const std::byte* in = inputs[0] + sorted_.lines.offset(2, line) * size_of(dtype_);
        sort(in, items);
        write(in, items, outputs[0] + sorted_.lines.offset(0, line) * size_of(dtype_),
              reinterpret_cast<int64_t*>(outputs[1]) + sorted_.lines.offset(1, line));
      }
    });
  }

 private:
  using Key = decltype(order_key(T()));
  // Equal keys are told apart by their positions, so that any way of sorting keeps their order.
  struct Item {
    Key key;
    uint32_t position;
    bool operator<(const Item& other) const {
      return key != other.key ? key < other.key : position < other.position;
    }
  };

  void sort(const std::byte* in, Item* items) const {
    T tile[kTile];
    for (int64_t at = 0; at < sorted_.length; at += kTile) {
      const int64_t count = std::min(kTile, sorted_.length - at);
      load_(tile, in + at * sorted_.in_stride * size_of(dtype_), sorted_.in_stride, count);
      for (int64_t i = 0; i < count; ++i) {
        const Key key = order_key(tile[i]);
        items[at + i] = {sorted_.descending ? ~key : key, static_cast<uint32_t>(at + i)};
      }
    }
    if (sorted_.kept < sorted_.length)
      std::partial_sort(items, items + sorted_.kept, items + sorted_.length);
    else
      std::sort(items, items + sorted_.length);
  }

  void write(const std::byte* in, const Item* items, std::byte* values, int64_t* positions) const {
    const int64_t size = size_of(dtype_);
    for (int64_t i = 0; i < sorted_.kept; ++i) {
      const int64_t position = items[i].position;
      std::copy_n(in + position * sorted_.in_stride * size, size, values + i * sorted_.values_stride * size);
      positions[i * sorted_.positions_stride] = position;
    }
  }

  SortedLines sorted_;
  DType dtype_;
  LoadTile load_;
};

}  // namespace

CompiledHostKernel compile_sorting(const KernelCall& call) {
  SortedLines sorted = PERI_TRY(sorted_lines(call));
  if (is_float(call.dtype())) return std::make_unique<SortKernel<float>>(call, std::move(sorted));
  return std::make_unique<SortKernel<int64_t>>(call, std::move(sorted));
}

}  // namespace peri::kernels::host
