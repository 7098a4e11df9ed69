// Matrix products by cuBLASLt. It sees every matrix transposed, as it counts in columns: c^T = b^T a^T.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <type_traits>

#include <fmt/format.h>

#include "kernels/cuda/matmul/matmul.hpp"
#include "kernels/cuda/memory/device.hpp"
#include "kernels/cuda/nvrtc/cache.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int kCandidates = 8, kRounds = 3;
constexpr size_t kMaxWorkspace = 32 << 20;
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
  switch (dtype) {
    case DType::f32:
      return CUDA_R_32F;
    case DType::f16:
      return CUDA_R_16F;
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::boolean:
      break;
  }
  PERI_CHECK(false, "the op table allows a matmul of floats only");
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

// Lets cuBLASLt load the code of an algorithm at its first launch even if that is captured.
class WhileCapturing {
 public:
  WhileCapturing() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  WhileCapturing(const WhileCapturing&) = delete;
  WhileCapturing& operator=(const WhileCapturing&) = delete;
  ~WhileCapturing() { cudaThreadExchangeStreamCaptureMode(&mode_); }

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;  // then the one before
};

// Of the current device. Asked of the driver: the runtime would read all of the device's properties, which
// takes a millisecond.
Result<std::string> gpu_name() {
  int device = 0;
  PERI_TRY(cuda::check(cudaGetDevice(&device), "naming the current device"));
  void* address = nullptr;
  cudaDriverEntryPointQueryResult found;
  PERI_TRY(cuda::check(
      cudaGetDriverEntryPointByVersion("cuDeviceGetName", &address, 12000, cudaEnableDefault, &found),
      "naming the GPU"));
  std::array<char, 256> name{};
  if (found != cudaDriverEntryPointSuccess || reinterpret_cast<decltype(&cuDeviceGetName)>(address)(
                                                  name.data(), name.size() - 1, device) != CUDA_SUCCESS)
    return fail(Code::Unsupported, "the driver does not name the GPU");
  return std::string(name.data());
}

// Algorithms of a product as the cache holds them.
struct Choice {
  cublasLtMatmulAlgo_t aligned, any;  // for addresses that are multiples of kAlignment; of an element
  std::string bytes() const { return {reinterpret_cast<const char*>(this), sizeof *this}; }
};
static_assert(std::is_trivially_copyable_v<Choice>);

class ProductKernel final : public Kernel {
 public:
  explicit ProductKernel(const BlasGemm& product) : product_(product) {}

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
    PERI_TRY(prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMaxWorkspace));
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

  // The same on all ranks of a machine, and timed once in its life: what the cache holds. Without a cache,
  // the likely best, because ranks that each time for themselves could differ, and their results with them.
  Status choose() {
    static const std::optional<CodeCache> cache = CodeCache::of_user();
    const std::string key = PERI_TRY(this->key());
    if (cache && PERI_TRY(adopt(cache->find(key)))) return {};
    const auto aligned = PERI_TRY(candidates(kAlignment)),
               any = PERI_TRY(candidates(size_of(product_.dtype)));
    if (cache && cache->is_writable()) {
      const size_t fastest = PERI_TRY(time(aligned));
      if (PERI_TRY(adopt(cache->keep(key, Choice{aligned[fastest].algo, any[0].algo}.bytes())))) return {};
    }
    if (PERI_TRY(adopt(Choice{aligned[0].algo, any[0].algo}.bytes()))) return {};
    return fail(Code::Unsupported, "cuBLASLt refuses the algorithm that it proposes for this product");
  }

  // All that an algorithm depends on.
  Result<std::string> key() const {
    auto matrix = [&](const Matrix& m, size_t operand) {
      return fmt::format("{} x {} leading {}{} step {}", m.rows, m.columns, m.leading,
                         m.transposed ? " transposed" : "", strides_[operand]);
    };
    return fmt::format("matmul algorithms 1, cuBLASLt {} on {}\n{} batch {}: {} = {} by {}",
                       cublasLtGetVersion(), PERI_TRY(gpu_name()), to_string(product_.dtype), count_,
                       matrix(product_.c, 0), matrix(product_.a, 1), matrix(product_.b, 2));
  }

  // Uses a choice that cuBLASLt accepts for this product; false if there is none.
  Result<bool> adopt(const std::optional<std::string>& bytes) {
    if (!bytes || bytes->size() != sizeof(Choice)) return false;
    Choice choice;
    std::memcpy(&choice, bytes->data(), sizeof choice);
    const cublasLtHandle_t lt = PERI_TRY(handle());
    size_t needed = 0;
    for (const auto* algorithm : {&choice.aligned, &choice.any}) {
      cublasLtMatmulHeuristicResult_t result{};
      if (cublasLtMatmulAlgoCheck(lt, description_.get(), b_.get(), a_.get(), c_.get(), c_.get(), algorithm,
                                  &result) != CUBLAS_STATUS_SUCCESS ||
          result.workspaceSize > kMaxWorkspace)
        return false;
      needed = std::max(needed, result.workspaceSize);
    }
    PERI_TRY(reserve_workspace(needed));
    choice_ = choice;
    return true;
  }

  Status reserve_workspace(size_t bytes) {
    workspace_ = bytes ? PERI_TRY(Scratch::allocate(static_cast<int64_t>(bytes))) : Scratch();
    workspace_bytes_ = bytes;
    return {};
  }

  // Runs every candidate; the index of the fastest.
  Result<size_t> time(const std::vector<cublasLtMatmulHeuristicResult_t>& found) {
    size_t workspace = 0, fastest = 0;
    if (found.size() == 1) return fastest;
    for (const auto& result : found) workspace = std::max(workspace, result.workspaceSize);
    PERI_TRY(reserve_workspace(workspace));
    Trial trial;
    PERI_TRY(trial.prepare(*this));
    float best = std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < found.size(); ++i) {
      choice_.aligned = found[i].algo;
      const float time = PERI_TRY(trial.time(*this));
      if (time < best) {
        best = time;
        fastest = i;
      }
    }
    return fastest;
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
    Result<float> time(const ProductKernel& kernel) const {
      float least = std::numeric_limits<float>::infinity();
      for (int round = 0; round < kRounds; ++round) {
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
    const auto& algorithm = bits % kAlignment == 0 ? choice_.aligned : choice_.any;
    const cublasLtHandle_t lt = PERI_TRY(handle());
    const WhileCapturing allowed;
    return status(cublasLtMatmul(lt, description_.get(), &one, b, b_.get(), a, a_.get(), &zero, c, c_.get(),
                                 c, c_.get(), &algorithm, workspace_.data(), workspace_bytes_, stream),
                  "multiply");
  }

  BlasGemm product_;
  Space outer_;  // operands c, a, b
  int64_t count_ = 1;
  std::array<int64_t, 3> strides_{};
  Description description_;
  Layout c_, a_, b_;
  Choice choice_{};
  Scratch workspace_;
  size_t workspace_bytes_ = 0;
};

}  // namespace

void load_matmul_library(int device) {
  if (cudaSetDevice(device) != cudaSuccess) return;
  const Result<cublasLtHandle_t> lt = handle();
  Description description;
  Layout square;
  Preference preference;
  cublasLtMatmulHeuristicResult_t found;
  int count = 0;
  // What fails here fails again, and is told, where a product is wanted.
  if (lt &&
      cublasLtMatmulDescCreate(description.out(), CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
      cublasLtMatrixLayoutCreate(square.out(), CUDA_R_16BF, 128, 128, 128) == CUBLAS_STATUS_SUCCESS &&
      cublasLtMatmulPreferenceCreate(preference.out()) == CUBLAS_STATUS_SUCCESS)
    static_cast<void>(cublasLtMatmulAlgoGetHeuristic(*lt, description.get(), square.get(), square.get(),
                                                     square.get(), square.get(), preference.get(), 1, &found,
                                                     &count));
}

CompiledCudaKernel make_blas_gemm(const BlasGemm& product) {
  auto kernel = std::make_shared<ProductKernel>(product);
  PERI_TRY(kernel->prepare());
  return kernel;
}

}  // namespace peri::kernels::cuda
