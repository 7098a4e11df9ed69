// The CUDA backend's compute kernels: this program runs the host kernels' tests
// (tests/kernels/compute_*_test.cpp, random_kernels_test.cpp) on the device, and what follows here and in
// this folder. Every third call is captured in a graph and replayed instead of launched. Without a device
// only the tests that need none run, and the program says so and exits with 77.
#define CATCH_CONFIG_RUNNER
#include <cuda_runtime_api.h>
#include <catch2/catch.hpp>

#include <cstdio>
#include <map>

#include "core/types/random.hpp"
#include "kernels/cuda/compute/kernel.hpp"
#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::kernels::cuda;
using namespace peri::testing;

namespace {

constexpr size_t kArena = size_t(1) << 30;
std::byte* arena = nullptr;
cudaStream_t stream = nullptr;

Status check(cudaError_t error) {
  if (error == cudaSuccess) return {};
  return fail(Code::IoError, cudaGetErrorString(error));
}

Status run(const cuda::Kernel& kernel, std::span<std::byte* const> in, std::span<std::byte* const> out,
           bool captured) {
  if (!captured) {
    PERI_TRY(kernel.launch(stream, in, out));
    return check(cudaStreamSynchronize(stream));
  }
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  PERI_TRY(check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal)));
  const Status launched = kernel.launch(stream, in, out);
  PERI_TRY(check(cudaStreamEndCapture(stream, &graph)));
  PERI_TRY(launched);
  PERI_TRY(check(cudaGraphInstantiate(&executable, graph, 0)));
  PERI_TRY(check(cudaGraphLaunch(executable, stream)));
  PERI_TRY(check(cudaStreamSynchronize(stream)));
  PERI_TRY(check(cudaGraphExecDestroy(executable)));
  return check(cudaGraphDestroy(graph));
}

// Copies the windows' memory, guards included, to the device and what was written back.
Status launch_on_device(const KernelSpec& spec, std::span<const Window> inputs,
                        std::span<const Window> outputs) {
  static int calls = 0;
  std::map<std::vector<std::byte>*, std::byte*> copies;
  size_t used = 0;
  auto address = [&](const Window& window) -> std::byte* {
    std::vector<std::byte>* memory = window.memory.get();
    if (!copies.contains(memory)) {
      if (used + memory->size() > kArena) return nullptr;
      copies[memory] = arena + used;
      cudaMemcpyAsync(arena + used, memory->data(), memory->size(), cudaMemcpyHostToDevice, stream);
      used += (memory->size() + 255) / 256 * 256;
    }
    return copies[memory] + bytes_of(window.view.offset, window.dtype);
  };
  std::vector<OperandType> in, out;
  std::vector<std::byte*> in_data, out_data;
  for (const Window& w : inputs) in.push_back(w.type()), in_data.push_back(address(w));
  for (const Window& w : outputs) out.push_back(w.type()), out_data.push_back(address(w));
  auto kernel = PERI_TRY(cuda::compile_kernel(spec, in, out));
  PERI_TRY(run(*kernel, in_data, out_data, calls++ % 3 == 2));
  for (const Window& w : outputs)
    PERI_TRY(check(
        cudaMemcpy(w.memory->data(), copies[w.memory.get()], w.memory->size(), cudaMemcpyDeviceToHost)));
  return {};
}

// The same call on the host.
std::string host_bits(Op op, const std::vector<Value>& inputs, const Attributes& attributes) {
  auto* device = std::exchange(backend_launch, launch_on_host);
  auto result = run_op(op, inputs, attributes);
  backend_launch = device;
  return result ? bits(*result) : result.error().to_string();
}
std::string device_bits(Op op, const std::vector<Value>& inputs, const Attributes& attributes) {
  auto result = run_op(op, inputs, attributes);
  return result ? bits(*result) : result.error().to_string();
}

}  // namespace

TEST_CASE("pointwise ops, random numbers, norms and short reductions have the host's bits") {
  Random random(11);
  for (DType dtype : kFloats) {
    const Value x = random_value(random, dtype, {70, 1500}, -9, 9),
                y = random_value(random, dtype, {70, 1500});
    const Value positive = random_value(random, dtype, {70, 1500}, 0.1, 9);  // the bits of a NaN differ
    for (Op op : {Op::exp, Op::sin, Op::tanh, Op::erf, Op::sigmoid, Op::gelu, Op::silu, Op::square})
      CHECK((device_bits(op, {x}, {}) == host_bits(op, {x}, {})));
    for (Op op : {Op::rsqrt, Op::log})
      CHECK((device_bits(op, {positive}, {}) == host_bits(op, {positive}, {})));
    for (Op op : {Op::div, Op::pow, Op::mod})
      CHECK((device_bits(op, {positive, y}, {}) == host_bits(op, {positive, y}, {})));
    for (Op op : {Op::rand, Op::randn}) {
      const Attributes attributes = {{"shape", Ints{100'003}}, {"seed", int64_t(5)}, {"dtype", dtype}};
      CHECK((device_bits(op, {}, attributes) == host_bits(op, {}, attributes)));
    }
    const Value weight = random_value(random, dtype, {1500});
    CHECK((device_bits(Op::softmax, {x}, {}) == host_bits(Op::softmax, {x}, {})));
    CHECK((device_bits(Op::rms_norm, {x, weight}, {}) == host_bits(Op::rms_norm, {x, weight}, {})));
    CHECK((device_bits(Op::layer_norm, {x, weight}, {}) == host_bits(Op::layer_norm, {x, weight}, {})));
    CHECK((device_bits(Op::sum, {x}, {{"dims", Ints{0}}}) == host_bits(Op::sum, {x}, {{"dims", Ints{0}}})));
  }
}

TEST_CASE("addresses of any alignment") {
  Random random(12);
  for (DType dtype : kFloats) {
    const Value x = random_value(random, dtype, {48, 64}), y = random_value(random, dtype, {64, 48});
    auto shifted = [&](const Value& value) {
      Window wide = blank({dtype, {numel(value.type.shape) + 1}});
      Window window{wide.memory, dtype, View::contiguous(value.type.shape)};
      window.view.offset = wide.view.offset + Elements(1);
      for_each_element(window.view, [&](int64_t i, int64_t offset) {
        store_element(window.memory->data() + offset * size_of(dtype), value, static_cast<size_t>(i));
      });
      return window;
    };
    auto agrees = [&](const KernelSpec& spec, const std::vector<Value>& operands, const Shape& shape) {
      std::vector<Window> apart, plain;
      for (const Value& value : operands) {
        apart.push_back(shifted(value));
        plain.push_back(place(value));
      }
      Window out = shifted(zeros({dtype, shape})), expected = blank({dtype, shape});
      auto done = launch(spec, apart, std::span(&out, 1));
      REQUIRE((done ? "" : done.error().to_string()) == "");
      REQUIRE(launch(spec, plain, std::span(&expected, 1)));
      return bits(out) == bits(expected);
    };
    const FusedProgram program{{dtype, dtype}, {{Op::mul, {0, 1}, dtype}}, {2}};
    CHECK(agrees({.fused = program}, {x, x}, {48, 64}));
    CHECK(agrees({.op = Op::contiguous}, {x}, {48, 64}));
    Window a = shifted(x), b = shifted(y), c = shifted(zeros({dtype, {48, 48}}));
    REQUIRE(launch({.op = Op::matmul}, std::vector{a, b}, std::span(&c, 1)));
    const Value got = read(c);
    for (int64_t i : {0, 47, 1000, 48 * 48 - 1}) {
      double sum = 0;
      for (int64_t k = 0; k < 64; ++k) sum += x.floats()[i / 48 * 64 + k] * y.floats()[k * 48 + i % 48];
      CHECK(got.floats()[i] == Approx(sum).margin(dtype == DType::bf16 ? 0.1 : 0.02));
    }
  }
}

TEST_CASE("attention in one piece and by chunks has the same bits") {
  Random random(13);
  const Value k = random_value(random, DType::bf16, {700, 2, 64}),
              v = random_value(random, DType::bf16, {700, 2, 64});
  const Value q = random_value(random, DType::bf16, {300, 4, 64});  // too many rows to cut
  const std::string all = device_bits(Op::attention, {q, k, v}, {});
  CHECK(disagreement(Op::attention, {q, k, v}, {}, {Style::plain}) == "");
  std::string last;
  for (int64_t i = 296; i < 300; ++i) {
    Value query = zeros({DType::bf16, {1, 4, 64}});
    std::copy_n(q.floats().begin() + i * 256, 256, std::get<Value::Floats>(query.elements).begin());
    last += device_bits(Op::attention, {query, k, v, integers(DType::i64, {1}, {400 + i})}, {});
  }
  CHECK((all.substr(all.size() - last.size()) == last));
}

TEST_CASE("long reductions, positions and rows") {
  Random random(14);
  const Value x = random_value(random, DType::f32, {3, 400'000}, 0, 1);
  for (const Ints& dims : {Ints{}, Ints{1}, Ints{0}})
    CHECK(disagreement(Op::sum, {x}, {{"dims", dims}}, {Style::plain, Style::column_major}) == "");
  CHECK(disagreement(Op::argmax, {x}, {{"dim", int64_t(1)}}, {Style::plain, Style::gapped}) == "");
  CHECK(disagreement(Op::softmax, {x}, {{"dim", int64_t(1)}}, {Style::plain}) == "");
}

int main(int count, char** arguments) {
  unsetenv("PERI_MULTICAST");  // stays off in tests, whoever runs them
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    Catch::Session session;
    session.configData().testsOrTags = {"[no_device]"};
    if (const int failed = session.run()) return failed;
    std::fputs("SKIPPED: no CUDA device; none of the CUDA kernels' tests ran but those tagged [no_device]\n",
               stderr);
    return 77;
  }
  if (!check(cudaMalloc(reinterpret_cast<void**>(&arena), kArena)) ||
      !check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)))
    return 1;
  backend_launch = launch_on_device;
  Catch::Session session;
  if (const int wrong = session.applyCommandLine(count, arguments)) return wrong;
  if (session.configData().testsOrTags.empty()) session.configData().testsOrTags = {"~[host]~[.]"};
  return session.run();
}
