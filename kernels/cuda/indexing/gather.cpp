// embedding, index_select and gather: which slices or elements, and in which units they are read.
#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// The bits of 8 bytes of missing elements.
int64_t missing_bits(DType dtype) {
  const int64_t bits = 8 * size_of(dtype);
  uint64_t word = missing_value(dtype);
  for (int64_t have = bits; have < 64; have *= 2) word |= word << have;
  return std::bit_cast<int64_t>(word);
}

}  // namespace

// Where each element of the output comes from. `space`: operands out, index, source without the dimension
// that the numbers of operand 1 - `from` count.
static CompiledCudaKernel make_gather(const KernelCall& call, size_t from, int dim, const Space& space) {
  const size_t index = 1 - from;
  const View& source = call.in(from);
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
  generated.text = "#include \"kernels/cuda/indexing/gather.cuh\"\nusing namespace peri::kernels::cuda;\n";
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

// Slices of operand `from` along `dim`, by the numbers of the other operand.
static CompiledCudaKernel make_slice_gather(const KernelCall& call, size_t from, int dim) {
  const View &source = call.in(from), &numbers = call.in(1 - from);
  const int indices = numbers.shape.rank(), rank = call.out().shape.rank();
  Space space{call.out().shape, {call.out().strides, {}, {}}};  // operands out, index, source
  for (int i = 0; i < rank; ++i) {
    const bool is_index = i >= dim && i < dim + indices;
    space.strides[1].push_back(is_index ? numbers.strides[i - dim] : 0);
    space.strides[2].push_back(is_index ? 0 : source.strides[i < dim ? i : i - indices + 1]);
  }
  return make_gather(call, from, dim, reordered(std::move(space)));
}

CompiledCudaKernel compile_gather(const KernelCall& call) {
  switch (op_of<GatherOp>(call.spec.op)) {
    case GatherOp::embedding:
      return make_slice_gather(call, 1, 0);
    case GatherOp::index_select:
      return make_slice_gather(call, 0, call.spec.attributes.as<Op::index_select>().dim);
    case GatherOp::gather:
      return make_gather(call, 0, call.spec.attributes.as<Op::gather>().dim, gathered_elements(call));
  }
  PERI_CHECK(false, "not a gather");
}

}  // namespace peri::kernels::cuda
