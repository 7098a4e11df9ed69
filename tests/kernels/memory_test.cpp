// Ordinary memory: alignment, reuse, places, and the refusal of more than there is.
#include <catch2/catch.hpp>

#include <cstring>

#include "core/bytes.hpp"
#include "kernels/host/memory.hpp"
#include "kernels/os/machine.hpp"

using namespace peri;
using namespace peri::kernels;
using host::make_allocator;
using job::MemoryLedger;

namespace {

// Whose freed blocks are in use until `finish`.
class LateAllocator final : public CachingAllocator {
 public:
  LateAllocator()
      : CachingAllocator({.min_block = Bytes(16),
                          .page = Bytes(4096),
                          .max_kept_block = Bytes(1024),
                          .max_kept = Bytes(2048)}) {}
  ~LateAllocator() override { free_cached(); }
  void finish() {
    for (auto& [data, block] : used_) keep(data, block);
    used_.clear();
  }
  int got = 0, given_back = 0;

 private:
  Result<std::byte*> get(Block block) override {
    ++got;
    return new std::byte[block.bytes.count()];
  }
  void give_back(std::byte* data, Block) override {
    ++given_back;
    delete[] data;
  }
  void retire(std::byte* data, Block block) override { used_.push_back({data, block}); }

  std::vector<std::pair<std::byte*, Block>> used_;
};

}  // namespace

TEST_CASE("a freed block is handed out again when nobody uses it any more; what is too much goes back") {
  auto allocator = std::make_shared<LateAllocator>();
  std::byte* first = (*allocator->allocate(Bytes(1000), Place::device))->data();
  auto second = *allocator->allocate(Bytes(1000), Place::device);
  CHECK(second->data() != first);
  allocator->finish();
  CHECK((*allocator->allocate(Bytes(1000), Place::host))->data() != first);  // another place
  auto third = *allocator->allocate(Bytes(1000), Place::device);
  CHECK(third->data() == first);
  CHECK(allocator->got == 3);
  allocator->finish();
  CHECK(allocator->given_back == 0);
  second.reset();
  allocator->finish();  // with the one of the host: as much as is kept
  third.reset();
  CHECK(allocator->given_back == 0);
  allocator->finish();
  CHECK(allocator->given_back == 1);
  static_cast<void>(*allocator->allocate(Bytes(1025), Place::device));  // larger than what is kept
  allocator->finish();
  CHECK(allocator->given_back == 2);
  allocator->free_cached();
  CHECK(allocator->given_back == 4);
}

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
