// Creation: full, arange, rand and randn, element by element of the result's logical order, whatever its
// layout.
#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"

namespace peri::kernels::cuda {

namespace {

// The device function that creates a call's elements, and its constants.
struct Creator {
  std::string function;
  double value = 0, step = 0;
  int64_t seed = 0;
};
Creator creator_of(const KernelCall& call) {
  const Attributes& attributes = call.spec.attributes;
  const char* type = element(call.dtype());
  auto random = [&](const char* numbers) {
    return Creator{.function = fmt::format("create_random<{0}, {1}<{0}>>", type, numbers),
                   .seed = attributes.as<Op::rand, Op::randn>().seed};
  };
  switch (op_of<CreationOp>(call.spec.op)) {
    case CreationOp::full:
      return {.function = fmt::format("create_numbers<{}>", type), .value = attributes.as<Op::full>().value};
    case CreationOp::arange: {
      const auto arange = attributes.as<Op::arange>();
      return {
          .function = fmt::format("create_numbers<{}>", type), .value = arange.start, .step = arange.step};
    }
    case CreationOp::rand:
      return random("Uniform");
    case CreationOp::randn:
      return random("Normal");
  }
  PERI_CHECK(false, "not a creation");
}

}  // namespace

CompiledCudaKernel compile_creation(const KernelCall& call) {
  constexpr int kThreads = 128, kPerThread = 4;
  const Space space = simplified({call.out().shape, {call.out().strides}});
  const Creator creator = creator_of(call);
  Generated generated;
  generated.text = fmt::format(
      "#include \"kernels/cuda/compute/creation.cuh\"\nusing namespace peri::kernels::cuda;\n"
      "extern \"C\" __global__ void create_all(const AddressArray<1> a, const Creation<{}> c) {{\n"
      "  {}(a.at[0], c);\n}}\n",
      rank_of(space), creator.function);
  Constants constants;
  constants.add(space).add(creator.value).add(creator.step).add(creator.seed);
  generated.launches = {
      {"create_all", blocks_for(space.total(), kThreads * kPerThread), kThreads, constants}};
  return make_kernel(std::move(generated));
}

}  // namespace peri::kernels::cuda
