// Creation: full, arange, rand and randn, element by element of the result's logical order, whatever its
// layout.
#include <fmt/format.h>

#include "kernels/cuda/compute/kernel_compile.hpp"

namespace peri::kernels::cuda {

Compiled compile_creation(const Call& call) {
  constexpr int kThreads = 128, kPerThread = 4;
  const Attributes& attributes = call.spec.attributes;
  const Space space = host::simplified({call.out().shape, {call.out().strides}});
  const char* type = element(call.dtype());
  double value = 0, step = 0;
  int64_t seed = 0;
  std::string body = fmt::format("create_numbers<{}>", type);
  if (call.spec.op == Op::full) {
    value = attributes.get<double>("value");
  } else if (call.spec.op == Op::arange) {
    value = attributes.get<double>("start");
    step = attributes.get<double>("step");
  } else {
    seed = attributes.get<int64_t>("seed");
    body = fmt::format("create_random<{0}, {1}<{0}>>", type, call.spec.op == Op::rand ? "Uniform" : "Normal");
  }
  Generated generated;
  generated.text = fmt::format(
      "#include \"kernels/cuda/compute/creation.cuh\"\nusing namespace peri::kernels::cuda;\n"
      "extern \"C\" __global__ void create_all(const Addresses<1> a, const Creation<{}> c) {{\n"
      "  {}(a.at[0], c);\n}}\n",
      rank_of(space), body);
  Constants constants;
  constants.add(space).add(value).add(step).add(seed);
  generated.launches = {
      {"create_all", blocks_for(space.total(), kThreads * kPerThread), kThreads, constants}};
  return make_kernel(std::move(generated));
}

}  // namespace peri::kernels::cuda
