// contiguous and cat: every input is copied to its part of the output.
#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/host/compute/compile.hpp"
#include "kernels/host/simd/strided_copy.hpp"

namespace peri::kernels::host {
namespace {

class CopyKernel final : public Kernel {
 public:
  struct Part {
    StridedCopy copy;
    int64_t offset;  // in the output, bytes
  };
  explicit CopyKernel(std::vector<Part> parts) : parts_(std::move(parts)) {}

  void run(Addresses inputs, Addresses outputs) const override {
    for (size_t i = 0; i < parts_.size(); ++i)
      parts_[i].copy.run_parallel(inputs[i], outputs[0] + parts_[i].offset);
  }

 private:
  std::vector<Part> parts_;  // one per input
};

}  // namespace

static CompiledHostKernel compile_contiguous(const KernelCall& call) {
  const StridedCopy copy(call.out().shape, call.in(0).strides, call.out().strides, size_of(call.dtype()));
  return std::make_unique<CopyKernel>(std::vector<CopyKernel::Part>{{copy, 0}});
}

static CompiledHostKernel compile_cat(const KernelCall& call) {
  const std::vector<int64_t> offsets = cat_offsets(call);
  std::vector<CopyKernel::Part> parts;
  for (size_t i = 0; i < call.inputs.size(); ++i)
    parts.push_back(
        {StridedCopy(call.in(i).shape, call.in(i).strides, call.out().strides, size_of(call.dtype())),
         offsets[i]});
  return std::make_unique<CopyKernel>(std::move(parts));
}

CompiledHostKernel compile_copy(const KernelCall& call) {
  switch (op_of<CopyOp>(call.spec.op)) {
    case CopyOp::contiguous:
      return compile_contiguous(call);
    case CopyOp::cat:
      return compile_cat(call);
  }
  PERI_CHECK(false, "not a copy");
}

}  // namespace peri::kernels::host
