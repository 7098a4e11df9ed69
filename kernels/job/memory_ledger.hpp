// How much the ranks of a job have promised to their tensors, against what the machine had when the job
// began: ranks that allocate at the same time have touched nothing yet and all see the same free memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "core/error.hpp"
#include "core/types/units.hpp"

namespace peri::kernels::job {

// In the job's shared memory, in bytes. All zeros promise nothing and allow nothing.
struct MemoryLedger {
  std::atomic<int64_t> limit{0};
  std::atomic<int64_t> promised{0};
};

// What a job may promise now: the machine's free memory, less a margin for everybody else.
Bytes promisable_memory();
// OutOfMemory if `bytes` more would exhaust the machine; otherwise they are promised until `release_memory`.
Status promise_memory(MemoryLedger& ledger, Bytes bytes, const std::string& kind);
void release_memory(MemoryLedger& ledger, Bytes bytes);

}  // namespace peri::kernels::job
