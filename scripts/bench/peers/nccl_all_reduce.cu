// NCCL's side of scripts/bench/gpu without PyTorch: one process, a thread per GPU, all-reduce (bf16, sum) of
// ordinary buffers and of buffers registered as symmetric windows, replayed from a graph. And what a bare
// launch of a graph takes of the host.
//
//   nccl_all_reduce RANKS FOLDER ROWS ROUNDS BYTES:CHAIN:REPLAYS ...
//
// Time as everywhere in this benchmark: replays between a barrier and a synchronisation, over the number of
// collectives; of the ranks, the slowest. Results are checked against sums in double precision.
#include <nccl.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

[[noreturn]] void stop(const std::string& what) {
  std::fprintf(stderr, "nccl_all_reduce: %s\n", what.c_str());
  std::_Exit(1);  // the other threads may be waiting for this one
}
void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) stop(std::string(what) + ": " + cudaGetErrorString(error));
}
void check(ncclResult_t error, const char* what) {
  if (error != ncclSuccess) stop(std::string(what) + ": " + ncclGetErrorString(error));
}

using Clock = std::chrono::steady_clock;
double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

struct Size {
  size_t bytes = 0;
  int chain = 0, replays = 0;
};

float value_of(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

// The tensor of a safetensors file that holds only one.
std::vector<uint16_t> read_tensor(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  uint64_t header = 0;
  const auto size = static_cast<uint64_t>(file.tellg());
  file.seekg(0);
  file.read(reinterpret_cast<char*>(&header), sizeof header);
  if (!file || header > size - 8) stop("cannot read " + path);
  std::vector<uint16_t> values((size - 8 - header) / 2);
  file.seekg(static_cast<std::streamoff>(8 + header));
  file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * 2));
  if (!file) stop("cannot read " + path);
  return values;
}

__global__ void nothing() {}

// What all threads see.
struct Job {
  int ranks = 0, rounds = 0;
  std::vector<Size> sizes;
  std::vector<std::vector<uint16_t>> inputs;
  std::vector<ncclComm_t> communicators;
  std::barrier<> barrier;
  std::vector<std::vector<double>> times;  // of the measurement in progress: by rank, by round
  std::FILE* rows = nullptr;

  Job(int ranks_, int rounds_) : ranks(ranks_), rounds(rounds_), barrier(ranks_), times(ranks_) {}
};

class Rank {
 public:
  Rank(Job& job, int rank) : job_(job), rank_(rank), comm_(job.communicators[rank]) {
    check(cudaSetDevice(rank), "cudaSetDevice");
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
  }

  void run() {
    size_t most = 0;
    for (const Size& size : job_.sizes) most = std::max(most, size.bytes);
    void *input = nullptr, *output = nullptr;
    check(cudaMalloc(&input, most), "cudaMalloc");
    check(cudaMalloc(&output, most), "cudaMalloc");
    measure("cpp", input, output);
    void *shared_input = nullptr, *shared_output = nullptr;
    check(ncclMemAlloc(&shared_input, most), "ncclMemAlloc");
    check(ncclMemAlloc(&shared_output, most), "ncclMemAlloc");
    ncclWindow_t windows[2];
    check(ncclCommWindowRegister(comm_, shared_input, most, &windows[0], NCCL_WIN_COLL_SYMMETRIC),
          "ncclCommWindowRegister");
    check(ncclCommWindowRegister(comm_, shared_output, most, &windows[1], NCCL_WIN_COLL_SYMMETRIC),
          "ncclCommWindowRegister");
    measure("cpp_window", shared_input, shared_output);
    if (rank_ == 0) bare_launch();
  }

 private:
  // The host's microseconds for one launch of a graph of a few empty kernels, nobody waiting.
  void bare_launch() {
    for (int nodes : {1, 16}) {
      cudaGraphExec_t exec = capture([&] {
        for (int i = 0; i < nodes; ++i) nothing<<<1, 32, 0, stream_>>>();
      });
      std::vector<double> times;
      for (int round = -1; round < job_.rounds; ++round) {
        check(cudaStreamSynchronize(stream_), "synchronize");
        const auto start = Clock::now();
        for (int i = 0; i < 20; ++i) check(cudaGraphLaunch(exec, stream_), "cudaGraphLaunch");
        if (round >= 0) times.push_back(microseconds_since(start) / 20);
      }
      check(cudaStreamSynchronize(stream_), "synchronize");
      write("\"figure\": \"host\", \"column\": \"launch_" + std::to_string(nodes) + "\"", times);
    }
  }

  template <class Body>
  cudaGraphExec_t capture(const Body& body) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "begin capture");
    body();
    check(cudaStreamEndCapture(stream_, &graph), "end capture");
    check(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
    check(cudaGraphDestroy(graph), "destroy");
    return exec;
  }

  void measure(const char* column, void* input, void* output) {
    for (const Size& size : job_.sizes) {
      const size_t count = size.bytes / 2;
      check(cudaMemcpy(input, job_.inputs[rank_].data(), size.bytes, cudaMemcpyHostToDevice), "copy");
      check(cudaMemset(output, 0xFF, size.bytes), "memset");
      auto call = [&] {
        check(ncclAllReduce(input, output, count, ncclBfloat16, ncclSum, comm_, stream_), "ncclAllReduce");
      };
      check(cudaDeviceSynchronize(), "synchronize");
      call();
      check(cudaStreamSynchronize(stream_), "synchronize");
      cudaGraphExec_t exec = capture([&] {
        for (int i = 0; i < size.chain; ++i) call();
      });
      job_.times[rank_].clear();
      for (int round = -1; round < job_.rounds; ++round) {
        check(cudaStreamSynchronize(stream_), "synchronize");
        job_.barrier.arrive_and_wait();
        const auto start = Clock::now();
        for (int i = 0; i < size.replays; ++i) check(cudaGraphLaunch(exec, stream_), "cudaGraphLaunch");
        check(cudaStreamSynchronize(stream_), "synchronize");
        if (round >= 0) job_.times[rank_].push_back(microseconds_since(start) / size.replays / size.chain);
      }
      check(cudaGraphExecDestroy(exec), "destroy");
      check_sums(column, output, count);
      job_.barrier.arrive_and_wait();
      if (rank_ == 0) {
        std::vector<double> slowest = job_.times[0];
        for (const auto& times : job_.times)
          for (size_t i = 0; i < slowest.size(); ++i) slowest[i] = std::max(slowest[i], times[i]);
        write("\"figure\": \"all_reduce\", \"column\": \"" + std::string(column) +
                  "\", \"bytes\": " + std::to_string(size.bytes),
              slowest);
      }
      job_.barrier.arrive_and_wait();  // nobody clears its times before
    }
  }

  // NCCL may round after every addition: to bf16, of sums of up to twice the ranks.
  void check_sums(const char* column, const void* output, size_t count) {
    std::vector<uint16_t> got(count);
    check(cudaMemcpy(got.data(), output, count * 2, cudaMemcpyDeviceToHost), "copy");
    const double tolerance = (job_.ranks - 1) * 2.0 * job_.ranks / 256;
    for (size_t i = 0; i < count; ++i) {
      double sum = 0;
      for (const auto& input : job_.inputs) sum += value_of(input[i]);
      if (!(std::abs(value_of(got[i]) - sum) <= tolerance))
        stop(std::string(column) + ": element " + std::to_string(i) + " is not the sum");
    }
  }

  void write(const std::string& fields, const std::vector<double>& times) {
    std::fprintf(job_.rows, "{%s, \"peer\": \"nccl\", \"us\": [", fields.c_str());
    for (size_t i = 0; i < times.size(); ++i) std::fprintf(job_.rows, "%s%.4f", i ? ", " : "", times[i]);
    std::fprintf(job_.rows, "]}\n");
    std::fflush(job_.rows);
  }

  Job& job_;
  int rank_;
  ncclComm_t comm_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) stop("nccl_all_reduce RANKS FOLDER ROWS ROUNDS BYTES:CHAIN:REPLAYS ...");
  Job job(std::atoi(argv[1]), std::atoi(argv[4]));
  for (int i = 5; i < argc; ++i) {
    Size size;
    if (std::sscanf(argv[i], "%zu:%d:%d", &size.bytes, &size.chain, &size.replays) != 3) stop(argv[i]);
    job.sizes.push_back(size);
  }
  job.rows = std::fopen(argv[3], "a");
  if (!job.rows) stop(std::string("cannot write ") + argv[3]);
  for (int r = 0; r < job.ranks; ++r)
    job.inputs.push_back(read_tensor(std::string(argv[2]) + "/x." + std::to_string(r) + ".safetensors"));
  std::vector<int> devices;
  for (int r = 0; r < job.ranks; ++r) devices.push_back(r);
  job.communicators.resize(devices.size());
  check(ncclCommInitAll(job.communicators.data(), job.ranks, devices.data()), "ncclCommInitAll");
  std::vector<std::thread> threads;
  for (int r = 0; r < job.ranks; ++r) threads.emplace_back([&job, r] { Rank(job, r).run(); });
  for (std::thread& thread : threads) thread.join();
  std::fclose(job.rows);
  std::fflush(nullptr);
  std::_Exit(0);  // the process' end frees everything; NCCL's own teardown has nothing to tell
}
