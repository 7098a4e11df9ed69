// embedding, index_select and index_copy: which slices, and in which units they are moved.
#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kUnitsPerBlock = 4096;  // of a slice that is written

// The bits of 8 bytes of missing elements.
int64_t missing_bits(DType dtype) {
  const int64_t bits = 8 * size_of(dtype);
  uint64_t word = missing_value(dtype);
  for (int64_t have = bits; have < 64; have *= 2) word |= word << have;
  return std::bit_cast<int64_t>(word);
}

class IndexCopyKernel final : public Kernel {
 public:
  IndexCopyKernel(std::shared_ptr<const Kernel> copy, std::shared_ptr<const Kernel> insert, bool same_window)
      : copy_(std::move(copy)), insert_(std::move(insert)), same_window_(same_window) {}

  Status launch(cudaStream_t stream, std::span<std::byte* const> inputs,
                std::span<std::byte* const> outputs) const override {
    if (needs_copy(inputs, outputs)) PERI_TRY(copy_->launch(stream, inputs.subspan(0, 1), outputs));
    return insert_->launch(stream, inputs.subspan(1), outputs);
  }
  bool is_programmatic() const override { return copy_->is_programmatic() && insert_->is_programmatic(); }
  Status launch_early(cudaStream_t stream, std::span<std::byte* const> inputs,
                      std::span<std::byte* const> outputs) const override {
    if (needs_copy(inputs, outputs)) PERI_TRY(copy_->launch_early(stream, inputs.subspan(0, 1), outputs));
    return insert_->launch_early(stream, inputs.subspan(1), outputs);
  }

 private:
  // A planner that gives the output its input's memory saves the copy.
  bool needs_copy(std::span<std::byte* const> inputs, std::span<std::byte* const> outputs) const {
    return !same_window_ || inputs[0] != outputs[0];
  }

  std::shared_ptr<const Kernel> copy_, insert_;
  bool same_window_;
};

}  // namespace

// Slices of operand `from` along `dim`, by the numbers of the other operand.
static CompiledCudaKernel make_gather(const KernelCall& call, size_t from, int dim) {
  const size_t index = 1 - from;
  const View &source = call.in(from), &numbers = call.in(index);
  const int indices = numbers.shape.rank(), rank = call.out().shape.rank();
  Space space{call.out().shape, {call.out().strides, {}, {}}};  // operands out, index, source
  for (int i = 0; i < rank; ++i) {
    const bool is_index = i >= dim && i < dim + indices;
    space.strides[1].push_back(is_index ? numbers.strides[i - dim] : 0);
    space.strides[2].push_back(is_index ? 0 : source.strides[i < dim ? i : i - indices + 1]);
  }
  space = reordered(std::move(space));
  const int64_t bytes = size_of(call.dtype()), row_stride = source.strides[dim];
  constexpr int kMoved[] = {0, 2};
  const bool along_index = space.inner_stride(1) != 0;  // then units would span indices
  const int64_t elements = along_index ? 1 : elements_per_unit(space, kMoved, bytes, std::array{row_stride});
  auto launch = [&](const char* entry, int64_t per_unit) {
    const Space units = in_units(space, kMoved, per_unit);
    Constants constants;
    constants.add(units).add(source.shape[dim]).add(row_stride / per_unit);
    constants.add(missing_bits(call.dtype())).add(missing_bits(call.dtype()));
    return Launch{entry, blocks_for(units.total(), kThreads), kThreads, constants};
  };
  Generated generated;
  generated.text = "#include \"kernels/cuda/compute/gather.cuh\"\nusing namespace peri::kernels::cuda;\n";
  for (auto [entry, unit] : {std::pair("units", bytes * elements), std::pair("elements", bytes)})
    generated.text += fmt::format(
        "extern \"C\" __global__ void {}(const AddressArray<3> a, const Gather<{}> c) {{\n"
        "  gather<{}, {}, {}>(a.at[{}], a.at[{}], a.at[2], c);\n}}\n",
        entry, rank_of(space), unit, element(call.inputs[index].dtype), index_type(space), from, index);
  generated.launches = {launch("units", elements)};
  generated.unaligned = {launch("elements", 1)};
  generated.alignment = bytes * elements;
  return make_kernel(std::move(generated));
}

CompiledCudaKernel compile_gather(const KernelCall& call) {
  switch (op_of<GatherOp>(call.spec.op)) {
    case GatherOp::embedding:
      return make_gather(call, 1, 0);
    case GatherOp::index_select:
      return make_gather(call, 0, call.spec.attributes.as<Op::index_select>().dim);
  }
  PERI_CHECK(false, "not a gather");
}

static CompiledCudaKernel make_index_copy(const KernelCall& call) {
  const int dim = call.spec.attributes.as<Op::index_copy>().dim;
  const View &x = call.in(0), &index = call.in(1), &source = call.in(2), &out = call.out();
  const int64_t bytes = size_of(call.dtype()), row_stride = out.strides[dim],
                source_stride = source.strides[dim];
  Space slice{out.shape, {out.strides, source.strides}};
  slice.shape.erase(dim);
  for (Strides& strides : slice.strides) strides.erase(dim);
  slice = reordered(std::move(slice));
  constexpr int kMoved[] = {0, 1};
  const int64_t elements = elements_per_unit(slice, kMoved, bytes, std::array{row_stride, source_stride});
  const int64_t count = numel(index.shape);
  auto launch = [&](const char* entry, int64_t per_unit) {
    const Space units = in_units(slice, kMoved, per_unit);
    const int64_t parts = blocks_for(units.total(), kUnitsPerBlock);
    Constants constants;
    constants.add(units).add(count).add(index.strides[0]).add(out.shape[dim]);
    constants.add(row_stride / per_unit).add(source_stride / per_unit).add(parts);
    return Launch{entry, count * parts, kThreads, constants};
  };
  Generated generated;
  generated.text = "#include \"kernels/cuda/compute/gather.cuh\"\nusing namespace peri::kernels::cuda;\n";
  for (auto [entry, unit] : {std::pair("units", bytes * elements), std::pair("elements", bytes)})
    generated.text += fmt::format(
        "extern \"C\" __global__ void {}(const AddressArray<3> a, const Insertion<{}> c) {{\n"
        "  insert<{}, {}, {}>(a.at[0], a.at[1], a.at[2], c);\n}}\n",
        entry, rank_of(slice), unit, element(call.inputs[1].dtype), index_type(slice));
  generated.launches = {launch("units", elements)};
  generated.unaligned = {launch("elements", 1)};
  generated.alignment = bytes * elements;
  auto insert = PERI_TRY(make_kernel(std::move(generated)));
  auto copy = PERI_TRY(make_copy(out.shape, x.strides, out.strides, bytes));
  return std::make_shared<IndexCopyKernel>(std::move(copy), std::move(insert), call.in(0) == call.out());
}

CompiledCudaKernel compile_index_copy(const KernelCall& call) {
  switch (op_of<IndexCopyOp>(call.spec.op)) {
    case IndexCopyOp::index_copy:
      return make_index_copy(call);
  }
  PERI_CHECK(false, "not an index copy");
}

}  // namespace peri::kernels::cuda
