// The table of `peri bench`: sizes x algorithms, in rounds, beside a peer program.
#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <sstream>

#include "bindings/commands/bench.hpp"
#include "core/bytes.hpp"

namespace peri::commands {
namespace {

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

bool is_host(const kernels::Backend& backend) {
  return backend.name() == "host";
}

Result<std::vector<const AlgorithmInfo*>> algorithms_of(const kernels::Backend& backend,
                                                        const BenchOptions& options) {
  std::vector<const AlgorithmInfo*> chosen;
  for (const std::string& name : options.algorithms)
    chosen.push_back(PERI_TRY(parse_algorithm(options.op, name)));
  if (!chosen.empty()) return chosen;
  const Reach reach = backend.topology().reach(world_group(backend.job().world_size));
  for (const AlgorithmInfo& row : algorithms()) {
    if (row.op != options.op) continue;
    if (row.algorithm == Algorithm::nccl && !reach.nccl) continue;
    // Multicast is emulated on the host only.
    if (!is_host(backend) && uses_multicast(row.algorithm)) continue;
    chosen.push_back(&row);
  }
  return chosen;
}

std::vector<int64_t> sizes_of(const BenchOptions& options) {
  std::vector<int64_t> sizes = options.sizes;
  if (sizes.empty())
    for (int64_t size = 4 << 10; size <= 16 << 20; size *= 4) sizes.push_back(size);
  return sizes;
}

// The peer program's times, and why there are none. On rank 0 only.
class PeerTimes {
 public:
  PeerTimes(const kernels::Backend& backend, const BenchOptions& options)
      : peer_(fail(Code::NotFound,
                   is_host(backend) ? "only all_reduce of f32 has one"
                                    : "scripts/bench/gpu runs PyTorch and NCCL beside all_reduce of bf16")) {
    if (!options.peer) return;
    if (is_host(backend) && options.op == Op::all_reduce && options.dtype == DType::f32)
      peer_ = MpiPeer::build(options);
    if (!peer_) missing_ = peer_.error().message;
  }
  void run(const std::vector<int64_t>& sizes, int ranks) {
    if (!peer_) return;
    auto theirs = peer_->run(sizes, ranks);
    if (!theirs) {
      missing_ = theirs.error().message;
      peer_ = std::unexpected(theirs.error());
      return;
    }
    for (auto [size, time] : *theirs) times_[size].push_back(time);
  }
  bool empty() const { return times_.empty(); }
  double median_of(int64_t size) const { return median(times_.at(size)); }
  const std::string& missing() const { return missing_; }

 private:
  Result<MpiPeer> peer_;
  std::string missing_;
  std::map<int64_t, std::vector<double>> times_;
};

// Microseconds by size and algorithm, one of each round.
using Times = std::map<std::pair<int64_t, const AlgorithmInfo*>, std::vector<double>>;

std::string table_of(const Times& times, const std::vector<int64_t>& sizes,
                     const std::vector<const AlgorithmInfo*>& chosen, const PeerTimes& peer, int ranks) {
  std::string text = fmt::format("{:>10}", "");
  for (const AlgorithmInfo* algorithm : chosen) text += fmt::format("{:>20}", algorithm->name);
  if (!peer.empty()) text += fmt::format("{:>14}{:>10}", "MPI_Allreduce", "ratio");
  text += "\n";
  double log_ratios = 0, lowest = 1e30;
  for (int64_t size : sizes) {
    text += fmt::format("{:>10}", short_bytes(Bytes(size)));
    double best = 1e30;
    for (const AlgorithmInfo* algorithm : chosen) {
      const double time = median(times.at({size, algorithm}));
      const double moved = static_cast<double>(size) * collective_info(algorithm->op).bus_factor(ranks);
      best = std::min(best, time);
      text += fmt::format("{:>20}", fmt::format("{:.1f} ({:.2f})", time, moved / time / 1e3));
    }
    if (!peer.empty()) {
      const double theirs = peer.median_of(size);
      lowest = std::min(lowest, theirs / best);
      log_ratios += std::log(theirs / best);
      text += fmt::format("{:>14.1f}{:>9.2f}x", theirs, theirs / best);
    }
    text += "\n";
  }
  if (!peer.empty())
    text += fmt::format(
        "the fastest algorithm of each size against MPI_Allreduce: {:.2f}x at the geometric mean, {:.2f}x at "
        "least\n",
        std::exp(log_ratios / static_cast<double>(sizes.size())), lowest);
  if (!peer.missing().empty()) text += "NO PEER: " + peer.missing() + "\n";
  return text;
}

}  // namespace

Result<std::string> bench_collectives(kernels::Backend& backend, const BenchOptions& options) {
  const int ranks = backend.job().world_size;
  const bool first = backend.job().rank == 0;
  const std::vector<const AlgorithmInfo*> chosen = PERI_TRY(algorithms_of(backend, options));
  const std::vector<int64_t> sizes = sizes_of(options);
  std::optional<PeerTimes> peer;
  if (first) peer.emplace(backend, options);

  Times times;
  for (int round = 0; round < options.rounds; ++round) {
    for (int64_t size : sizes)
      for (const AlgorithmInfo* algorithm : chosen) {
        const BenchPoint point = PERI_TRY(bench_collective(backend, *algorithm, options.dtype, size));
        times[{size, algorithm}].push_back(point.microseconds);
      }
    if (peer) peer->run(sizes, ranks);
    // The others sleep while the peer runs.
    PERI_TRY(backend.exchange(world_group(ranks), "", "bench round"));
  }
  if (!peer) return std::string();
  return fmt::format("{} {} over {} ranks, {} backend: us per call (bus GB/s), medians of {} rounds\n",
                     to_string(options.op), to_string(options.dtype), ranks, backend.name(), options.rounds) +
         table_of(times, sizes, chosen, *peer, ranks);
}

}  // namespace peri::commands
