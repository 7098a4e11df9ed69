// Reductions and arg-reductions: which dimensions stay and which go, and which way to walk them.
#include <utility>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/compute/sum_order.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32, kColumns = 32;

// The op that combines two values, and the Finish, as device code names them.
struct Folding {
  const char* combine;
  const char* finish = "total";
};
Folding folding_of(ReductionOp op) {
  switch (op) {
    case ReductionOp::sum:
      return {"add"};
    case ReductionOp::mean:
      return {"add", "mean"};
    case ReductionOp::prod:
      return {"mul"};
    case ReductionOp::max:
      return {"maximum"};
    case ReductionOp::min:
      return {"minimum"};
  }
  PERI_CHECK(false, "not a reduction");
}

// The comparison by which a value is better than the best so far.
const char* comparison_of(ArgReductionOp op) {
  switch (op) {
    case ArgReductionOp::argmax:
      return "gt";
    case ArgReductionOp::argmin:
      return "lt";
  }
  PERI_CHECK(false, "not an arg-reduction");
}

}  // namespace

CompiledCudaKernel compile_reduction(const KernelCall& call) {
  const ReductionSpaces spaces = split_reduction(call, call.spec.attributes.get<"dims">());
  const int64_t results = spaces.kept.total(), length = spaces.reduced.total();
  const int64_t blocks = std::max<int64_t>(1, blocks_for(length, kSumBlock));
  const Folding folding = folding_of(op_of<ReductionOp>(call.spec.op));
  Generated generated;
  const bool has_partials = blocks > 1 && results > 0;
  if (has_partials)
    generated.scratch =
        PERI_TRY(Scratch::allocate(results * blocks * (is_float(call.inputs[0].dtype) ? 4 : 8)));
  generated.text = fmt::format(
      "#include \"kernels/cuda/compute/reduce.cuh\"\nusing namespace peri;\nusing namespace "
      "peri::kernels::cuda;\n"
      "using R = Reducer<{}, {}, Op::{}, Finish::{}>;\nusing C = Reduction<{}, {}>;\n"
      "extern \"C\" __global__ void rows(const AddressArray<3> a, const C c) {{\n"
      "  R::rows(a.at[0], a.at[1], a.at[2], c);\n}}\n"
      "extern \"C\" __global__ void columns(const AddressArray<3> a, const C c) {{\n"
      "  R::columns(a.at[0], a.at[1], a.at[2], c);\n}}\n"
      "extern \"C\" __global__ void blocks(const AddressArray<3> a, const C c) {{\n"
      "  R::blocks(a.at[1], a.at[2], c);\n}}\n",
      element(call.inputs[0].dtype), element(call.dtype()), folding.combine, folding.finish,
      rank_of(spaces.kept), rank_of(spaces.reduced));
  Constants constants;
  constants.add(spaces.kept).add(spaces.reduced).add(blocks);
  if (spaces.is_by_columns())
    generated.launches.push_back({"columns", blocks_for(results, kColumns) * blocks, kThreads, constants});
  else
    generated.launches.push_back({"rows", blocks_for(results * blocks, kWarps), kThreads, constants});
  if (has_partials) generated.launches.push_back({"blocks", results, kThreads, constants});
  return make_kernel(std::move(generated));
}

CompiledCudaKernel compile_arg_reduction(const KernelCall& call) {
  const int dim = call.spec.attributes.get<"dim">();
  const Space kept = split_reduction(call, {dim}).kept;
  const int64_t length = call.in(0).shape[dim];
  const int warps = length > 8 * kSumBlock ? 32
                    : length > kSumBlock   ? kWarps
                                           : 1,
            lines = warps == 1 ? kWarps : 1;
  Generated generated;
  generated.text = fmt::format(
      "#include \"kernels/cuda/compute/reduce.cuh\"\nusing namespace peri;\nusing namespace "
      "peri::kernels::cuda;\n"
      "extern \"C\" __global__ void find(const AddressArray<2> a, const ArgReduction<{}> c) {{\n"
      "  Finder<{}, Op::{}>::find<{}, {}>(a.at[0], a.at[1], c);\n}}\n",
      rank_of(kept), element(call.inputs[0].dtype), comparison_of(op_of<ArgReductionOp>(call.spec.op)), warps,
      lines);
  Constants constants;
  constants.add(kept).add(length).add(call.in(0).strides[dim]);
  generated.launches = {{"find", blocks_for(kept.total(), lines), 32 * warps * lines, constants}};
  return make_kernel(std::move(generated));
}

}  // namespace peri::kernels::cuda
