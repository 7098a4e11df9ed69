// The headers come from the source tree by .incbin, so that they are ordinary files to their readers.
#include "kernels/cuda/source.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

// PERI_EMBED(name, path): `name` is the file's text, ending with a zero byte. The assembler searches the
// include directories.
#define PERI_EMBED(name, path)                                                                          \
  asm(".pushsection .rodata\n.local peri_embedded_" #name "\nperi_embedded_" #name ":\n.incbin \"" path \
      "\"\n.byte 0\n.popsection\n");                                                                    \
  extern "C" const char peri_embedded_##name[];

PERI_EMBED(ops, "core/ops.def")
PERI_EMBED(scalar, "core/scalar.hpp")
PERI_EMBED(scalar_float, "core/scalar_float.hpp")
PERI_EMBED(std, "kernels/cuda/source_std.cuh")
PERI_EMBED(op, "kernels/cuda/source_op.cuh")
PERI_EMBED(elements, "kernels/cuda/source_elements.cuh")
PERI_EMBED(fold, "kernels/cuda/source_fold.cuh")
PERI_EMBED(pointwise, "kernels/cuda/pointwise.cuh")
PERI_EMBED(creation, "kernels/cuda/creation.cuh")
PERI_EMBED(reduce, "kernels/cuda/reduce.cuh")
PERI_EMBED(rows, "kernels/cuda/rows.cuh")
PERI_EMBED(copy, "kernels/cuda/copy.cuh")
PERI_EMBED(lookup, "kernels/cuda/lookup.cuh")
PERI_EMBED(rope, "kernels/cuda/rope.cuh")
PERI_EMBED(attention, "kernels/cuda/attention.cuh")

namespace peri::cuda {
namespace {

constexpr const char* kStandard = "#include \"kernels/cuda/source_std.cuh\"\n";

}  // namespace

std::span<const Header> headers() {
  static const Header headers[] = {
      {"bit", kStandard},
      {"cmath", kStandard},
      {"concepts", kStandard},
      {"cstdint", kStandard},
      {"limits", kStandard},
      {"type_traits", kStandard},
      {"core/op.hpp", peri_embedded_op},
      {"core/ops.def", peri_embedded_ops},
      {"core/scalar.hpp", peri_embedded_scalar},
      {"core/scalar_float.hpp", peri_embedded_scalar_float},
      {"kernels/cuda/source_std.cuh", peri_embedded_std},
      {"kernels/cuda/source_elements.cuh", peri_embedded_elements},
      {"kernels/cuda/source_fold.cuh", peri_embedded_fold},
      {"kernels/cuda/pointwise.cuh", peri_embedded_pointwise},
      {"kernels/cuda/creation.cuh", peri_embedded_creation},
      {"kernels/cuda/reduce.cuh", peri_embedded_reduce},
      {"kernels/cuda/rows.cuh", peri_embedded_rows},
      {"kernels/cuda/copy.cuh", peri_embedded_copy},
      {"kernels/cuda/lookup.cuh", peri_embedded_lookup},
      {"kernels/cuda/rope.cuh", peri_embedded_rope},
      {"kernels/cuda/attention.cuh", peri_embedded_attention},
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
  auto add_dims = [&](const Dims& dims, int64_t instead) {
    if (dims.rank() == 0) words_.push_back(instead);
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

}  // namespace peri::cuda
