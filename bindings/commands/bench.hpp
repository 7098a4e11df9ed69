// `peri bench`: collectives of a backend, sizes x algorithms, and beside them, in the same run, what else is
// installed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/ops/collective.hpp"
#include "core/types/dtype.hpp"
#include "kernels/backend.hpp"

namespace peri::commands {

struct BenchOptions {
  Op op = Op::all_reduce;
  DType dtype = DType::f32;
  std::vector<std::string> algorithms;  // empty: all of the op's
  std::vector<int64_t> sizes;           // bytes of the larger operand; empty: 4 KiB to 16 MiB in steps of 4
  int rounds = 3;                       // of everything; ours and the peer's take turns
  bool peer = true;                     // all_reduce f32 on the host: Open MPI's MPI_Allreduce
  std::string peer_source;              // scripts/bench/peers/mpi_allreduce.cpp
  std::string build_folder;             // where the peer program is compiled to
};

struct BenchPoint {
  int64_t bytes = 0;
  double microseconds = 0;   // per call: of batches of replayed calls, the median; of the ranks, the slowest
  double bus_bandwidth = 0;  // GB/s as nccl-tests define it, comparable between ops and numbers of ranks
};

// One size of one algorithm over all ranks, called by all of them with the same arguments. Random data; a
// result that is not that of the op, computed in double precision, is an error. On the host calls are
// replayed one by one; on a device a recording holds a chain of them, and several are replayed between two
// synchronisations.
Result<BenchPoint> bench_collective(kernels::Backend& backend, const AlgorithmInfo& algorithm, DType dtype,
                                    int64_t bytes);

// The whole table with ratios and their geometric mean, called by all ranks: a text for the user on rank 0,
// empty on others. A peer that cannot be compiled or run is said to be missing, and why.
Result<std::string> bench_collectives(kernels::Backend& backend, const BenchOptions& options);

}  // namespace peri::commands
