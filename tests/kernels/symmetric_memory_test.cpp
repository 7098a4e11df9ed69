// Symmetric memory: who sees what when, signals, and the ways in which ranks can disagree about an
// allocation.
#include <catch2/catch.hpp>

#include <cstring>

#include "kernels/host/memory.hpp"
#include "kernels/host/symmetric_memory.hpp"
#include "tests/support/ranks.hpp"

using namespace peri;
using namespace peri::test;

TEST_CASE("members see each other's blocks and what is copied into them") {
  auto body = [](Backend& backend) -> std::string {
    const int n = backend.job().world_size, rank = backend.job().rank;
    const Group world = world_group(n);
    auto storage = backend.allocate_symmetric(1000, world);
    if (!storage) return storage.error().to_string();
    SymmetricMemory* memory = backend.symmetric_memory(**storage);
    if (!memory || memory->bytes() != 1000 || memory->index() != rank || memory->group() != world)
      return "handle";
    if (memory->buffer(rank) != (*storage)->data()) return "own buffer";
    if (reinterpret_cast<uintptr_t>((*storage)->data()) % 64 != 0) return "alignment";
    const int next = (rank + 1) % n, before = (rank + n - 1) % n;
    uint32_t mine = 100 + static_cast<uint32_t>(rank);
    for (uint32_t round = 0; round < 50; ++round) {
      uint32_t value = mine + round * 1000;
      if (!memory->copy(next, 8, reinterpret_cast<std::byte*>(&value), 4)) return "copy";
      if (!memory->memset32(next, 100, value, 3) || !memory->write_value32(next, 200, value))
        return "memset32";
      if (Status s = memory->barrier("round"); !s) return s.error().to_string();
      for (int64_t at : {8, 100, 104, 108, 200}) {
        uint32_t got;
        std::memcpy(&got, memory->buffer(rank) + at, 4);
        if (got != 100 + static_cast<uint32_t>(before) + round * 1000) return "wrong value";
        std::memcpy(&got, memory->buffer(next) + at, 4);
        if (got != value) return "wrong value at the peer";
      }
      if (Status s = memory->barrier("round"); !s) return s.error().to_string();
    }
    if (memory->copy(next, 996, nullptr, 8) || memory->copy(n, 0, nullptr, 0) ||
        memory->memset32(next, 2, 0, 1) || memory->memset32(next, 0, 0, INT64_MAX / 2))
      return "out of the block";
    return "";
  };
  CHECK(failures(run_ranks(job_options(3), body)) == "");
}

TEST_CASE("a signal is consumed once, per pair, channel and group") {
  auto body = [](Backend& backend) -> std::string {
    const int n = backend.job().world_size, rank = backend.job().rank;
    auto storage = backend.allocate_symmetric(64, world_group(n));
    auto pair = rank < 2 ? *backend.allocate_symmetric(64, Group{{1, 0}}) : nullptr;
    SymmetricMemory* memory = backend.symmetric_memory(**storage);
    // A token goes round; the counter that it guards is plain memory of rank 0.
    auto* counter = reinterpret_cast<int*>(memory->buffer(0));
    for (int round = 0; round < 200; ++round) {
      if (rank > 0 || round > 0)
        if (Status s = memory->wait_signal((rank + n - 1) % n, 3, "token"); !s) return s.error().to_string();
      if (*counter != round * n + rank) return "the token came out of turn";
      ++*counter;
      if (Status s = memory->put_signal((rank + 1) % n, 3, "token"); !s) return s.error().to_string();
    }
    if (rank == 0)
      if (Status s = memory->wait_signal(n - 1, 3, "token"); !s) return s.error().to_string();
    // A second signal waits until the first is taken; another group's channel of the same number is another
    // channel.
    if (rank < 2) {
      SymmetricMemory* other = backend.symmetric_memory(*pair);
      if (rank == 0 && !(other->put_signal(0, 3, "pair") && memory->put_signal(1, 3, "world"))) return "put";
      if (rank == 1 && !(memory->wait_signal(0, 3, "world") && other->wait_signal(1, 3, "pair")))
        return "wait";
    }
    return memory->put_signal(0, 8, "x") || memory->wait_signal(-1, 0, "x") ? "no such channel" : "";
  };
  CHECK(failures(run_ranks(job_options(3), body)) == "");
}

TEST_CASE("ranks that ask for different sizes are told both") {
  auto body = [](Backend& backend) -> std::string {
    auto storage = backend.allocate_symmetric(backend.job().rank == 0 ? 4000 : 4096, world_group(2));
    return storage ? "no error" : storage.error().to_string();
  };
  for (const RankResult& result : run_ranks(job_options(2), body)) {
    CHECK(result.text.find("rank 0 last entered allocate_symmetric of 4000 bytes") != result.text.npos);
    CHECK(result.text.find("4000 bytes") != result.text.npos);
    CHECK(result.text.find("4096 bytes") != result.text.npos);
  }
}

TEST_CASE("more than the machine has is refused on all ranks, which then go on") {
  auto body = [](Backend& backend) -> std::string {
    auto storage = backend.allocate_symmetric(host::available_memory() / 2 + (1 << 30), world_group(2));
    if (storage) return "no error";
    if (storage.error().code != Code::OutOfMemory) return storage.error().to_string();
    auto small = backend.allocate_symmetric(100, world_group(2));
    return small ? "" : small.error().to_string();
  };
  CHECK(failures(run_ranks(job_options(2), body)) == "");
}

TEST_CASE("freeing is local, and the address tells the group while it lives") {
  auto body = [](Backend& backend) -> std::string {
    const Group world = world_group(2);
    for (int round = 0; round < 50; ++round) {
      auto storage = backend.allocate_symmetric(10'000, world);
      if (!storage) return storage.error().to_string();
      std::byte* data = (*storage)->data();
      const Group* group = backend.symmetric_group(data + 9'999);
      if (!group || *group != world || backend.symmetric_group(data + 10'000)) return "group by address";
      if ((*storage)->bytes() != 10'000 || !(*storage)->is_symmetric()) return "storage";
      if (backend.job().rank == round % 2) {
        std::memset(data, 1, 10'000);
        storage->reset();
        if (backend.symmetric_group(data)) return "still there";
      }
    }
    return "";
  };
  CHECK(failures(run_ranks(job_options(2), body)) == "");
}

TEST_CASE("memory may outlive its backend") {
  auto options = job_options(1);
  std::shared_ptr<Storage> symmetric, ordinary;
  {
    auto backend = create_host_backend(options);
    REQUIRE(backend);
    symmetric = *(*backend)->allocate_symmetric(5000, world_group(1));
    ordinary = *(*backend)->allocate(5000, Place::host);
  }
  std::memset(symmetric->data(), 1, 5000);
  std::memset(ordinary->data(), 1, 5000);
}
