#include "kernels/os/descriptor.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace peri::kernels::os {

std::unexpected<Error> failure(Code code, const std::string& message) {
  const int number = errno;
  return fail(code, fmt::format("{}: {}", message, std::strerror(number)));
}

}  // namespace peri::kernels::os
