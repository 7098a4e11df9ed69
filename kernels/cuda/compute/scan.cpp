// cumsum and cumprod: how many blocks a line has, and the launches that follow from it.
#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/compute/scan_order.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps;

// The op that combines two values, as device code names it.
const char* combine_of(ScanOp op) {
  switch (op) {
    case ScanOp::cumsum:
      return "add";
    case ScanOp::cumprod:
      return "mul";
  }
  PERI_CHECK(false, "not a scan");
}

}  // namespace

CompiledCudaKernel compile_scan(const KernelCall& call) {
  const Lines lines = normalised_lines(call);
  const int64_t count = lines.lines.total(), blocks = blocks_for(lines.length, kScanBlock);
  if (count * blocks == 0) return make_kernel({});
  const bool has_carries = blocks > 1;
  Generated generated;
  if (has_carries) generated.scratch = PERI_TRY(Scratch::allocate(count * blocks * 8));
  generated.text = fmt::format(
      "#include \"kernels/cuda/compute/scan.cuh\"\nusing namespace peri;\nusing namespace "
      "peri::kernels::cuda;\n"
      "using S = Scanner<{}, {}, Op::{}>;\nusing C = Scan<{}>;\nusing A = AddressArray<3>;\n"
      "extern \"C\" __global__ void blocks(const A a, const C c) {{ S::blocks(a.at[0], a.at[2], c); }}\n"
      "extern \"C\" __global__ void carries(const A a, const C c) {{ S::carries(a.at[2], c); }}\n"
      "extern \"C\" __global__ void elements(const A a, const C c) {{\n"
      "  S::elements<{}>(a.at[0], a.at[1], a.at[2], c);\n}}\n",
      element(call.inputs[0].dtype), element(call.dtype()), combine_of(op_of<ScanOp>(call.spec.op)),
      rank_of(lines.lines), has_carries);
  Constants constants;
  constants.add(lines.lines).add(lines.length).add(lines.out_stride).add(lines.in_stride).add(blocks);
  const int64_t grid = blocks_for(count * blocks, kWarps);
  if (has_carries)
    generated.launches = {{"blocks", grid, kThreads, constants},
                          {"carries", blocks_for(count, kWarps), kThreads, constants}};
  generated.launches.push_back({"elements", grid, kThreads, constants});
  return make_kernel(std::move(generated));
}

}  // namespace peri::kernels::cuda
