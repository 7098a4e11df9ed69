#include "bindings/commands/bench.hpp"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <sstream>
#include <thread>

#include "kernels/bus_factor.hpp"

namespace peri::commands {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBatches = 21;
constexpr int64_t kChain = 20;  // calls in one recording, where a call is enqueued rather than done

// In [-1, 1), and the same in the peer program.
float random_element(int rank, int64_t index) {
  uint64_t x = static_cast<uint64_t>(index) * 0x9E3779B97F4A7C15u +
               static_cast<uint64_t>(rank + 1) * 0xC2B2AE3D27D4EB4Fu;
  x = (x ^ (x >> 31)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 29)) * 0x94D049BB133111EBu;
  return static_cast<float>(static_cast<double>(x >> 40) / (1 << 23) - 1);
}

void store(DType dtype, std::byte* data, int64_t index, float value) {
  if (dtype == DType::f32) reinterpret_cast<float*>(data)[index] = value;
  if (dtype == DType::f16) reinterpret_cast<uint16_t*>(data)[index] = f32_to_f16(value);
  if (dtype == DType::bf16) reinterpret_cast<uint16_t*>(data)[index] = f32_to_bf16(value);
}
double load(DType dtype, const std::byte* data, int64_t index) {
  if (dtype == DType::f32) return reinterpret_cast<const float*>(data)[index];
  uint16_t half = reinterpret_cast<const uint16_t*>(data)[index];
  return dtype == DType::f16 ? f16_to_f32(half) : bf16_to_f32(half);
}

// The shapes of one measurement: everything along dimension 0.
struct Shapes {
  int64_t input, output;
};
Shapes shapes_of(Op op, int64_t elements, int ranks) {
  elements = std::max<int64_t>(elements / ranks, 1) * ranks;
  if (op == Op::all_gather) return {elements / ranks, elements};
  if (op == Op::reduce_scatter) return {elements, elements / ranks};
  return {elements, elements};
}

// Element `index` of `rank`'s output, in double precision.
double expected(Op op, DType dtype, const Shapes& shapes, int rank, int ranks, int64_t index) {
  auto input = [&](int from, int64_t i) { return round_to(dtype, random_element(from, i)); };
  int64_t part = (op == Op::all_gather ? shapes.output : shapes.input) / ranks;
  if (op == Op::broadcast) return input(0, index);
  if (op == Op::all_gather) return input(static_cast<int>(index / part), index % part);
  if (op == Op::all_to_all) return input(static_cast<int>(index / part), rank * part + index % part);
  if (op == Op::reduce_scatter) index += rank * part;
  double sum = 0;
  for (int r = 0; r < ranks; ++r) sum += input(r, index);
  return sum;
}

// `factor`: what further calls in place have multiplied the result by, each adding equal terms, which rounds
// unless their number is a power of two.
Status check_result(Op op, DType dtype, const Shapes& shapes, int rank, int ranks, double factor,
                    const std::byte* result) {
  const double unit = dtype == DType::f32 ? 1e-6 : dtype == DType::f16 ? 0x1p-11 : 0x1p-8;
  const bool rounds = factor != 1 && (ranks & (ranks - 1)) != 0;
  const double epsilon = unit * ranks * factor * (rounds ? static_cast<double>(kChain) : 1);
  for (int64_t i = 0; i < shapes.output; ++i) {
    const double want = expected(op, dtype, shapes, rank, ranks, i) * factor, got = load(dtype, result, i);
    if (!(std::abs(got - want) <= epsilon))
      return fail(Code::PlanInvalid, fmt::format("element {} is {}, not {}", i, got, want));
  }
  return {};
}

kernels::CollectiveSpec spec_of(Op op, const std::string& algorithm, int ranks) {
  Attributes attributes;  // the row's defaults: sum, dimension 0, root 0
  for (const AttributeInfo& attribute : info(op).attributes)
    if (attribute.fallback) attributes.set(attribute.name, *attribute.fallback);
  attributes.set("group", world_group(ranks));
  attributes.set("algorithm", algorithm);
  return {.op = op, .attributes = std::move(attributes), .algorithm = algorithm};
}

// How many calls in place may follow each other before sums of as many equal terms as there are ranks leave
// the type's range.
int64_t calls_in_range(DType dtype, int ranks) {
  const double doublings = std::log2(std::max(ranks, 2));
  return static_cast<int64_t>((dtype == DType::f16 ? 14 : 120) / doublings);
}

// What a command prints; nothing if it fails.
Result<std::string> output_of(const std::string& command) {
  std::FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return fail(Code::IoError, "popen");
  std::string text;
  char buffer[4096];
  for (size_t got; (got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) text.append(buffer, got);
  int status = pclose(pipe);
  if (status != 0)
    return fail(Code::IoError, fmt::format("{} ended with {}:\n{}", command, WEXITSTATUS(status), text));
  return text;
}

// Single quotes, for the shell.
std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

// Open MPI's MPI_Allreduce: microseconds by size, the faster of separate buffers and MPI_IN_PLACE.
class MpiPeer {
 public:
  static Result<MpiPeer> build(const BenchOptions& options) {
    if (!output_of("command -v mpicxx mpirun"))
      return fail(Code::NotFound, "mpicxx and mpirun are not installed");
    std::error_code error;
    std::filesystem::create_directories(options.build_folder, error);
    MpiPeer peer;
    peer.program_ = options.build_folder + "/mpi_allreduce";
    PERI_TRY(output_of(fmt::format("mpicxx -O3 -march=native {} -o {} 2>&1",
                                   shell_quoted(options.peer_source), shell_quoted(peer.program_))));
    return peer;
  }
  Result<std::map<int64_t, double>> run(const std::vector<int64_t>& sizes, int ranks) const {
    std::string command = fmt::format(
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n {} {}", ranks,
        shell_quoted(program_));
    for (int64_t size : sizes) command += fmt::format(" {}", size);
    std::istringstream lines(PERI_TRY(output_of(command + " 2>&1")));
    std::map<int64_t, double> times;
    int64_t bytes = 0;
    for (double apart = 0, in_place = 0; lines >> bytes >> apart >> in_place;)
      times[bytes] = std::min(apart, in_place);
    if (times.size() != sizes.size())
      return fail(Code::IoError, "the peer printed something else:\n" + lines.str());
    return times;
  }

 private:
  std::string program_;
};

double median(std::vector<double> values) {
  auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::string size_text(int64_t bytes) {
  if (bytes >= 1 << 20 && bytes % (1 << 20) == 0) return fmt::format("{} MiB", bytes >> 20);
  if (bytes >= 1 << 10 && bytes % (1 << 10) == 0) return fmt::format("{} KiB", bytes >> 10);
  return fmt::format("{} B", bytes);
}

}  // namespace

Result<BenchPoint> bench_collective(kernels::Backend& backend, Op op, const std::string& algorithm,
                                    DType dtype, int64_t bytes) {
  const int ranks = backend.job().world_size, rank = backend.job().rank;
  const Group world = world_group(ranks);
  const AlgorithmInfo* row = find_algorithm(op, algorithm);
  const bool known = op == Op::all_reduce || op == Op::all_gather || op == Op::reduce_scatter ||
                     op == Op::all_to_all || op == Op::broadcast;
  if (!row || !known || !is_float(dtype))
    return fail(Code::Unsupported,
                fmt::format("no benchmark of {} {} by {}", to_string(op), to_string(dtype), algorithm));

  const Shapes shapes = shapes_of(op, bytes / size_of(dtype), ranks);
  const int64_t input_bytes = shapes.input * size_of(dtype), output_bytes = shapes.output * size_of(dtype);
  auto storage = [&](bool symmetric, int64_t size) {
    return symmetric ? backend.allocate_symmetric(size, world) : backend.allocate(size, Place::device);
  };
  auto input = PERI_TRY(storage(row->symmetric == kInput, input_bytes));
  // Algorithms that overwrite their input work in place, as plans use them.
  auto output = row->clobbers_input ? input : PERI_TRY(storage(row->symmetric == kOutput, output_bytes));
  auto operand = [&](const kernels::Storage& s, int64_t elements) {
    return kernels::Operand{s.data(), {dtype, View::contiguous({elements})}};
  };
  const kernels::Operand in = operand(*input, shapes.input), out = operand(*output, shapes.output);
  // The input and the result where the CPU reads them, and the input again where a recording may copy it.
  auto host_input = PERI_TRY(backend.allocate(input_bytes, Place::host));
  auto host_output = PERI_TRY(backend.allocate(output_bytes, Place::host));
  auto pristine = PERI_TRY(backend.allocate(input_bytes, Place::device));
  for (int64_t i = 0; i < shapes.input; ++i) store(dtype, host_input->data(), i, random_element(rank, i));
  PERI_TRY(backend.copy(operand(*host_input, shapes.input), operand(*pristine, shapes.input)));
  PERI_TRY(backend.copy(operand(*host_input, shapes.input), in));

  // On the host a call is done when it returns, and is timed alone. Before every call the input is written
  // anew, untimed: one that nobody has written since would stay in the readers' caches. On a device a
  // recording holds many calls, after a copy of the input where they overwrite it, and that copy is timed.
  const bool at_once = backend.name() == "host";
  const int64_t chain = at_once               ? 1
                        : row->clobbers_input ? std::min(kChain, calls_in_range(dtype, ranks))
                                              : kChain;
  auto record = [&]() -> Status {
    if (!at_once && row->clobbers_input) PERI_TRY(backend.copy(operand(*pristine, shapes.input), in));
    for (int64_t i = 0; i < chain; ++i) PERI_TRY(backend.collective(spec_of(op, algorithm, ranks), in, out));
    return {};
  };
  PERI_TRY(backend.begin_capture());
  if (Status recorded = record(); !recorded) {
    backend.abandon_capture();
    return std::unexpected(recorded.error());
  }
  auto recording = PERI_TRY(backend.end_capture());

  // As many calls as move 16 MiB on the host, 1 GiB on a device, in a batch; the slowest rank of each batch
  // counts.
  const int64_t volume = at_once ? 16 << 20 : 1 << 30, calls = volume / std::max<int64_t>(bytes, 1);
  const int64_t replays =
      at_once ? std::clamp<int64_t>(calls, 1, 200) : std::clamp<int64_t>(calls, 40, 400) / chain;
  std::vector<double> mine;
  for (int batch = -2; batch < kBatches; ++batch) {  // the first two warm up
    auto texts = backend.exchange(world, "", "bench");
    if (!texts) return std::unexpected(texts.error());
    Clock::duration spent{};
    auto begin = Clock::now();
    for (int64_t i = 0; i < replays; ++i) {
      if (at_once) {
        std::copy_n(host_input->data(), input_bytes, in.data);
        begin = Clock::now();
      }
      PERI_TRY(backend.replay(*recording));
      if (at_once) spent += Clock::now() - begin;
    }
    if (!at_once) {
      PERI_TRY(backend.synchronize());
      spent = Clock::now() - begin;
    }
    if (batch >= 0)
      mine.push_back(std::chrono::duration<double, std::micro>(spent).count() /
                     static_cast<double>(replays * chain));
  }

  PERI_TRY(backend.copy(out, operand(*host_output, shapes.output)));
  const double factor = row->clobbers_input ? std::pow(ranks, chain - 1) : 1;
  if (Status right = check_result(op, dtype, shapes, rank, ranks, factor, host_output->data()); !right) {
    right.error().message =
        fmt::format("{} by {} of {} bytes: {}", to_string(op), algorithm, bytes, right.error().message);
    return std::unexpected(right.error());
  }
  std::string text;
  for (double t : mine) text += fmt::format("{} ", t);
  std::vector<double> slowest(kBatches, 0);
  for (const std::string& theirs : PERI_TRY(backend.exchange(world, text, "bench results"))) {
    std::istringstream numbers(theirs);
    for (double& s : slowest) {
      double t = 0;
      numbers >> t;
      s = std::max(s, t);
    }
  }
  BenchPoint point{.algorithm = algorithm, .bytes = bytes, .microseconds = median(slowest)};
  const auto moved = static_cast<double>(std::max(input_bytes, output_bytes));
  point.bus_bandwidth = moved * kernels::bus_factor(op, ranks) / point.microseconds / 1e3;
  return point;
}

Result<std::string> bench_collectives(kernels::Backend& backend, const BenchOptions& options) {
  const int ranks = backend.job().world_size;
  const bool first = backend.job().rank == 0;
  std::vector<std::string> names = options.algorithms;
  const bool host = backend.name() == "host";
  if (names.empty())
    for (const AlgorithmInfo& row : algorithms()) {
      if (row.op != options.op) continue;
      if (row.name == "nccl" && !backend.links().nccl) continue;
      if (!host && row.name.starts_with("multimem")) continue;  // multicast is emulated on the host only
      names.emplace_back(row.name);
    }
  std::vector<int64_t> sizes = options.sizes;
  if (sizes.empty())
    for (int64_t size = 4 << 10; size <= 16 << 20; size *= 4) sizes.push_back(size);

  std::string missing;
  Result<MpiPeer> peer =
      fail(Code::NotFound, host ? "only all_reduce of f32 has one"
                                : "scripts/bench/gpu runs PyTorch and NCCL beside all_reduce of bf16");
  if (first && host && options.peer && options.op == Op::all_reduce && options.dtype == DType::f32)
    peer = MpiPeer::build(options);
  if (first && options.peer && !peer) missing = peer.error().message;

  std::map<std::pair<int64_t, std::string>, std::vector<double>> times;
  std::map<int64_t, std::vector<double>> peer_times;
  for (int round = 0; round < options.rounds; ++round) {
    for (int64_t size : sizes)
      for (const std::string& name : names) {
        BenchPoint point = PERI_TRY(bench_collective(backend, options.op, name, options.dtype, size));
        times[{size, name}].push_back(point.microseconds);
      }
    if (first && peer) {
      auto theirs = peer->run(sizes, ranks);
      if (!theirs) {
        missing = theirs.error().message;
        peer = std::unexpected(theirs.error());
      } else {
        for (auto [size, time] : *theirs) peer_times[size].push_back(time);
      }
    }
    PERI_TRY(
        backend.exchange(world_group(ranks), "", "bench round"));  // the others sleep while the peer runs
  }
  if (!first) return std::string();

  std::string text =
      fmt::format("{} {} over {} ranks, {} backend: us per call (bus GB/s), medians of {} rounds\n{:>10}",
                  to_string(options.op), to_string(options.dtype), ranks, backend.name(), options.rounds, "");
  for (const std::string& name : names) text += fmt::format("{:>20}", name);
  if (!peer_times.empty()) text += fmt::format("{:>14}{:>10}", "MPI_Allreduce", "ratio");
  text += "\n";
  double log_ratios = 0, lowest = 1e30;
  for (int64_t size : sizes) {
    text += fmt::format("{:>10}", size_text(size));
    double best = 1e30;
    for (const std::string& name : names) {
      double time = median(times[{size, name}]);
      best = std::min(best, time);
      text += fmt::format("{:>20}", fmt::format("{:.1f} ({:.2f})", time,
                                                static_cast<double>(size) *
                                                    kernels::bus_factor(options.op, ranks) / time / 1e3));
    }
    if (!peer_times.empty()) {
      double theirs = median(peer_times[size]);
      lowest = std::min(lowest, theirs / best);
      log_ratios += std::log(theirs / best);
      text += fmt::format("{:>14.1f}{:>9.2f}x", theirs, theirs / best);
    }
    text += "\n";
  }
  if (!peer_times.empty())
    text += fmt::format(
        "the fastest algorithm of each size against MPI_Allreduce: {:.2f}x at the geometric mean, {:.2f}x at "
        "least\n",
        std::exp(log_ratios / static_cast<double>(sizes.size())), lowest);
  if (!missing.empty()) text += "NO PEER: " + missing + "\n";
  return text;
}

}  // namespace peri::commands
