#include "kernels/host/collectives/collective_copy.hpp"

#include <cstring>

#include "core/types/scalar.hpp"
#include "kernels/host/simd/isa.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kBlockBytes = 512;

struct CopyBlocks {
  PERI_SCALAR static void run(std::byte* to, const std::byte* from, int64_t blocks) {
    using Vector [[gnu::vector_size(64)]] = int64_t;
    for (; blocks > 0; --blocks, to += kBlockBytes, from += kBlockBytes) {
#pragma GCC unroll 8
      for (int64_t at = 0; at < kBlockBytes; at += sizeof(Vector)) {
        Vector vector;
        std::memcpy(&vector, from + at, sizeof(Vector));
        std::memcpy(to + at, &vector, sizeof(Vector));
      }
      asm volatile("" : "+r"(to));  // else the compiler sees a memcpy and calls it
    }
  }
};

}  // namespace

void copy_bytes(std::byte* to, const std::byte* from, int64_t bytes) {
  static const auto copy_blocks = for_this_cpu<CopyBlocks>();
  const int64_t blocks = bytes / kBlockBytes, done = blocks * kBlockBytes;
  if (blocks > 0) copy_blocks(to, from, blocks);
  std::memcpy(to + done, from + done, static_cast<size_t>(bytes - done));
}

}  // namespace peri::kernels::host
