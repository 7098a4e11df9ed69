// cumsum and cumprod, in the order of scan_order.hpp. Lines that lie side by side are walked together.
#include <algorithm>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/compute/scan_order.hpp"
#include "kernels/compute/sum_order.hpp"
#include "kernels/host/compute/compile.hpp"
#include "kernels/host/compute/threads.hpp"
#include "kernels/host/simd/elements.hpp"
#include "kernels/host/simd/isa.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kGrain = 32 * 1024;  // elements
constexpr int64_t kColumns = 64;       // lines walked together

// The totals of lines side by side: of the blocks and of the segments before this one, and within it.
template <class W>
struct Totals {
  alignas(64) W blocks[kColumns], segments[kColumns], elements[kColumns];
};

// One element of each of `columns` lines, `i` elements from their beginning; x becomes the total.
template <Op op, class T>
struct ScanRow {
  PERI_SCALAR static void run(Totals<Wide<T>>& totals, T* x, int64_t i, int64_t columns) {
    using W = Wide<T>;
    if (i % kScanSegment == 0) {
      for (int64_t c = 0; c < columns; ++c) {
        totals.segments[c] = scalar::evaluate<op, W>(totals.segments[c], totals.elements[c]);
        totals.elements[c] = identity<op, W>();
      }
      if (i % kScanBlock == 0)
        for (int64_t c = 0; c < columns; ++c) {
          totals.blocks[c] = scalar::evaluate<op, W>(totals.blocks[c], totals.segments[c]);
          totals.segments[c] = identity<op, W>();
        }
    }
#pragma GCC ivdep
    for (int64_t c = 0; c < columns; ++c) {
      totals.elements[c] = scalar::evaluate<op, W>(totals.elements[c], W(x[c]));
      x[c] = static_cast<T>(scalar::evaluate<op, W>(
          totals.blocks[c], scalar::evaluate<op, W>(totals.segments[c], totals.elements[c])));
    }
  }
};

// `count` elements of one line, the first `first` from its beginning.
template <Op op, class T>
struct ScanLine {
  PERI_SCALAR static void run(Totals<Wide<T>>& totals, T* x, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; ++i) ScanRow<op, T>::run(totals, x + i, first + i, 1);
  }
};

template <Op op, class T>
class ScanKernel final : public Kernel {
 public:
  explicit ScanKernel(const KernelCall& call)
      : lines_(normalised_lines(call)),
        in_size_(size_of(call.inputs[0].dtype)),
        out_size_(size_of(call.dtype())),
        load_(load_tile(call.inputs[0].dtype)),
        store_(store_tile(call.dtype())),
        scan_row_(for_this_cpu<ScanRow<op, T>>()),
        scan_line_(for_this_cpu<ScanLine<op, T>>()) {}

  void run(Addresses inputs, Addresses outputs) const override {
    if (lines_.length == 0) return;
    const int64_t inner = lines_.lines.inner();
    // Lines far apart gain nothing from company.
    const bool side_by_side = lines_.in_stride != 1 && inner > 1;
    const int64_t columns = side_by_side ? std::min(inner, kColumns) : 1,
                  tiles = (inner + columns - 1) / columns;
    if (inner == 0) return;
    parallel_for(lines_.lines.total() / inner * tiles, kGrain / (lines_.length * columns),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t column = i % tiles * columns, line = i / tiles * inner + column;
                     scan(inputs[0] + lines_.lines.offset(1, line) * in_size_,
                          outputs[0] + lines_.lines.offset(0, line) * out_size_,
                          std::min(columns, inner - column));
                   }
                 });
  }

 private:
  void scan(const std::byte* in, std::byte* out, int64_t columns) const {
    Totals<Wide<T>> totals;
    for (auto* all : {totals.blocks, totals.segments, totals.elements})
      std::fill_n(all, columns, identity<op, Wide<T>>());
    alignas(64) T tile[kTile];
    if (columns == 1) {
      for (int64_t at = 0; at < lines_.length; at += kTile) {
        const int64_t count = std::min(kTile, lines_.length - at);
        load_(tile, in + at * lines_.in_stride * in_size_, lines_.in_stride, count);
        scan_line_(totals, tile, at, count);
        store_(tile, out + at * lines_.out_stride * out_size_, lines_.out_stride, count);
      }
      return;
    }
    for (int64_t i = 0; i < lines_.length; ++i) {
      load_(tile, in + i * lines_.in_stride * in_size_, lines_.lines.inner_stride(1), columns);
      scan_row_(totals, tile, i, columns);
      store_(tile, out + i * lines_.out_stride * out_size_, lines_.lines.inner_stride(0), columns);
    }
  }

  Lines lines_;
  int64_t in_size_, out_size_;
  LoadTile load_;
  StoreTile store_;
  void (*scan_row_)(Totals<Wide<T>>&, T*, int64_t, int64_t);
  void (*scan_line_)(Totals<Wide<T>>&, T*, int64_t, int64_t);
};

template <Op op>
CompiledHostKernel make_scan(const KernelCall& call) {
  if (is_float(call.dtype())) return std::make_unique<ScanKernel<op, float>>(call);
  return std::make_unique<ScanKernel<op, int64_t>>(call);
}

}  // namespace

CompiledHostKernel compile_scan(const KernelCall& call) {
  switch (op_of<ScanOp>(call.spec.op)) {
    case ScanOp::cumsum:
      return make_scan<Op::add>(call);
    case ScanOp::cumprod:
      return make_scan<Op::mul>(call);
  }
  PERI_CHECK(false, "not a scan");
}

}  // namespace peri::kernels::host
