// What the operating system lends: file descriptors, shared mappings, and ordinary memory behind a caching
// allocator that refuses before the machine runs out.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "kernels/tensor.hpp"

namespace peri::kernels::host {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// "message: No such file" for the current errno.
std::unexpected<Error> os_failure(Code code, const std::string& message);
// "1.5 GiB", "4096 bytes".
std::string describe_bytes(int64_t bytes);

// An anonymous shared file of zeros. It takes memory only where it is touched or reserved.
Result<Fd> create_shared_file(int64_t bytes);

// A shared file, mapped. Held by shared_ptr because two ranks that are threads of one process (as tests run
// them) must see one mapping: race detectors follow addresses, not files.
class Mapping {
 public:
  static Result<std::shared_ptr<Mapping>> of_file(const Fd& file);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  Mapping(std::byte* data, int64_t bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_;
  int64_t bytes_;
};

// Takes the pages of a part of a shared file now, so that exhaustion is an error here and not a SIGBUS later.
Status reserve(const Fd& file, int64_t offset, int64_t bytes);

// What may still be allocated on this machine: MemAvailable and the cgroup's limit, less a margin for
// everybody else.
int64_t available_memory();

// How much the ranks of a job have promised to their tensors, against what the machine had when the job
// began: ranks that allocate at the same time have touched nothing yet and all see the same free memory.
struct MemoryLedger {
  std::atomic<int64_t> limit{0};
  std::atomic<int64_t> promised{0};
};
// OutOfMemory if `bytes` more would exhaust the machine; otherwise they are promised until `release_memory`.
Status promise_memory(MemoryLedger& ledger, int64_t bytes, const std::string& kind);
void release_memory(MemoryLedger& ledger, int64_t bytes);

// Ordinary memory, 64-byte aligned. Freed blocks wait in lists by size class for the next of their size;
// those past a cap go back at once. Held by shared_ptr because tensors of the script may outlive the backend.
class Allocator : public std::enable_shared_from_this<Allocator> {
 public:
  explicit Allocator(std::shared_ptr<MemoryLedger> ledger) : ledger_(std::move(ledger)) {}
  ~Allocator();
  Result<std::shared_ptr<Storage>> allocate(int64_t bytes, Place place);
  // The place of the block that holds `address`; host if it is nobody's.
  Place place_of(const std::byte* address) const;

 private:
  friend class OrdinaryStorage;
  struct Block {
    int64_t bytes;
    Place place;
  };
  Result<std::byte*> allocate_block(int64_t bytes, Place place);
  void release(std::byte* data);
  void free_block(std::byte* data, int64_t bytes);
  void free_cached();

  mutable std::mutex mutex_;
  std::shared_ptr<MemoryLedger> ledger_;  // in the job's control block, which stays mapped as long
  std::map<const std::byte*, Block> live_;
  std::map<int64_t, std::vector<std::byte*>> free_;  // by size class
  int64_t cached_ = 0;                               // bytes in free_
};

}  // namespace peri::kernels::host
