// Rotary position embedding: the pairs, and the table of frequencies.
#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"
#include "kernels/cuda/memory/device.hpp"

namespace peri::kernels::cuda {

static CompiledCudaKernel make_rope(const KernelCall& call) {
  constexpr int kThreads = 128;
  const View &x = call.in(0), &positions = call.in(1), &y = call.out();
  const int last = y.shape.rank() - 1;
  const int64_t half = y.shape[last] / 2;
  Space pairs{y.shape, {y.strides, x.strides, {}, {}}};  // operands out, in, positions, frequencies
  pairs.shape[last] = half;
  for (int i = 0; i <= last; ++i) {
    pairs.strides[2].push_back(i == last - 2 ? positions.strides[0] : 0);
    pairs.strides[3].push_back(i == last ? 1 : 0);
  }
  pairs = reordered(std::move(pairs));
  Generated generated;
  if (half > 0) {
    const std::vector<double> frequencies = rope_frequencies(call.spec.attributes.as<Op::rope>().base, half);
    const auto bytes = half * static_cast<int64_t>(sizeof(double));
    generated.scratch = PERI_TRY(Scratch::allocate(bytes));
    PERI_TRY(check(cudaMemcpy(generated.scratch.data(), frequencies.data(), static_cast<size_t>(bytes),
                              cudaMemcpyHostToDevice),
                   "copying a table"));
  }
  generated.text = fmt::format(
      "#include \"kernels/cuda/compute/rope.cuh\"\nusing namespace peri::kernels::cuda;\n"
      "extern \"C\" __global__ void rotate(const AddressArray<4> a, const Rope<{}> c) {{\n"
      "  rope<{}, {}, {}>(a.at[0], a.at[1], a.at[3], a.at[2], c);\n}}\n",
      rank_of(pairs), element(call.dtype()), element(call.inputs[1].dtype), index_type(pairs));
  Constants constants;
  constants.add(pairs).add(half * y.strides[last]).add(half * x.strides[last]);
  generated.launches = {{"rotate", blocks_for(pairs.total(), kThreads), kThreads, constants}};
  return make_kernel(std::move(generated));
}

CompiledCudaKernel compile_rope(const KernelCall& call) {
  switch (op_of<RopeOp>(call.spec.op)) {
    case RopeOp::rope:
      return make_rope(call);
  }
  PERI_CHECK(false, "not a rotation");
}

}  // namespace peri::kernels::cuda
