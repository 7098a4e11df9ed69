// A file descriptor with an owner, and the operating system's errors as ours. The one such class of the tree.
#pragma once

#include <unistd.h>

#include <string>
#include <utility>

#include "core/error.hpp"

namespace peri::kernels::os {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void reset() {
    if (valid()) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

// "message: No such file" for the current errno.
std::unexpected<Error> failure(Code code, const std::string& message);

}  // namespace peri::kernels::os
