// contiguous and cat: every input is copied to its part of the output.
#include <algorithm>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int kThreads = 256, kUnitsPerThread = 4, kTile = 32;
constexpr int64_t kShortSide = 8;  // of a matrix that is not worth tiles
constexpr int kBoth[] = {0, 1};

// The dimension along which the input is fast, if the output is fast along the last and tiles pay; else -1.
int transposed_dimension(const Space& space) {
  const int last = space.shape.rank() - 1;
  if (last < 1 || space.strides[0][last] != 1 || space.strides[1][last] == 1 ||
      space.shape[last] < kShortSide)
    return -1;
  for (int d = 0; d < last; ++d)
    if (space.strides[1][d] == 1 && space.shape[d] >= kShortSide) return d;
  return -1;
}

CompiledCudaKernel make_transposition(Space space, int rows, int64_t bytes) {
  const int columns = space.shape.rank() - 1;
  Constants sizes;
  const int64_t row_tiles = blocks_for(space.shape[rows], kTile),
                column_tiles = blocks_for(space.shape[columns], kTile);
  sizes.add(space.shape[rows]).add(space.shape[columns]);
  for (int operand : kBoth) sizes.add(space.strides[operand][rows]).add(space.strides[operand][columns]);
  sizes.add(row_tiles).add(column_tiles);
  for (int d : {columns, rows}) {
    space.shape.erase(d);
    for (Strides& strides : space.strides) strides.erase(d);
  }
  Constants constants;
  constants.add(space).add(sizes);
  Generated generated;
  generated.text = fmt::format(
      "#include \"kernels/cuda/compute/copy.cuh\"\nusing namespace peri::kernels::cuda;\n"
      "extern \"C\" __global__ void tiles(const AddressArray<2> a, const Transposition<{}> c) {{\n"
      "  transpose<{}>(a.at[0], a.at[1], c);\n}}\n",
      rank_of(space), bytes);
  generated.launches = {{"tiles", space.total() * row_tiles * column_tiles, kThreads, constants}};
  return make_kernel(std::move(generated));
}

class CatKernel final : public Kernel {
 public:
  struct Part {
    std::shared_ptr<const Kernel> copy;
    int64_t offset;  // in the output, bytes
  };
  explicit CatKernel(std::vector<Part> parts) : parts_(std::move(parts)) {}

  Status launch(cudaStream_t stream, std::span<std::byte* const> inputs,
                std::span<std::byte* const> outputs) const override {
    for (size_t i = 0; i < parts_.size(); ++i) {
      std::byte* const out = outputs[0] + parts_[i].offset;
      PERI_TRY(parts_[i].copy->launch(stream, inputs.subspan(i, 1), std::span(&out, 1)));
    }
    return {};
  }

 private:
  std::vector<Part> parts_;  // one per input
};

}  // namespace

int64_t elements_per_unit(const Space& space, std::span<const int> operands, int64_t bytes,
                          std::span<const int64_t> steps) {
  int64_t elements = 16 / bytes;
  auto divides = [&](int64_t number) {
    while (elements > 1 && number % elements != 0) elements /= 2;
  };
  divides(space.inner());
  for (int64_t step : steps) divides(step);
  for (int n : operands) {
    if (space.inner_stride(n) != 1) return 1;
    for (int d = 0; d + 1 < space.shape.rank(); ++d) divides(space.strides[n][d]);
  }
  return elements;
}

Space in_units(Space space, std::span<const int> operands, int64_t elements) {
  const int last = space.shape.rank() - 1;
  if (elements == 1) return space;
  space.shape[last] /= elements;
  for (int n : operands)
    for (int d = 0; d < last; ++d) space.strides[n][d] /= elements;
  return space;
}

CompiledCudaKernel make_copy(const Shape& shape, const Strides& in, const Strides& out, int64_t bytes) {
  const Space space = reordered({shape, {out, in}});
  const int64_t elements = elements_per_unit(space, kBoth, bytes);
  if (const int rows = transposed_dimension(space); rows >= 0) return make_transposition(space, rows, bytes);
  const Space units = in_units(space, kBoth, elements);
  auto launch = [](const char* entry, const Space& walk) {
    Constants constants;
    constants.add(walk);
    return Launch{entry, blocks_for(walk.total(), kThreads * kUnitsPerThread), kThreads, constants};
  };
  auto kernel = [](const char* entry, int64_t unit, const Space& walk) {
    return fmt::format(
        "extern \"C\" __global__ void {}(const AddressArray<2> a, const Space<2, {}> walk) {{\n"
        "  copy<{}, {}>(a.at[0], a.at[1], walk);\n}}\n",
        entry, rank_of(walk), unit, index_type(walk));
  };
  Generated generated;
  generated.text = "#include \"kernels/cuda/compute/copy.cuh\"\nusing namespace peri::kernels::cuda;\n" +
                   kernel("units", bytes * elements, units) + kernel("elements", bytes, space);
  generated.launches = {launch("units", units)};
  generated.unaligned = {launch("elements", space)};
  generated.alignment = bytes * elements;
  return make_kernel(std::move(generated));
}

static CompiledCudaKernel make_cat(const KernelCall& call) {
  const std::vector<int64_t> offsets = cat_offsets(call);
  std::vector<CatKernel::Part> parts;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    auto copy =
        PERI_TRY(make_copy(call.in(i).shape, call.in(i).strides, call.out().strides, size_of(call.dtype())));
    parts.push_back({std::move(copy), offsets[i]});
  }
  return std::make_shared<CatKernel>(std::move(parts));
}

CompiledCudaKernel compile_copy(const KernelCall& call) {
  switch (op_of<CopyOp>(call.spec.op)) {
    case CopyOp::contiguous:
      return make_copy(call.out().shape, call.in(0).strides, call.out().strides, size_of(call.dtype()));
    case CopyOp::cat:
      return make_cat(call);
  }
  PERI_CHECK(false, "not a copy");
}

}  // namespace peri::kernels::cuda
