// Reductions over any dimensions, in the order of sum_order.hpp. First every block of every result is folded,
// by rows (a block's elements lie side by side) or by columns (neighbouring results do); then each result's
// blocks.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/host/compute/compile.hpp"
#include "kernels/host/compute/fold.hpp"
#include "kernels/host/compute/threads.hpp"
#include "kernels/host/simd/elements.hpp"
#include "kernels/host/simd/isa.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kGrain = 32 * 1024;  // elements
constexpr int64_t kColumns = 256;      // results folded side by side

template <Op op, class T>
struct FoldBlock {
  PERI_SCALAR static void run(const T* x, int64_t count, T* result) { *result = fold_block<op, T>(x, count); }
};

// lanes[c] = op(lanes[c], x[c])
template <Op op, class T>
struct FoldRow {
  PERI_SCALAR static void run(T* lanes, const T* x, int64_t columns) {
#pragma GCC ivdep
    for (int64_t c = 0; c < columns; ++c) lanes[c] = scalar::evaluate<op, T>(lanes[c], x[c]);
  }
};

template <Op op, class T>
class ReductionKernel final : public Kernel {
 public:
  ReductionKernel(const KernelCall& call, Finish finish, ReductionSpaces spaces)
      : by_columns_(spaces.is_by_columns()),
        kept_(std::move(spaces.kept)),
        reduced_(std::move(spaces.reduced)),
        in_dtype_(call.inputs[0].dtype),
        out_dtype_(call.dtype()),
        length_(reduced_.total()),
        blocks_(std::max<int64_t>(1, (length_ + kSumBlock - 1) / kSumBlock)),
        finish_(finish),
        load_(load_tile(in_dtype_)),
        store_(store_tile(out_dtype_)),
        fold_block_(for_this_cpu<FoldBlock<op, T>>()),
        fold_row_(for_this_cpu<FoldRow<op, T>>()) {
    blocks_of_results_.resize(static_cast<size_t>(kept_.total() * blocks_));
  }

  void run(Addresses inputs, Addresses outputs) const override {
    if (kept_.total() == 0) return;
    const int64_t block_length = std::min(kSumBlock, std::max<int64_t>(1, length_));
    if (by_columns_) {
      const int64_t inner = kept_.inner(), tiles = (inner + kColumns - 1) / kColumns;
      const int64_t work = block_length * std::min(inner, kColumns);
      parallel_for(kept_.total() / inner * tiles * blocks_, kGrain / work, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t block = i % blocks_, tile = i / blocks_ % tiles, outer = i / blocks_ / tiles;
          fold_columns(inputs[0], outer * inner + tile * kColumns,
                       std::min(kColumns, inner - tile * kColumns), block);
        }
      });
    } else {
      parallel_for(kept_.total() * blocks_, kGrain / block_length, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) fold_row_block(inputs[0], i / blocks_, i % blocks_);
      });
    }
    parallel_for(kept_.total(), kGrain / blocks_, [&](int64_t begin, int64_t end) {
      for_each_run(kept_, 0, begin, end - begin, [&](int64_t done, int64_t count, int64_t offset) {
        store_results(begin + done, count, outputs[0] + offset * size_of(out_dtype_));
      });
    });
  }

 private:
  int64_t block_size(int64_t block) const { return std::min(kSumBlock, length_ - block * kSumBlock); }

  void fold_row_block(const std::byte* in, int64_t result, int64_t block) const {
    const int64_t size = size_of(in_dtype_), count = block_size(block), stride = reduced_.inner_stride(0);
    in += kept_.offset(1, result) * size;
    alignas(64) T tile[kSumBlock];
    const T* x = tile;
    if (is_register(in_dtype_) && reduced_.is_contiguous(0))
      x = reinterpret_cast<const T*>(in) + block * kSumBlock;
    else
      for_each_run(reduced_, 0, block * kSumBlock, count, [&](int64_t done, int64_t n, int64_t offset) {
        load_(tile + done, in + offset * size, stride, n);
      });
    fold_block_(x, count, &blocks_of_results_[result * blocks_ + block]);
  }

  void fold_columns(const std::byte* in, int64_t result, int64_t columns, int64_t block) const {
    const int64_t size = size_of(in_dtype_), count = block_size(block), lanes = lanes_used(count);
    const int64_t column_stride = kept_.inner_stride(1), row_stride = reduced_.inner_stride(0);
    in += kept_.offset(1, result) * size;
    alignas(64) T accumulators[kSumLanes * kColumns];
    alignas(64) T row[kColumns];
    std::fill_n(accumulators, lanes * kColumns, identity<op, T>());
    const bool direct = is_register(in_dtype_) && column_stride == 1;
    for_each_run(reduced_, 0, block * kSumBlock, count, [&](int64_t done, int64_t n, int64_t offset) {
      for (int64_t i = 0; i < n; ++i) {
        const std::byte* from = in + (offset + i * row_stride) * size;
        if (!direct) load_(row, from, column_stride, columns);
        fold_row_(accumulators + (done + i) % kSumLanes * kColumns,
                  direct ? reinterpret_cast<const T*>(from) : row, columns);
      }
    });
    for (int64_t width = lanes / 2; width > 0; width /= 2)
      for (int64_t l = 0; l < width; ++l)
        fold_row_(accumulators + l * kColumns, accumulators + (l + width) * kColumns, columns);
    for (int64_t c = 0; c < columns; ++c)
      blocks_of_results_[(result + c) * blocks_ + block] = accumulators[c];
  }

  void store_results(int64_t first, int64_t count, std::byte* out) const {
    alignas(64) T tile[kTile];
    const int64_t stride = kept_.inner_stride(0);
    for (int64_t done = 0; done < count; done += kTile) {
      const int64_t n = std::min(kTile, count - done);
      for (int64_t i = 0; i < n; ++i) {
        const T* blocks = &blocks_of_results_[(first + done + i) * blocks_];
        Wide<T> total = identity<op, Wide<T>>();
        for (int64_t b = 0; b < blocks_; ++b)
          total = scalar::evaluate<op, Wide<T>>(total, Wide<T>(blocks[b]));
        tile[i] = static_cast<T>(finished(finish_, total, length_));
      }
      store_(tile, out + done * stride * size_of(out_dtype_), stride, n);
    }
  }

  bool by_columns_;
  Space kept_, reduced_;  // operands out, in; operand in
  DType in_dtype_, out_dtype_;
  int64_t length_, blocks_;
  Finish finish_;
  LoadTile load_;
  StoreTile store_;
  void (*fold_block_)(const T*, int64_t, T*);
  void (*fold_row_)(T*, const T*, int64_t);
  mutable std::vector<T> blocks_of_results_;  // [results, blocks]
};

// The first position of the largest (or smallest) value of each line along one dimension; a NaN beats every
// number.
template <Op comparison, class T>
class ArgReductionKernel final : public Kernel {
 public:
  // `kept`: operands out, in.
  ArgReductionKernel(const KernelCall& call, int dim, Space kept)
      : kept_(std::move(kept)),
        dtype_(call.inputs[0].dtype),
        length_(call.in(0).shape[dim]),
        stride_(call.in(0).strides[dim]),
        load_(load_tile(dtype_)) {}

  void run(Addresses inputs, Addresses outputs) const override {
    if (kept_.total() == 0) return;
    const int64_t columns = std::abs(stride_) > 1 ? kColumns : 1;  // lines side by side share cache lines
    const int64_t tiles = (kept_.inner() + columns - 1) / columns;
    parallel_for(kept_.total() / kept_.inner() * tiles, kGrain / (length_ * columns),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t first = i % tiles * columns, line = i / tiles * kept_.inner() + first;
                     find(inputs[0] + kept_.offset(1, line) * size_of(dtype_),
                          std::min(columns, kept_.inner() - first),
                          reinterpret_cast<int64_t*>(outputs[0]) + kept_.offset(0, line));
                   }
                 });
  }

 private:
  void find(const std::byte* in, int64_t columns, int64_t* out) const {
    const int64_t size = size_of(dtype_), column_stride = kept_.inner_stride(1);
    T best[kColumns];
    int64_t position[kColumns] = {};
    alignas(64) T tile[kTile];
    load_(best, in, column_stride, columns);
    if (columns == 1) {
      for (int64_t at = 0; at < length_; at += kTile) {
        const int64_t count = std::min(kTile, length_ - at);
        load_(tile, in + at * stride_ * size, stride_, count);
        for (int64_t i = 0; i < count; ++i) take(tile[i], at + i, best[0], position[0]);
      }
    } else {
      for (int64_t i = 1; i < length_; ++i) {
        load_(tile, in + i * stride_ * size, column_stride, columns);
        for (int64_t c = 0; c < columns; ++c) take(tile[c], i, best[c], position[c]);
      }
    }
    for (int64_t c = 0; c < columns; ++c) out[c * kept_.inner_stride(0)] = position[c];
  }

  static void take(T x, int64_t i, T& best, int64_t& position) {
    const bool better = scalar::evaluate<comparison, T>(x, best) != 0 || x != x;
    if (better && best == best) {
      best = x;
      position = i;
    }
  }

  Space kept_;
  DType dtype_;
  int64_t length_, stride_;
  LoadTile load_;
};

template <Op op>
CompiledHostKernel make_reduction(const KernelCall& call, Finish finish = Finish::total) {
  ReductionSpaces spaces = split_reduction(call, call.spec.attributes.get<"dims">());
  if (is_float(call.inputs[0].dtype))
    return std::make_unique<ReductionKernel<op, float>>(call, finish, std::move(spaces));
  return std::make_unique<ReductionKernel<op, int64_t>>(call, finish, std::move(spaces));
}

template <Op comparison>
CompiledHostKernel make_arg_reduction(const KernelCall& call) {
  const int dim = call.spec.attributes.get<"dim">();
  Space kept = split_reduction(call, {dim}).kept;
  if (is_float(call.inputs[0].dtype))
    return std::make_unique<ArgReductionKernel<comparison, float>>(call, dim, std::move(kept));
  return std::make_unique<ArgReductionKernel<comparison, int64_t>>(call, dim, std::move(kept));
}

}  // namespace

CompiledHostKernel compile_reduction(const KernelCall& call) {
  switch (op_of<ReductionOp>(call.spec.op)) {
    case ReductionOp::sum:
      return make_reduction<Op::add>(call);
    case ReductionOp::mean:
      return make_reduction<Op::add>(call, Finish::mean);
    case ReductionOp::prod:
      return make_reduction<Op::mul>(call);
    case ReductionOp::max:
      return make_reduction<Op::maximum>(call);
    case ReductionOp::min:
      return make_reduction<Op::minimum>(call);
  }
  PERI_CHECK(false, "not a reduction");
}

CompiledHostKernel compile_arg_reduction(const KernelCall& call) {
  switch (op_of<ArgReductionOp>(call.spec.op)) {
    case ArgReductionOp::argmax:
      return make_arg_reduction<Op::gt>(call);
    case ArgReductionOp::argmin:
      return make_arg_reduction<Op::lt>(call);
  }
  PERI_CHECK(false, "not an arg-reduction");
}

}  // namespace peri::kernels::host
