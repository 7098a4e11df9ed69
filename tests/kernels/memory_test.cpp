// Ordinary memory: alignment, reuse, places, and the refusal of more than there is.
#include <catch2/catch.hpp>

#include <cstring>

#include "core/bytes.hpp"
#include "kernels/host/memory.hpp"
#include "kernels/os/machine.hpp"

using namespace peri;
using namespace peri::kernels;
using job::MemoryLedger;

namespace {

std::shared_ptr<host::Allocator> make_allocator(const std::shared_ptr<job::MemoryLedger>& ledger) {
  return std::make_shared<host::Allocator>(ledger);
}

}  // namespace

TEST_CASE("blocks are aligned, large enough and handed out again") {
  auto ledger = std::make_shared<job::MemoryLedger>();
  ledger->limit = 1 << 30;
  auto allocator = make_allocator(ledger);
  for (int64_t bytes : {0, 1, 63, 257, 1000, 4097, 100'000, 5 << 20, 70 << 20}) {
    auto storage = allocator->allocate(Bytes(bytes), Place::device);
    REQUIRE(storage);
    CHECK((*storage)->bytes() == Bytes(bytes));
    CHECK(reinterpret_cast<uintptr_t>((*storage)->data()) % 64 == 0);
    std::memset((*storage)->data(), 1, static_cast<size_t>(bytes));
  }
  std::byte* first = (*allocator->allocate(Bytes(1000), Place::device))->data();
  CHECK((*allocator->allocate(Bytes(1010), Place::host))->data() ==
        first);  // the same size class, whichever the place
  allocator.reset();
  CHECK(ledger->promised == 0);
}

TEST_CASE("the place of an address is that of its block") {
  auto ledger = std::make_shared<job::MemoryLedger>();
  ledger->limit = 1 << 30;
  auto allocator = make_allocator(ledger);
  auto device = *allocator->allocate(Bytes(300), Place::device);
  auto host = *allocator->allocate(Bytes(300), Place::host);
  CHECK(allocator->place_of(device->data() + 299) == Place::device);
  CHECK(allocator->place_of(host->data()) == Place::host);
  std::byte other;
  CHECK(allocator->place_of(&other) == Place::host);
}

TEST_CASE("more than the job may hold is OutOfMemory, with the sizes; cached blocks are given back first") {
  auto ledger = std::make_shared<job::MemoryLedger>();
  ledger->limit = 10 << 20;
  auto allocator = make_allocator(ledger);
  auto refused = allocator->allocate(Bytes(12 << 20), Place::device);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::OutOfMemory);
  CHECK(refused.error().message.find("12.0 MiB of device memory") != std::string::npos);
  CHECK(ledger->promised == 0);
  {
    auto eight = *allocator->allocate(Bytes(8 << 20), Place::device);
  }
  CHECK(ledger->promised == 8 << 20);
  CHECK(allocator->allocate(Bytes(6 << 20), Place::device));
  CHECK_FALSE(allocator->allocate(Bytes(-1), Place::device));
  CHECK_FALSE(allocator->allocate(os::available_memory() + Bytes(1LL << 40), Place::device));
  CHECK_FALSE(allocator->allocate(Bytes(INT64_MAX), Place::device));
}

TEST_CASE("the machine's free memory is a sensible number") {
  CHECK(os::available_memory() > Bytes(64 << 20));
  CHECK(describe_bytes(Bytes(4096)) == "4096 bytes");
  CHECK(describe_bytes(Bytes(3 << 19)) == "1.5 MiB");
}
