// The peer that `peri bench all_reduce` is measured against: MPI_Allreduce, f32 sum, on random data, results
// checked.
//
//   mpicxx -O3 mpi_allreduce.cpp -o mpi_allreduce && mpirun -n 2 ./mpi_allreduce 4096 1048576
//
// Prints one line per size: bytes, and the microseconds per call with separate buffers and with MPI_IN_PLACE.
// A call's time is that of a batch of calls in a row, divided by their number, on the slowest rank; of the
// batches, the median.
#include <mpi.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

float random_element(int rank, int64_t index) {
  uint64_t x = static_cast<uint64_t>(index) * 0x9E3779B97F4A7C15u +
               static_cast<uint64_t>(rank + 1) * 0xC2B2AE3D27D4EB4Fu;
  x = (x ^ (x >> 31)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 29)) * 0x94D049BB133111EBu;
  return static_cast<float>(static_cast<double>(x >> 40) / (1 << 23) - 1);
}

bool is_sum(const std::vector<float>& result, int ranks) {
  for (size_t i = 0; i < result.size(); ++i) {
    double sum = 0;
    for (int r = 0; r < ranks; ++r) sum += random_element(r, static_cast<int64_t>(i));
    if (!(std::abs(result[i] - sum) <= 1e-6 * ranks)) return false;
  }
  return true;
}

// `prepare` runs before every call, untimed: an input that nobody has written since would stay in the
// readers' caches.
template <class Prepare, class Call>
double median_microseconds(int batches, int calls, const Prepare& prepare, const Call& call) {
  std::vector<double> times;
  for (int b = -2; b < batches; ++b) {  // the first two warm up
    MPI_Barrier(MPI_COMM_WORLD);
    double spent = 0, slowest = 0;
    for (int i = 0; i < calls; ++i) {
      prepare();
      double begin = MPI_Wtime();
      call();
      spent += MPI_Wtime() - begin;
    }
    double mine = spent / calls * 1e6;
    MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    if (b >= 0) times.push_back(slowest);
  }
  std::nth_element(times.begin(), times.begin() + batches / 2, times.end());
  return times[static_cast<size_t>(batches / 2)];
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0, ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  int wrong = 0;
  for (int a = 1; a < argc; ++a) {
    int64_t bytes = std::atoll(argv[a]);
    auto count = static_cast<int>(bytes / 4);
    std::vector<float> pristine(static_cast<size_t>(count)), input(pristine.size()), output(pristine.size());
    for (int i = 0; i < count; ++i) pristine[static_cast<size_t>(i)] = random_element(rank, i);
    auto write_input = [&] { std::copy(pristine.begin(), pristine.end(), input.begin()); };
    auto write_output = [&] { std::copy(pristine.begin(), pristine.end(), output.begin()); };
    auto apart = [&] {
      MPI_Allreduce(input.data(), output.data(), count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    };
    auto in_place = [&] {
      MPI_Allreduce(MPI_IN_PLACE, output.data(), count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    };
    // As many calls as move 16 MiB, between 1 and 200; the same numbers as bindings/commands/bench.cpp.
    int calls = static_cast<int>(std::clamp<int64_t>((16 << 20) / std::max<int64_t>(bytes, 1), 1, 200)),
        batches = 21;
    double separate = median_microseconds(batches, calls, write_input, apart);
    wrong |= !is_sum(output, ranks);
    double same = median_microseconds(batches, calls, write_output, in_place);
    wrong |= !is_sum(output, ranks);
    if (rank == 0) std::printf("%lld %.3f %.3f\n", static_cast<long long>(bytes), separate, same);
  }
  MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  if (wrong && rank == 0) std::fprintf(stderr, "MPI_Allreduce gave wrong sums\n");
  MPI_Finalize();
  return wrong;
}
