#include "bindings/files/atomic_file.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <string.h>

#include <algorithm>

#include "core/random_bits.hpp"

namespace peri::files {
namespace {

std::unexpected<Error> refused(const std::string& target, int why) {
  return fail(Code::IoError, fmt::format("{}: cannot write it: {}", target, strerror(why)));
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& target) {
  AtomicFile file;
  std::string name = fmt::format("{}.{:016x}.tmp", target, PERI_TRY(random_bits()));
  file.descriptor_ = kernels::os::Fd(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file.descriptor_.valid()) return refused(target, errno);
  file.target_ = target;
  file.name_ = std::move(name);
  return file;
}

AtomicFile::~AtomicFile() {
  if (!name_.empty()) unlink(name_.c_str());
}

Status AtomicFile::write(const void* data, size_t bytes) {
  for (size_t at = 0; at < bytes;) {
    // The kernel writes at most 2 GiB at once.
    ssize_t count = ::write(descriptor_.get(), static_cast<const char*>(data) + at,
                            std::min(bytes - at, size_t{1} << 30));
    if (count < 0 && errno != EINTR) return refused(target_, errno);
    if (count > 0) at += static_cast<size_t>(count);
  }
  return {};
}

// On the disk before the name is: after a power cut there is the old file or the new one.
Status AtomicFile::take_place() {
  if (fsync(descriptor_.get()) != 0) return refused(target_, errno);
  if (rename(name_.c_str(), target_.c_str()) != 0) return refused(target_, errno);
  name_.clear();
  size_t slash = target_.rfind('/');
  std::string folder = slash == std::string::npos ? "." : target_.substr(0, slash + 1);
  kernels::os::Fd opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.valid()) fsync(opened.get());  // some file systems cannot; the file itself is safe
  return {};
}

}  // namespace peri::files
