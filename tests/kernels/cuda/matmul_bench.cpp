// How fast matrix products are on weights that are not in the GPU's cache: ours as the backend picks it,
// cuBLASLt as it is picked and timed once, and the best of all that cuBLASLt proposes. Calls cycle over 12
// matrices in one graph; medians of the rounds; results are checked.
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>

#include "kernels/cuda/matmul/matmul.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::kernels::cuda;

namespace {

constexpr int kMatrices = 12, kRounds = 15;
constexpr double kBytesPerMicrosecond = 4.3e6;  // what an H200's memory gives

struct Problem {
  int64_t m, n, k;
  bool transposed;
  std::byte *a = nullptr, *c = nullptr;
  std::vector<std::byte*> b;
};

std::byte* random_matrix(int64_t elements, int64_t seed) {
  const OperandType flat{DType::bf16, View::contiguous({elements})};
  const KernelSpec normal{.op = Op::randn,
                          .attributes = {{"shape", Ints{elements}}, {"dtype", DType::bf16}, {"seed", seed}}};
  auto fill = cuda::compile_kernel(normal, {}, std::span(&flat, 1));
  REQUIRE(fill);
  void* data = nullptr;
  REQUIRE(cudaMalloc(&data, static_cast<size_t>(elements) * 2) == cudaSuccess);
  auto* bytes = static_cast<std::byte*>(data);
  REQUIRE((*fill)->launch(nullptr, {}, std::span(&bytes, 1)));
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  return bytes;
}

// Microseconds of one call; a negative number if calls are refused.
double time(cudaStream_t stream, const std::function<bool(int)>& call) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  bool is_done = true;
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) == cudaSuccess);
  for (int i = 0; i < kMatrices; ++i) is_done &= call(i);
  REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  if (!is_done) {
    cudaGraphDestroy(graph);
    return -1;
  }
  REQUIRE(cudaGraphInstantiate(&replay, graph, 0) == cudaSuccess);
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  std::vector<double> times;
  for (int round = 0; round < kRounds + 2; ++round) {
    cudaEventRecord(begin, stream);
    REQUIRE(cudaGraphLaunch(replay, stream) == cudaSuccess);
    cudaEventRecord(end, stream);
    REQUIRE(cudaEventSynchronize(end) == cudaSuccess);
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, begin, end);
    if (round > 1) times.push_back(milliseconds * 1e3 / kMatrices);
  }
  std::ranges::sort(times);
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaGraphExecDestroy(replay);
  cudaGraphDestroy(graph);
  return times[kRounds / 2];
}

double time(cudaStream_t stream, const cuda::Kernel& kernel, Problem& p) {
  return time(stream, [&](int i) {
    std::byte* const inputs[] = {p.a, p.b[static_cast<size_t>(i)]};
    return kernel.launch(stream, inputs, std::span(&p.c, 1)).has_value();
  });
}

// The fastest of up to 64 algorithms, each timed like ours.
double best_of_cublaslt(cudaStream_t stream, const Problem& p) {
  constexpr size_t kWorkspace = 64 << 20;
  cublasLtHandle_t lt = nullptr;
  cublasLtMatmulDesc_t description = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  void* workspace = nullptr;
  REQUIRE(cublasLtCreate(&lt) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cudaMalloc(&workspace, kWorkspace) == cudaSuccess);
  cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  const cublasOperation_t operation = p.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &operation, sizeof operation);
  const auto m = static_cast<uint64_t>(p.m), n = static_cast<uint64_t>(p.n), k = static_cast<uint64_t>(p.k);
  cublasLtMatrixLayoutCreate(&b, CUDA_R_16BF, p.transposed ? k : n, p.transposed ? n : k,
                             p.transposed ? p.k : p.n);
  cublasLtMatrixLayoutCreate(&a, CUDA_R_16BF, k, m, p.k);
  cublasLtMatrixLayoutCreate(&c, CUDA_R_16BF, n, m, p.n);
  cublasLtMatmulPreferenceCreate(&preference);
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspace,
                                       sizeof kWorkspace);
  std::vector<cublasLtMatmulHeuristicResult_t> found(64);
  int count = 0;
  REQUIRE(cublasLtMatmulAlgoGetHeuristic(lt, description, b, a, c, c, preference, 64, found.data(), &count) ==
          CUBLAS_STATUS_SUCCESS);
  double best = INFINITY;
  const float one = 1, zero = 0;
  for (int i = 0; i < count; ++i) {
    auto multiply = [&](int matrix) {
      return cublasLtMatmul(lt, description, &one, p.b[static_cast<size_t>(matrix)], b, p.a, a, &zero, p.c, c,
                            p.c, c, &found[static_cast<size_t>(i)].algo, workspace, kWorkspace,
                            stream) == CUBLAS_STATUS_SUCCESS;
    };
    if (!multiply(0)) continue;
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    if (const double t = time(stream, multiply); t > 0) best = std::min(best, t);
  }
  cublasLtMatmulPreferenceDestroy(preference);
  for (auto layout : {a, b, c}) cublasLtMatrixLayoutDestroy(layout);
  cublasLtMatmulDescDestroy(description);
  cublasLtDestroy(lt);
  cudaFree(workspace);
  return best;
}

// What `c` holds after the last matrix against sums in double, in some columns: the most that any differs by,
// in units of what rounding to bf16 allows.
double error(const Problem& p) {
  auto copied = [](const std::byte* data, int64_t elements) {
    std::vector<uint16_t> bits(static_cast<size_t>(elements));
    REQUIRE(cudaMemcpy(bits.data(), data, bits.size() * 2, cudaMemcpyDeviceToHost) == cudaSuccess);
    return bits;
  };
  auto number = [](uint16_t bits) { return double(std::bit_cast<float>(uint32_t(bits) << 16)); };
  const auto a = copied(p.a, p.m * p.k), b = copied(p.b.back(), p.k * p.n), c = copied(p.c, p.m * p.n);
  double worst = 0;
  for (int64_t j = 0; j < p.n; j += 61)
    for (int64_t i = 0; i < p.m; i += 1 + p.m / 9) {
      double sum = 0, size = 0;
      for (int64_t l = 0; l < p.k; ++l) {
        const double x = number(a[static_cast<size_t>(i * p.k + l)]) *
                         number(b[static_cast<size_t>(p.transposed ? j * p.k + l : l * p.n + j)]);
        sum += x;
        size += std::abs(x);
      }
      const double off = std::abs(number(c[static_cast<size_t>(i * p.n + j)]) - sum) /
                         (std::ldexp(std::abs(sum), -8) + 2e-6 * size);
      worst = off <= worst ? worst : off;
    }
  return worst;
}

double milliseconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

void compare(int64_t m, int64_t n, int64_t k, bool transposed) {
  Problem p{.m = m, .n = n, .k = k, .transposed = transposed};
  p.a = random_matrix(m * k, 99);
  p.c = random_matrix(m * n, 98);
  for (int i = 0; i < kMatrices; ++i) p.b.push_back(random_matrix(k * n, i));
  cudaStream_t stream = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);

  const OperandType in[] = {
      {DType::bf16, View::contiguous({m, k})},
      {DType::bf16, transposed ? View{{k, n}, {1, k}} : View::contiguous({k, n})},
  };
  const OperandType out{DType::bf16, View::contiguous({m, n})};
  const cuda::BlasGemm product{DType::bf16,      {{}, std::vector<Strides>(3)},          {m, n, n, false},
                               {m, k, k, false}, {k, n, transposed ? k : n, transposed}, false};
  auto ours = cuda::compile_kernel({.op = Op::matmul}, in, std::span(&out, 1));
  REQUIRE(ours);
  const double time_of_ours = time(stream, **ours, p), error_of_ours = error(p);
  std::shared_ptr<const cuda::Kernel> library;
  auto make = [&] { library = cuda::make_blas_gemm(product).value(); };
  const double first = milliseconds_of(make), again = milliseconds_of(make);
  const double time_of_library = time(stream, *library, p), error_of_library = error(p);
  const double best = best_of_cublaslt(stream, p);
  const double floor = static_cast<double>(n * k) * 2 / kBytesPerMicrosecond;
  std::printf("%4ld x %5ld x %5ld %-6s %8.2f %9.2f %9.2f %6.2fx %7.2f %7.2f %5.2f %5.2f %8.1f %6.2f\n", m, n,
              k, transposed ? "[N,K]" : "[K,N]", time_of_ours, time_of_library, best, best / time_of_ours,
              floor, floor / time_of_ours, error_of_ours, error_of_library, first, again);
  std::fflush(stdout);
  CHECK(error_of_ours <= 1);
  CHECK(error_of_library <= 1);
  cudaStreamDestroy(stream);
  cudaFree(p.a);
  cudaFree(p.c);
  for (std::byte* b : p.b) cudaFree(b);
}

}  // namespace

TEST_CASE("speed of products on cold weights", "[matmul_speed]") {
  std::printf("bf16, us per call; error: of 1 allowed; made: ms to prepare cuBLASLt, first and again\n");
  std::printf("%4s   %5s   %5s %-6s %8s %9s %9s %7s %7s %7s %11s %15s\n", "M", "N", "K", "B", "ours",
              "cuBLASLt", "its best", "ratio", "stream", "of it", "errors", "made");
  for (bool transposed : {false, true})
    for (int64_t m : {1, 2, 4, 8, 16, 32, 64, 128}) compare(m, 4096, 4096, transposed);
  for (bool transposed : {false, true}) {
    compare(1, 7168, 4096, transposed);
    compare(1, 4096, 3584, transposed);
    compare(1, 4096, 7168, transposed);
    compare(1, 1024, 4096, transposed);
    compare(1, 14336, 4096, transposed);
    compare(16, 28672, 4096, transposed);
  }
}
