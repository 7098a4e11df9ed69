#include "kernels/host/memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>

namespace peri::kernels::host {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kSmallest = 256;
constexpr int64_t kLarge =
    4 << 20;  // from here on asking the machine costs nothing beside touching the pages
constexpr int64_t kLargestCached = 64 << 20;
constexpr int64_t kMostCached = 512 << 20;  // freed blocks kept in all; the next go back at once
constexpr int64_t kMargin = 256 << 20;      // left to the rest of the machine

// Classes an eighth of their power of two apart waste at most a quarter; the largest blocks are rounded to
// pages.
int64_t size_class(int64_t bytes) {
  if (bytes <= kSmallest) return kSmallest;
  if (bytes > kLargestCached) return (bytes + 4095) / 4096 * 4096;
  int64_t step = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(bytes))) / 8;
  return (bytes + step - 1) / step * step;
}

int64_t read_number(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string word;
  int64_t number = 0;
  if (key.empty()) return file >> number ? number : -1;  // "max" reads as no number: no limit
  while (file >> word)
    if (word == key) return file >> number ? number : -1;
  return -1;
}

// The group that this process sees at the root of its cgroup mount: version 2, else version 1.
int64_t cgroup_headroom() {
  constexpr const char* kPaths[][2] = {
      {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
      {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"}};
  for (auto [limit_path, usage_path] : kPaths) {
    int64_t limit = read_number(limit_path, ""), usage = read_number(usage_path, "");
    if (limit >= 0 && usage >= 0) return std::max<int64_t>(limit - usage, 0);
  }
  return std::numeric_limits<int64_t>::max();
}

// Mappings of this process by their file, so that ranks that are threads share them.
struct MappingRegistry {
  std::mutex mutex;
  std::map<std::pair<dev_t, ino_t>, std::weak_ptr<Mapping>> mappings;
};
MappingRegistry& registry() {
  static MappingRegistry instance;
  return instance;
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

std::unexpected<Error> os_failure(Code code, const std::string& message) {
  int number = errno;
  return fail(code, fmt::format("{}: {}", message, std::strerror(number)));
}

std::string describe_bytes(int64_t bytes) {
  if (bytes < 1 << 20) return fmt::format("{} bytes", bytes);
  if (bytes < 1 << 30) return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30));
}

Result<Fd> create_shared_file(int64_t bytes) {
  Fd file(memfd_create("peri", MFD_CLOEXEC));
  if (!file.valid()) return os_failure(Code::IoError, "memfd_create");
  if (ftruncate(file.get(), bytes) != 0)
    return os_failure(Code::OutOfMemory, fmt::format("shared memory of {}", describe_bytes(bytes)));
  return file;
}

Result<std::shared_ptr<Mapping>> Mapping::of_file(const Fd& file) {
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return os_failure(Code::IoError, "fstat of shared memory");
  std::lock_guard lock(registry().mutex);
  std::erase_if(registry().mappings, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<Mapping>& known = registry().mappings[{status.st_dev, status.st_ino}];
  if (std::shared_ptr<Mapping> mapping = known.lock()) return mapping;
  void* data =
      mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED)
    return os_failure(Code::OutOfMemory,
                      fmt::format("mapping {} of shared memory", describe_bytes(status.st_size)));
  std::shared_ptr<Mapping> mapping(new Mapping(static_cast<std::byte*>(data), status.st_size));
  known = mapping;
  return mapping;
}

Mapping::~Mapping() {
  munmap(data_, static_cast<size_t>(bytes_));
}

Status reserve(const Fd& file, int64_t offset, int64_t bytes) {
  int failed = 0;
  do {
    failed = bytes == 0 ? 0 : posix_fallocate(file.get(), offset, bytes);
  } while (failed == EINTR);
  errno = failed;
  if (failed != 0)
    return os_failure(Code::OutOfMemory, fmt::format("{} of shared memory", describe_bytes(bytes)));
  return {};
}

int64_t available_memory() {
  int64_t kibibytes = read_number("/proc/meminfo", "MemAvailable:");
  int64_t machine = kibibytes < 0 ? std::numeric_limits<int64_t>::max() : kibibytes * 1024;
  return std::max<int64_t>(std::min(machine, cgroup_headroom()) - kMargin, 0);
}

Status promise_memory(MemoryLedger& ledger, int64_t bytes, const std::string& kind) {
  int64_t limit = ledger.limit.load(std::memory_order_relaxed);
  // Asking the machine costs some 50 us, so only for sizes where that is nothing.
  int64_t available = bytes > kLarge ? available_memory() : bytes;
  int64_t before = ledger.promised.load(std::memory_order_relaxed);
  // What is refused is at no time counted: the other ranks' allocations must not fail for it.
  while (bytes <= limit - before && bytes <= available)
    if (ledger.promised.compare_exchange_weak(before, before + bytes, std::memory_order_relaxed)) return {};
  return fail(
      Code::OutOfMemory,
      fmt::format("{} of {} memory: the machine has {} left, and the job holds {}", describe_bytes(bytes),
                  kind, describe_bytes(std::min(std::max<int64_t>(limit - before, 0), available_memory())),
                  describe_bytes(before)),
      {}, "make the problem or the number of ranks smaller");
}

void release_memory(MemoryLedger& ledger, int64_t bytes) {
  ledger.promised.fetch_sub(bytes, std::memory_order_relaxed);
}

class OrdinaryStorage final : public Storage {
 public:
  OrdinaryStorage(std::shared_ptr<Allocator> owner, std::byte* data, int64_t bytes, Place place)
      : Storage(data, bytes, place, DefaultAllocator{}), owner_(std::move(owner)) {}
  ~OrdinaryStorage() override { owner_->release(data_); }

 private:
  std::shared_ptr<Allocator> owner_;
};

Result<std::shared_ptr<Storage>> Allocator::allocate(int64_t bytes, Place place) {
  if (bytes < 0 || bytes > std::numeric_limits<int64_t>::max() / 2)
    return fail(Code::InvalidArgument, fmt::format("an allocation of {} bytes", bytes));
  int64_t size = size_class(bytes);
  std::lock_guard lock(mutex_);
  std::byte* data = nullptr;
  if (auto list = free_.find(size); list != free_.end() && !list->second.empty()) {
    data = list->second.back();
    list->second.pop_back();
    cached_ -= size;
  } else {
    Result<std::byte*> fresh = allocate_block(size, place);
    if (!fresh) {
      free_cached();
      fresh = allocate_block(size, place);
    }
    data = PERI_TRY(std::move(fresh));
  }
  live_.emplace(data, Block{size, place});
  return std::make_shared<OrdinaryStorage>(shared_from_this(), data, bytes, place);
}

Result<std::byte*> Allocator::allocate_block(int64_t bytes, Place place) {
  PERI_TRY(promise_memory(*ledger_, bytes, to_string(place)));
  auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, static_cast<size_t>(bytes)));
  if (!data) {
    release_memory(*ledger_, bytes);
    return os_failure(Code::OutOfMemory,
                      fmt::format("{} of {} memory", describe_bytes(bytes), to_string(place)));
  }
  // Large tensors are walked from end to end: with huge pages the page tables stay in the cache.
  if (bytes > kLarge) {
    constexpr uintptr_t kPage = 4096;
    auto begin = (reinterpret_cast<uintptr_t>(data) + kPage - 1) / kPage * kPage;
    madvise(reinterpret_cast<void*>(begin), static_cast<size_t>(bytes) - kPage, MADV_HUGEPAGE);
  }
  return data;
}

void Allocator::release(std::byte* data) {
  std::lock_guard lock(mutex_);
  auto block = live_.find(data);
  int64_t size = block->second.bytes;
  live_.erase(block);
  if (size <= kLargestCached && cached_ + size <= kMostCached) {
    free_[size].push_back(data);
    cached_ += size;
  } else {
    free_block(data, size);
  }
}

void Allocator::free_block(std::byte* data, int64_t bytes) {
  std::free(data);
  release_memory(*ledger_, bytes);
}

void Allocator::free_cached() {
  for (auto& [size, blocks] : free_)
    for (std::byte* data : blocks) free_block(data, size);
  free_.clear();
  cached_ = 0;
}

Allocator::~Allocator() {
  free_cached();
}

Place Allocator::place_of(const std::byte* address) const {
  std::lock_guard lock(mutex_);
  auto after = live_.upper_bound(address);
  if (after == live_.begin()) return Place::host;
  const auto& [data, block] = *std::prev(after);
  return address < data + block.bytes ? block.place : Place::host;
}

}  // namespace peri::kernels::host
