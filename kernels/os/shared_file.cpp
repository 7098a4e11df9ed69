#include "kernels/os/shared_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <utility>

#include "core/bytes.hpp"

namespace peri::kernels::os {
namespace {

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

Result<Fd> create_shared_file(Bytes bytes) {
  Fd file(memfd_create("peri", MFD_CLOEXEC));
  if (!file.valid()) return failure(Code::IoError, "memfd_create");
  if (ftruncate(file.get(), bytes.count()) != 0)
    return failure(Code::OutOfMemory, fmt::format("shared memory of {}", describe_bytes(bytes)));
  return file;
}

Result<std::shared_ptr<Mapping>> Mapping::of_file(const Fd& file) {
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return failure(Code::IoError, "fstat of shared memory");
  std::lock_guard lock(registry().mutex);
  std::erase_if(registry().mappings, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<Mapping>& known = registry().mappings[{status.st_dev, status.st_ino}];
  if (std::shared_ptr<Mapping> mapping = known.lock()) return mapping;
  const Bytes size(status.st_size);
  void* data = mmap(nullptr, size.count(), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED)
    return failure(Code::OutOfMemory, fmt::format("mapping {} of shared memory", describe_bytes(size)));
  std::shared_ptr<Mapping> mapping(new Mapping(static_cast<std::byte*>(data), size));
  known = mapping;
  return mapping;
}

Mapping::~Mapping() {
  munmap(data_, bytes_.count());
}

Status reserve(const Fd& file, Bytes offset, Bytes bytes) {
  int failed = 0;
  do {
    failed = bytes == Bytes() ? 0 : posix_fallocate(file.get(), offset.count(), bytes.count());
  } while (failed == EINTR);
  errno = failed;
  if (failed != 0)
    return failure(Code::OutOfMemory, fmt::format("{} of shared memory", describe_bytes(bytes)));
  return {};
}

}  // namespace peri::kernels::os
