// Ordinary memory of the host, 64-byte aligned, which is refused before the machine runs out.
#pragma once

#include <memory>

#include "kernels/job/memory_ledger.hpp"
#include "kernels/memory/caching_allocator.hpp"

namespace peri::kernels::host {

// `ledger`: in the job's control block, which stays mapped as long.
std::shared_ptr<CachingAllocator> make_allocator(std::shared_ptr<job::MemoryLedger> ledger);

}  // namespace peri::kernels::host
