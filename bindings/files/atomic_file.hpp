// A file that takes the place of another in one step, when it is whole: nobody sees half of it, and nothing
// is left of one that does not become whole.
#pragma once

#include <string>

#include "core/error.hpp"
#include "kernels/os/descriptor.hpp"

namespace peri::files {

class AtomicFile {
 public:
  // Beside the target. Errors, here and below: IoError.
  static Result<AtomicFile> create(const std::string& target);
  AtomicFile(AtomicFile&& other) noexcept
      : target_(std::move(other.target_)),
        name_(std::exchange(other.name_, {})),
        descriptor_(std::move(other.descriptor_)) {}
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();  // removes it unless it has taken its place

  Status write(const void* data, size_t bytes);
  Status take_place();

 private:
  AtomicFile() = default;

  std::string target_, name_;
  kernels::os::Fd descriptor_;
};

}  // namespace peri::files
