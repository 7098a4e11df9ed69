#include "core/random_bits.hpp"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

namespace peri {

Result<uint64_t> random_bits() {
  uint64_t bits = 0;
  ssize_t got;
  do got = getrandom(&bits, sizeof(bits), 0);
  while (got < 0 && errno == EINTR);
  if (got == sizeof(bits)) return bits;
  return fail(Code::IoError, std::string("the system gives no random numbers: ") + strerror(errno));
}

}  // namespace peri
