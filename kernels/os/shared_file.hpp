// Memory that processes share: files without a name, passed on as descriptors and mapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/error.hpp"
#include "core/types/units.hpp"
#include "kernels/os/descriptor.hpp"

namespace peri::kernels::os {

// An anonymous shared file of zeros. It takes memory only where it is touched or reserved.
Result<Fd> create_shared_file(Bytes bytes);

// A shared file, mapped. Held by shared_ptr because two ranks that are threads of one process (as tests run
// them) must see one mapping: race detectors follow addresses, not files.
class Mapping {
 public:
  static Result<std::shared_ptr<Mapping>> of_file(const Fd& file);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  std::byte* data() const { return data_; }
  Bytes bytes() const { return bytes_; }

 private:
  Mapping(std::byte* data, Bytes bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_;
  Bytes bytes_;
};

// Takes the pages of a part of a shared file now, so that exhaustion is an error here and not a SIGBUS later.
Status reserve(const Fd& file, Bytes offset, Bytes bytes);

}  // namespace peri::kernels::os
