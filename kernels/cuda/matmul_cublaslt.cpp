// Matrix products by cuBLASLt. It sees every matrix transposed, as it counts in columns: c^T = b^T a^T.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/matmul.hpp"

namespace peri::cuda {
namespace {

constexpr int kCandidates = 8, kRounds = 3;
constexpr size_t kMostWorkspace = 32 << 20;
constexpr int64_t kAlignment = 16;  // of addresses, in the usual case

Status status(cublasStatus_t result, const char* what) {
  if (result == CUBLAS_STATUS_SUCCESS) [[likely]]
    return {};
  const Code code = result == CUBLAS_STATUS_ALLOC_FAILED ? Code::OutOfMemory : Code::Unsupported;
  return fail(code, fmt::format("cuBLASLt cannot {}: {}", what, cublasLtGetStatusString(result)));
}

Result<cublasLtHandle_t> handle() {
  // One for the process, never destroyed: at exit the driver may be gone before it.
  static const Result<cublasLtHandle_t> handle = []() -> Result<cublasLtHandle_t> {
    cublasLtHandle_t made = nullptr;
    PERI_TRY(status(cublasLtCreate(&made), "start"));
    return made;
  }();
  return handle;
}

cudaDataType_t data_type(DType dtype) {
  return dtype == DType::f32 ? CUDA_R_32F : dtype == DType::f16 ? CUDA_R_16F : CUDA_R_16BF;
}

// cuBLASLt's objects, each destroyed once.
template <class Handle, cublasStatus_t (*destroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (handle_) destroy(handle_);
  }
  Handle* out() { return &handle_; }
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

class ProductKernel final : public Kernel {
 public:
  explicit ProductKernel(const Product& product) : product_(product) {}

  Status prepare() {
    split_batch();
    PERI_TRY(status(cublasLtMatmulDescCreate(description_.out(), CUBLAS_COMPUTE_32F, CUDA_R_32F),
                    "describe a product"));
    PERI_TRY(lay_out(c_, product_.c, 0));
    PERI_TRY(lay_out(a_, product_.a, 1));
    PERI_TRY(lay_out(b_, product_.b, 2));
    PERI_TRY(transpose(CUBLASLT_MATMUL_DESC_TRANSA, product_.b));
    PERI_TRY(transpose(CUBLASLT_MATMUL_DESC_TRANSB, product_.a));
    return choose();
  }

  Status launch(cudaStream_t stream, std::span<std::byte* const> inputs,
                std::span<std::byte* const> outputs) const override {
    const std::byte *a = inputs[product_.swapped ? 1 : 0], *b = inputs[product_.swapped ? 0 : 1];
    const int64_t bytes = size_of(product_.dtype);
    for (int64_t i = 0; i < outer_.total(); ++i)
      PERI_TRY(multiply(stream, outputs[0] + outer_.offset(0, i) * bytes, a + outer_.offset(1, i) * bytes,
                        b + outer_.offset(2, i) * bytes));
    return {};
  }

 private:
  // The last dimension of the batch goes to cuBLASLt, the others are launches of their own.
  void split_batch() {
    outer_ = product_.batch;
    const int last = outer_.shape.rank() - 1;
    if (last < 0) return;
    for (const Strides& strides : outer_.strides)
      if (strides[last] < 0) return;
    count_ = outer_.shape[last];
    outer_.shape.erase(last);
    for (size_t n = 0; n < 3; ++n) {
      strides_[n] = outer_.strides[n][last];
      outer_.strides[n].erase(last);
    }
  }

  Status lay_out(Layout& layout, const Matrix& matrix, size_t operand) {
    const int64_t inner = matrix.transposed ? matrix.rows : matrix.columns,
                  outer = matrix.transposed ? matrix.columns : matrix.rows;
    PERI_TRY(status(
        cublasLtMatrixLayoutCreate(layout.out(), data_type(product_.dtype), static_cast<uint64_t>(inner),
                                   static_cast<uint64_t>(outer), matrix.leading),
        "describe a matrix"));
    const auto count = static_cast<int32_t>(count_);
    PERI_TRY(status(cublasLtMatrixLayoutSetAttribute(layout.get(), CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                     sizeof count),
                    "describe a batch"));
    return status(cublasLtMatrixLayoutSetAttribute(layout.get(), CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                   &strides_[operand], sizeof strides_[operand]),
                  "describe a batch");
  }

  Status transpose(cublasLtMatmulDescAttributes_t which, const Matrix& matrix) {
    const cublasOperation_t operation = matrix.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    return status(cublasLtMatmulDescSetAttribute(description_.get(), which, &operation, sizeof operation),
                  "describe a product");
  }

  // Algorithms for addresses that are multiples of `alignment`, the likely best first. No partial sum is
  // rounded to the dtype, so splits of k accumulate in f32 too.
  Result<std::vector<cublasLtMatmulHeuristicResult_t>> candidates(int64_t alignment) const {
    Preference preference;
    PERI_TRY(status(cublasLtMatmulPreferenceCreate(preference.out()), "search"));
    auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      return status(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
                    "search");
    };
    PERI_TRY(prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspace));
    PERI_TRY(prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                    static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)));
    for (auto operand :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      PERI_TRY(prefer(operand, static_cast<uint32_t>(alignment)));
    std::vector<cublasLtMatmulHeuristicResult_t> found(kCandidates);
    int count = 0;
    const cublasLtHandle_t lt = PERI_TRY(handle());
    PERI_TRY(
        status(cublasLtMatmulAlgoGetHeuristic(lt, description_.get(), b_.get(), a_.get(), c_.get(), c_.get(),
                                              preference.get(), kCandidates, found.data(), &count),
               "find an algorithm"));
    found.resize(static_cast<size_t>(count));
    std::erase_if(found, [](const auto& result) { return result.state != CUBLAS_STATUS_SUCCESS; });
    if (found.empty()) return fail(Code::Unsupported, "cuBLASLt has no algorithm for this product");
    return found;
  }

  // Runs every candidate and keeps the fastest; and the first for addresses of any alignment. What will be
  // launched has been run once, so that its code is loaded.
  Status choose() {
    const auto aligned = PERI_TRY(candidates(kAlignment)),
               any = PERI_TRY(candidates(size_of(product_.dtype)));
    size_t workspace = 1;
    for (const auto* results : {&aligned, &any})
      for (const auto& result : *results) workspace = std::max(workspace, result.workspaceSize);
    workspace_ = PERI_TRY(Scratch::allocate(static_cast<int64_t>(workspace)));
    workspace_bytes_ = workspace;
    Trial trial;
    PERI_TRY(trial.prepare(*this));
    float best = std::numeric_limits<float>::infinity();
    size_t chosen = 0;
    for (size_t i = 0; i < aligned.size(); ++i) {
      algorithm_ = aligned[i].algo;
      const float time = PERI_TRY(trial.time(*this, aligned.size() > 1 ? kRounds : 1));
      if (time < best) {
        best = time;
        chosen = i;
      }
    }
    algorithm_ = any[0].algo;
    PERI_TRY(trial.time(*this, 1));
    any_alignment_ = any[0].algo;
    algorithm_ = aligned[chosen].algo;
    const size_t needed = std::max({size_t(1), aligned[chosen].workspaceSize, any[0].workspaceSize});
    workspace_ = PERI_TRY(Scratch::allocate(static_cast<int64_t>(needed)));
    workspace_bytes_ = needed;
    return {};
  }

  // Operands of the product's size, and the time of one batch on them while they are not in the cache.
  struct Trial {
    Scratch c, a, b, flush;
    size_t flush_bytes = 0;
    cudaStream_t stream = nullptr;
    cudaEvent_t begin = nullptr, end = nullptr;

    Trial() = default;
    Trial(const Trial&) = delete;
    Trial& operator=(const Trial&) = delete;
    ~Trial() {
      if (begin) cudaEventDestroy(begin);
      if (end) cudaEventDestroy(end);
      if (stream) cudaStreamDestroy(stream);
    }

    Status prepare(const ProductKernel& kernel) {
      auto make = [&](Scratch& scratch, const Matrix& matrix, size_t operand) -> Status {
        const int64_t inner = matrix.transposed ? matrix.rows : matrix.columns,
                      outer = matrix.transposed ? matrix.columns : matrix.rows;
        const int64_t elements =
            (kernel.count_ - 1) * kernel.strides_[operand] + (outer - 1) * matrix.leading + inner;
        const int64_t bytes = elements * size_of(kernel.product_.dtype);
        scratch = PERI_TRY(Scratch::allocate(bytes));
        return cuda::check(cudaMemset(scratch.data(), 0x3C, static_cast<size_t>(bytes)), "timing a product");
      };
      PERI_TRY(make(c, kernel.product_.c, 0));
      PERI_TRY(make(a, kernel.product_.a, 1));
      PERI_TRY(make(b, kernel.product_.b, 2));
      int device = 0, cache = 0;
      cudaGetDevice(&device);
      cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, device);
      flush_bytes = 2 * static_cast<size_t>(cache) + 1;
      flush = PERI_TRY(Scratch::allocate(static_cast<int64_t>(flush_bytes)));
      PERI_TRY(cuda::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "timing a product"));
      PERI_TRY(cuda::check(cudaEventCreate(&begin), "timing a product"));
      PERI_TRY(cuda::check(cudaEventCreate(&end), "timing a product"));
      return cuda::check(cudaDeviceSynchronize(), "timing a product");
    }

    // Milliseconds, the least of some rounds; infinity if the algorithm refuses.
    Result<float> time(const ProductKernel& kernel, int rounds) const {
      float least = std::numeric_limits<float>::infinity();
      for (int round = 0; round < rounds; ++round) {
        PERI_TRY(cuda::check(cudaMemsetAsync(flush.data(), round, flush_bytes, stream), "timing a product"));
        PERI_TRY(cuda::check(cudaEventRecord(begin, stream), "timing a product"));
        if (!kernel.multiply(stream, c.data(), a.data(), b.data())) return least;
        PERI_TRY(cuda::check(cudaEventRecord(end, stream), "timing a product"));
        PERI_TRY(cuda::check(cudaEventSynchronize(end), "timing a product"));
        float time = 0;
        PERI_TRY(cuda::check(cudaEventElapsedTime(&time, begin, end), "timing a product"));
        least = std::min(least, time);
      }
      return least;
    }
  };

  Status multiply(cudaStream_t stream, std::byte* c, const std::byte* a, const std::byte* b) const {
    const float one = 1, zero = 0;
    const uintptr_t bits =
        reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) | reinterpret_cast<uintptr_t>(c);
    const auto& algorithm = bits % kAlignment == 0 ? algorithm_ : any_alignment_;
    const cublasLtHandle_t lt = PERI_TRY(handle());
    return status(cublasLtMatmul(lt, description_.get(), &one, b, b_.get(), a, a_.get(), &zero, c, c_.get(),
                                 c, c_.get(), &algorithm, workspace_.data(), workspace_bytes_, stream),
                  "multiply");
  }

  Product product_;
  Space outer_;  // operands c, a, b
  int64_t count_ = 1;
  std::array<int64_t, 3> strides_{};
  Description description_;
  Layout c_, a_, b_;
  cublasLtMatmulAlgo_t algorithm_{}, any_alignment_{};
  Scratch workspace_;
  size_t workspace_bytes_ = 0;
};

}  // namespace

Compiled make_product(const Product& product) {
  auto kernel = std::make_shared<ProductKernel>(product);
  PERI_TRY(kernel->prepare());
  return kernel;
}

}  // namespace peri::cuda
