// index_copy, scatter and scatter_add: which slices or elements are written, by how many threads, and where
// sums are kept.
#include <algorithm>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kUnitsPerBlock = 4096;  // of a slice that is written
constexpr int64_t kManyLines = 4096;      // so many fill the device with a thread each

// A copy of the operand, then what is written into it.
class InsertingKernel final : public Kernel {
 public:
  InsertingKernel(std::shared_ptr<const Kernel> copy, std::shared_ptr<const Kernel> insert, bool same_window)
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
  generated.text = "#include \"kernels/cuda/indexing/scatter.cuh\"\nusing namespace peri::kernels::cuda;\n";
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
  return std::make_shared<InsertingKernel>(std::move(copy), std::move(insert), call.in(0) == call.out());
}

// One number per element of the source. Sums of 16-bit floats are kept in scratch as f32 until all are there:
// `widen`, the additions, `narrow`. Others go where they belong.
static CompiledCudaKernel make_element_scatter(const KernelCall& call, bool adds) {
  const View &x = call.in(0), &out = call.out();
  const DType dtype = call.dtype();
  const bool is_apart = adds && is_float(dtype) && dtype != DType::f32;
  const Strides row_major = contiguous_strides(out.shape);
  const ScatteredLines scattered = scattered_lines(call, is_apart ? row_major : out.strides);
  const Space all = reordered({out.shape, {out.strides, x.strides, row_major}});
  const bool by_threads = scattered.lines.total() >= kManyLines;
  Generated generated;
  generated.text = fmt::format(
      "#include \"kernels/cuda/indexing/scatter.cuh\"\nusing namespace peri::kernels::cuda;\n"
      "using S = Scatterer<{0}, {1}, {2}, {3}>;\nusing C = Scattering<{4}>;\n"
      "extern \"C\" __global__ void scatter(const AddressArray<{5}> a, const C c) {{\n"
      "  S::{6}(a.at[{7}], a.at[{8}], a.at[{9}], c);\n}}\n",
      element(dtype), is_apart ? "f32" : element(dtype), element(call.inputs[1].dtype), adds,
      rank_of(scattered.lines), is_apart ? 5 : 3, by_threads ? "by_threads" : "by_warps", is_apart ? 1 : 0,
      is_apart ? 2 : 1, is_apart ? 4 : 2);
  Constants constants;
  constants.add(scattered.lines).add(scattered.count).add(scattered.rows);
  constants.add(scattered.out_stride).add(scattered.index_stride).add(scattered.source_stride);
  const int64_t threads = scattered.lines.total() * (by_threads ? 1 : 32);
  const Launch scatter{"scatter", scattered.count == 0 ? 0 : blocks_for(threads, kThreads), kThreads,
                       constants};
  if (!is_apart) {
    generated.launches = {scatter};
    auto insert = PERI_TRY(make_kernel(std::move(generated)));
    auto copy = PERI_TRY(make_copy(out.shape, x.strides, out.strides, size_of(dtype)));
    return std::make_shared<InsertingKernel>(std::move(copy), std::move(insert), call.in(0) == call.out());
  }
  if (all.total() == 0) return make_kernel({});
  generated.text += fmt::format(
      "extern \"C\" __global__ void before(const AddressArray<5> a, const Everything<{0}> e) {{\n"
      "  widen<{1}, f32>(a.at[0], a.at[4], e);\n}}\n"
      "extern \"C\" __global__ void after(const AddressArray<5> a, const Everything<{0}> e) {{\n"
      "  narrow<{1}, f32>(a.at[4], a.at[3], e);\n}}\n",
      rank_of(all), element(dtype));
  Constants everything;
  everything.add(all);
  generated.scratch = PERI_TRY(Scratch::allocate(all.total() * size_of(DType::f32)));
  const int64_t grid = blocks_for(all.total(), kThreads);
  generated.launches = {
      {"before", grid, kThreads, everything}, scatter, {"after", grid, kThreads, everything}};
  return make_kernel(std::move(generated));
}

CompiledCudaKernel compile_scatter(const KernelCall& call) {
  switch (op_of<ScatterOp>(call.spec.op)) {
    case ScatterOp::index_copy:
      return make_index_copy(call);
    case ScatterOp::scatter:
      return make_element_scatter(call, false);
    case ScatterOp::scatter_add:
      return make_element_scatter(call, true);
  }
  PERI_CHECK(false, "not a scatter");
}

}  // namespace peri::kernels::cuda
