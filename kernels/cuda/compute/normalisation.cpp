// softmax, rms_norm and layer_norm: the lines and how many warps share one.
#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/compute/sum_order.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"

namespace peri::kernels::cuda {

namespace {

// The function of normalisation.cuh, and how many operands it takes.
struct Function {
  const char* name;
  size_t operands;
};
Function function_of(NormalisationOp op) {
  switch (op) {
    case NormalisationOp::softmax:
      return {"softmax", 1};
    case NormalisationOp::rms_norm:
      return {"rms_norm", 2};
    case NormalisationOp::layer_norm:
      return {"layer_norm", 3};
  }
  PERI_CHECK(false, "not a normalisation");
}

}  // namespace

CompiledCudaKernel compile_normalisation(const KernelCall& call) {
  constexpr int kMaxWarps = 16, kLinesPerBlock = 4;
  const auto [lines, length, out_stride, in_stride] = normalised_lines(call);
  const auto blocks = static_cast<uint64_t>(std::max<int64_t>(1, blocks_for(length, kSumBlock)));
  const int warps = static_cast<int>(std::min<uint64_t>(kMaxWarps, std::bit_ceil(blocks)));
  const int lines_per_block = warps == 1 ? kLinesPerBlock : 1;
  const int threads = 32 * std::max(warps, lines_per_block);
  const bool few = lines.total() <= multiprocessors() && length <= warps * kSumBlock;
  const char* kept = !few ? "none" : length == warps * kSumBlock ? "all" : "some";
  Constants constants;
  constants.add(lines).add(length).add(out_stride).add(in_stride);
  for (size_t i = 1; i < 3; ++i) constants.add(i < call.inputs.size() ? call.in(i).strides[0] : int64_t(0));
  bool unit = in_stride == 1 && out_stride == 1;
  for (size_t i = 1; i < call.inputs.size(); ++i) unit &= call.in(i).strides[0] == 1;
  constants.add(call.spec.attributes.find<"eps">().value_or(0));
  const size_t addresses = call.inputs.size() + 1;
  const Function function = function_of(op_of<NormalisationOp>(call.spec.op));
  std::string arguments;
  for (size_t i = 0; i < function.operands; ++i)
    arguments += i < call.inputs.size() ? fmt::format("a.at[{}], ", i) : "nullptr, ";
  arguments += fmt::format("a.at[{}], ", call.inputs.size());
  Generated generated;
  generated.text = fmt::format(
      "#include \"kernels/cuda/compute/normalisation.cuh\"\nusing namespace peri::kernels::cuda;\n"
      "extern \"C\" __global__ void __launch_bounds__({}) each_line(const AddressArray<{}> a, const "
      "Normalisation<{}> c) {{\n"
      "  {}<{}, {}, {}, {}, Kept::{}>({}c);\n}}\n",
      threads, addresses, rank_of(lines), function.name, element(call.dtype()), warps, lines_per_block, unit,
      kept, arguments);
  generated.launches = {
      {"each_line", length == 0 ? 0 : blocks_for(lines.total(), lines_per_block), threads, constants}};
  return make_kernel(std::move(generated));
}

}  // namespace peri::kernels::cuda
