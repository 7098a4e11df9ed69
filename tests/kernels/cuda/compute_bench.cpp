// How fast the CUDA compute kernels are. Each kernel is replayed from a graph on operands that rotate through
// more memory than the cache holds; the median of the rounds is printed.
#include <cuda_runtime_api.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdio>
#include <string>

#include "kernels/cuda/compute/kernel.hpp"
#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::kernels::cuda;
using namespace peri::testing;

namespace {

constexpr int64_t kRotation = int64_t(256) << 20;  // bytes
constexpr int kReplays = 20, kRounds = 9;

void measure(const std::string& name, const KernelSpec& spec, const std::vector<OperandType>& in,
             const OperandType& out, double flops = 0) {
  auto kernel = cuda::compile_kernel(spec, in, std::span(&out, 1));
  REQUIRE((kernel ? "" : kernel.error().to_string()) == "");
  auto bytes_of = [](const OperandType& type) { return numel(type.view.shape) * size_of(type.dtype); };
  int64_t bytes = bytes_of(out);
  for (const OperandType& type : in) bytes += bytes_of(type);
  const int64_t sets = std::clamp<int64_t>(kRotation / bytes, 1, kReplays);
  std::vector<std::vector<std::byte*>> inputs;
  std::vector<std::byte*> outputs, all;
  auto allocate = [&](const OperandType& type) {
    void* data = nullptr;
    const auto size = static_cast<size_t>(std::max<int64_t>(1, bytes_of(type)));
    REQUIRE(cudaMalloc(&data, size) == cudaSuccess);
    all.push_back(static_cast<std::byte*>(data));
    cudaMemset(data, 0, size);
    if (is_float(type.dtype)) {  // random: zeros need less power
      const OperandType flat{type.dtype, View::contiguous({numel(type.view.shape)})};
      const KernelSpec normal{.op = Op::randn,
                              .attributes = {{"shape", Ints{numel(type.view.shape)}}, {"dtype", type.dtype}}};
      auto fill = cuda::compile_kernel(normal, {}, std::span(&flat, 1));
      REQUIRE(fill);
      REQUIRE((*fill)->launch(nullptr, {}, std::span(&all.back(), 1)));
    }
    return all.back();
  };
  for (int64_t i = 0; i < sets; ++i) {
    inputs.emplace_back();
    for (const OperandType& type : in) inputs.back().push_back(allocate(type));
    outputs.push_back(allocate(out));
  }
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
  for (int i = 0; i < kReplays; ++i)
    REQUIRE((*kernel)->launch(stream, inputs[i % sets], std::span(&outputs[i % sets], 1)));
  REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  REQUIRE(cudaGraphInstantiate(&replay, graph, 0) == cudaSuccess);
  std::vector<float> times;
  for (int round = 0; round < kRounds + 1; ++round) {
    cudaEventRecord(begin, stream);
    cudaGraphLaunch(replay, stream);
    cudaEventRecord(end, stream);
    REQUIRE(cudaEventSynchronize(end) == cudaSuccess);
    float time = 0;
    cudaEventElapsedTime(&time, begin, end);
    if (round > 0) times.push_back(time / kReplays);
  }
  std::ranges::sort(times);
  const double seconds = times[kRounds / 2] * 1e-3;
  std::printf("%-44s %9.2f us %8.0f GB/s", name.c_str(), seconds * 1e6,
              static_cast<double>(bytes) / seconds * 1e-9);
  if (flops > 0) std::printf(" %8.1f TFLOP/s", flops / seconds * 1e-12);
  std::printf("\n");
  cudaGraphExecDestroy(replay);
  cudaGraphDestroy(graph);
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaStreamDestroy(stream);
  for (std::byte* data : all) cudaFree(data);
}

OperandType plain(DType dtype, const Shape& shape) {
  return {dtype, View::contiguous(shape)};
}

}  // namespace

TEST_CASE("speed of the compute kernels", "[speed]") {
  using enum DType;
  auto fused = [](DType t) {
    return KernelSpec{.fused = {{t, t}, {{Op::silu, {0}, t}, {Op::mul, {2, 1}, t}}, {3}}};
  };
  auto one = [](Op op, DType t) { return KernelSpec{.fused = {{t, t}, {{op, {0, 1}, t}}, {2}}}; };
  for (int64_t n : {4096, 1 << 20, 1 << 26})
    for (DType t : {f32, bf16})
      measure(fmt::format("add {} {}", to_string(t), n), one(Op::add, t), {plain(t, {n}), plain(t, {n})},
              plain(t, {n}));
  measure("silu * y bf16 4096x14336", fused(bf16), {plain(bf16, {4096, 14336}), plain(bf16, {4096, 14336})},
          plain(bf16, {4096, 14336}));
  measure("add row bf16 8192x4096", one(Op::add, bf16), {plain(bf16, {8192, 4096}), plain(bf16, {4096})},
          plain(bf16, {8192, 4096}));
  for (int64_t rows : {1, 8192})
    measure(fmt::format("rms_norm bf16 {}x4096", rows), {.op = Op::rms_norm},
            {plain(bf16, {rows, 4096}), plain(bf16, {4096})}, plain(bf16, {rows, 4096}));
  measure("softmax f32 4096x8192", {.op = Op::softmax}, {plain(f32, {4096, 8192})}, plain(f32, {4096, 8192}));
  measure("sum f32 64M", {.op = Op::sum}, {plain(f32, {1 << 26})}, plain(f32, {}));
  measure("sum f32 rows 8192x8192", {.op = Op::sum, .attributes = {{"dims", Ints{1}}}},
          {plain(f32, {8192, 8192})}, plain(f32, {8192}));
  measure("sum f32 columns 8192x8192", {.op = Op::sum, .attributes = {{"dims", Ints{0}}}},
          {plain(f32, {8192, 8192})}, plain(f32, {8192}));
  measure("argmax f32 16x128256", {.op = Op::argmax, .attributes = {{"dim", int64_t(1)}}},
          {plain(f32, {16, 128256})}, plain(i64, {16}));
  measure("transposed copy bf16 8192x8192", {.op = Op::contiguous}, {{bf16, {{8192, 8192}, {1, 8192}}}},
          plain(bf16, {8192, 8192}));
  measure("copy bf16 64M", {.op = Op::contiguous}, {plain(bf16, {1 << 26})}, plain(bf16, {1 << 26}));
  measure("embedding bf16 4096 of 32000x4096", {.op = Op::embedding},
          {plain(i32, {4096}), plain(bf16, {32000, 4096})}, plain(bf16, {4096, 4096}));
  measure("rope bf16 4096x32x128", {.op = Op::rope}, {plain(bf16, {4096, 32, 128}), plain(i32, {4096})},
          plain(bf16, {4096, 32, 128}));
  for (auto [s, t] : {std::pair<int64_t, int64_t>{1, 1024}, {1, 8192}, {512, 512}, {2048, 2048}})
    measure(fmt::format("attention bf16 s {} t {} h 32 g 8 d 128", s, t), {.op = Op::attention},
            {plain(bf16, {s, 32, 128}), plain(bf16, {t, 8, 128}), plain(bf16, {t, 8, 128})},
            plain(bf16, {s, 32, 128}),
            4.0 * 32 * 128 * static_cast<double>(s) * (static_cast<double>(t) - static_cast<double>(s) / 2));
  auto product = [](DType t, int64_t m, int64_t n, int64_t k) {
    measure(fmt::format("matmul {} {}x{}x{}", to_string(t), m, n, k), {.op = Op::matmul},
            {plain(t, {m, k}), plain(t, {k, n})}, plain(t, {m, n}), 2.0 * static_cast<double>(m * n * k));
  };
  for (int64_t m : {1, 16, 64, 128, 512}) product(bf16, m, 4096, 4096);
  product(bf16, 8192, 8192, 8192);
  product(f16, 4096, 4096, 4096);
  product(f32, 128, 4096, 4096);
  product(f32, 4096, 4096, 4096);
}
