// The headers come from the source tree by .incbin, so that they are ordinary files to their readers.
#include "kernels/cuda/nvrtc/source.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>

#include "core/embed.hpp"

PERI_EMBED(ops, "core/ops/ops.def")
PERI_EMBED(scalar, "core/types/scalar.hpp")
PERI_EMBED(scalar_float, "core/types/scalar_float.hpp")
PERI_EMBED(std, "kernels/cuda/nvrtc/source_std.cuh")
PERI_EMBED(op, "kernels/cuda/nvrtc/source_op.cuh")
PERI_EMBED(elements, "kernels/cuda/nvrtc/source_elements.cuh")
PERI_EMBED(sum_order, "kernels/compute/sum_order.hpp")
PERI_EMBED(fold, "kernels/cuda/nvrtc/source_fold.cuh")
PERI_EMBED(pointwise, "kernels/cuda/compute/pointwise.cuh")
PERI_EMBED(creation, "kernels/cuda/compute/creation.cuh")
PERI_EMBED(reduce, "kernels/cuda/compute/reduce.cuh")
PERI_EMBED(normalisation, "kernels/cuda/compute/normalisation.cuh")
PERI_EMBED(copy, "kernels/cuda/compute/copy.cuh")
PERI_EMBED(sort, "kernels/cuda/compute/sort.cuh")
PERI_EMBED(sort_order, "kernels/compute/sort_order.hpp")
PERI_EMBED(gather, "kernels/cuda/indexing/gather.cuh")
PERI_EMBED(scatter, "kernels/cuda/indexing/scatter.cuh")
PERI_EMBED(scan, "kernels/cuda/compute/scan.cuh")
PERI_EMBED(scan_order, "kernels/compute/scan_order.hpp")
PERI_EMBED(rope, "kernels/cuda/compute/rope.cuh")
PERI_EMBED(attention, "kernels/cuda/compute/attention.cuh")

namespace peri::kernels::cuda {
namespace {

constexpr const char* kStandard = "#include \"kernels/cuda/nvrtc/source_std.cuh\"\n";

}  // namespace

std::span<const Header> headers() {
  static const Header headers[] = {
      {"bit", kStandard},
      {"cmath", kStandard},
      {"concepts", kStandard},
      {"cstdint", kStandard},
      {"limits", kStandard},
      {"type_traits", kStandard},
      {"core/ops/op.hpp", peri_embedded_op},
      {"core/ops/ops.def", peri_embedded_ops},
      {"core/types/scalar.hpp", peri_embedded_scalar},
      {"core/types/scalar_float.hpp", peri_embedded_scalar_float},
      {"kernels/cuda/nvrtc/source_std.cuh", peri_embedded_std},
      {"kernels/cuda/nvrtc/source_elements.cuh", peri_embedded_elements},
      {"kernels/compute/sum_order.hpp", peri_embedded_sum_order},
      {"kernels/cuda/nvrtc/source_fold.cuh", peri_embedded_fold},
      {"kernels/cuda/compute/pointwise.cuh", peri_embedded_pointwise},
      {"kernels/cuda/compute/creation.cuh", peri_embedded_creation},
      {"kernels/cuda/compute/reduce.cuh", peri_embedded_reduce},
      {"kernels/cuda/compute/normalisation.cuh", peri_embedded_normalisation},
      {"kernels/cuda/compute/copy.cuh", peri_embedded_copy},
      {"kernels/cuda/compute/sort.cuh", peri_embedded_sort},
      {"kernels/compute/sort_order.hpp", peri_embedded_sort_order},
      {"kernels/cuda/indexing/gather.cuh", peri_embedded_gather},
      {"kernels/cuda/indexing/scatter.cuh", peri_embedded_scatter},
      {"kernels/cuda/compute/scan.cuh", peri_embedded_scan},
      {"kernels/compute/scan_order.hpp", peri_embedded_scan_order},
      {"kernels/cuda/compute/rope.cuh", peri_embedded_rope},
      {"kernels/cuda/compute/attention.cuh", peri_embedded_attention},
  };
  return headers;
}

const char* element(DType dtype) {
  return dtype == DType::boolean ? "boolean" : to_string(dtype);
}

Constants& Constants::add(int64_t word) {
  words_.push_back(word);
  return *this;
}

Constants& Constants::add(double word) {
  return add(std::bit_cast<int64_t>(word));
}

Constants& Constants::add(const Constants& others) {
  words_.insert(words_.end(), others.words_.begin(), others.words_.end());
  return *this;
}

Constants& Constants::add(const Space& space) {
  auto add_dims = [&](std::span<const int64_t> dims, int64_t instead) {
    if (dims.empty()) words_.push_back(instead);
    words_.insert(words_.end(), dims.begin(), dims.end());
  };
  words_.push_back(space.total());
  add_dims(space.shape, 1);
  for (const Strides& strides : space.strides) add_dims(strides, 0);
  return *this;
}

int rank_of(const Space& space) {
  return std::max(1, space.shape.rank());
}

const char* index_type(const Space& space) {
  return space.total() < int64_t(1) << 31 ? "uint32_t" : "int64_t";
}

}  // namespace peri::kernels::cuda
