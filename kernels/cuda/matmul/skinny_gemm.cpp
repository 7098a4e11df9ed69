// Which products the kernels for few rows take, and how many blocks share a sum. Both depend on shapes and
// the device only, never on timing, so that all ranks compute alike.
//
// Up to 16 rows the time is that of reading b (4096 x 4096: 33.5 MB, 7.8 us at 4.3 TB/s): the tensor cores
// need a tenth of it per 8 rows, the activations come from the L2 cache (m / 32 of the bytes of b). Beyond,
// and where there are more columns than one block a multiprocessor takes, cuBLASLt is as fast or faster
// (measured on an H200: 11.2 us against 12.9 for one row, 32.8 against 30.7 for 14336 columns).
#include <algorithm>

#include "kernels/cuda/matmul/matmul.hpp"
#include "kernels/cuda/memory/device.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int64_t kVector = 8;  // elements of a load

std::optional<SkinnyElement> element_of(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return SkinnyElement::f16;
    case DType::bf16:
      return SkinnyElement::bf16;
    case DType::f32:
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::boolean:
      break;
  }
  return std::nullopt;
}

class CudaSkinnyGemmKernel final : public ProgrammaticKernel {
 public:
  CudaSkinnyGemmKernel(const SkinnyGemm& product, bool swapped) : product_(product), swapped_(swapped) {}
  int early_operand() const override { return swapped_ ? 0 : 1; }

 private:
  Status launch_at(cudaStream_t stream, std::span<std::byte* const> inputs,
                   std::span<std::byte* const> outputs, bool early) const override {
    return check(launch_skinny_gemm(product_, inputs[swapped_ ? 1 : 0], inputs[swapped_ ? 0 : 1], outputs[0],
                                    early, stream),
                 "launching a product");
  }

  SkinnyGemm product_;
  bool swapped_;
};

}  // namespace

std::optional<SkinnyGemm> skinny_gemm_of(const BlasGemm& p, int multiprocessors) {
  constexpr int64_t kMaxSize = int64_t(1) << 30;
  const auto is_whole = [](int64_t elements) { return elements % kVector == 0; };
  const std::optional<SkinnyElement> element = element_of(p.dtype);
  const bool fits = element && p.batch.shape.rank() == 0 && p.c.rows <= kSkinnyRows && !p.c.transposed &&
                    !p.a.transposed && p.a.columns < kMaxSize && p.c.columns < kMaxSize &&
                    is_whole(p.a.columns) && is_whole(p.a.leading) && is_whole(p.b.leading) &&
                    (p.b.transposed || is_whole(p.b.columns));
  const int64_t groups = (p.c.columns + kSkinnyColumns - 1) / kSkinnyColumns;
  if (!fits || groups > multiprocessors) return std::nullopt;
  // As many blocks as fit on the device at once, while each has something for all of its warps.
  const int rows = static_cast<int>(p.c.rows);
  int cluster = 1;
  while (cluster < kSkinnyCluster && 2 * cluster * groups <= multiprocessors &&
         2 * cluster * kSkinnyDepth <= p.a.columns)
    cluster *= 2;
  return SkinnyGemm{rows,
                    static_cast<int>(p.c.columns),
                    static_cast<int>(p.a.columns),
                    p.a.leading,
                    p.b.leading,
                    p.c.leading,
                    *element,
                    p.b.transposed,
                    cluster};
}

CompiledCudaKernel make_skinny_gemm(const SkinnyGemm& product, bool swapped) {
  PERI_TRY(check(load_skinny_gemm(product), "loading a kernel"));
  return std::make_shared<CudaSkinnyGemmKernel>(product, swapped);
}

}  // namespace peri::kernels::cuda
