// Symmetric memory: who sees what when, signals, and the ways in which ranks can disagree about an
// allocation.
#include <catch2/catch.hpp>

#include "tests/support/collective_case.hpp"
#include "tests/support/ranks.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::test;

namespace {

// 32-bit words of any block that is mapped here, on whichever device it lies.
Operand words_at(std::byte* data, int64_t count = 1) {
  return {data, {DType::i32, View::contiguous({count})}};
}
uint32_t read32(Backend& backend, std::byte* from) {
  uint32_t value = 0xDEAD;
  if (auto bytes = bytes_of(backend, words_at(from))) std::memcpy(&value, bytes->data(), 4);
  return value;
}
Status write32(Backend& backend, std::byte* to, uint32_t value) {
  return set_bytes(backend, words_at(to), {reinterpret_cast<const char*>(&value), 4});
}

}  // namespace

TEST_CASE("members see each other's blocks and what is copied into them") {
  auto body = [](Backend& backend) -> std::string {
    const int n = backend.job().world_size, rank = backend.job().rank;
    const Group world = world_group(n);
    auto storage = backend.allocate_symmetric(Bytes(1000), world);
    if (!storage) return storage.error().to_string();
    SymmetricMemory* memory = backend.symmetric_memory(**storage);
    if (!memory || memory->bytes() != Bytes(1000) || memory->index() != rank || memory->group() != world)
      return "handle";
    if (memory->buffer(rank) != (*storage)->data()) return "own buffer";
    if (reinterpret_cast<uintptr_t>((*storage)->data()) % 64 != 0) return "alignment";
    const int next = (rank + 1) % n, before = (rank + n - 1) % n;
    uint32_t mine = 100 + static_cast<uint32_t>(rank);
    for (uint32_t round = 0; round < 50; ++round) {
      uint32_t value = mine + round * 1000;
      if (!memory->copy(next, Bytes(8), reinterpret_cast<std::byte*>(&value), Bytes(4))) return "copy";
      if (!memory->memset32(next, Bytes(100), value, 3) || !memory->write_value32(next, Bytes(200), value))
        return "memset32";
      if (Status s = memory->barrier("round"); !s) return s.error().to_string();
      for (int64_t at : {8, 100, 104, 108, 200}) {
        if (read32(backend, memory->buffer(rank) + at) != 100 + static_cast<uint32_t>(before) + round * 1000)
          return "wrong value";
        if (read32(backend, memory->buffer(next) + at) != value) return "wrong value at the peer";
      }
      if (Status s = memory->barrier("round"); !s) return s.error().to_string();
    }
    if (memory->copy(next, Bytes(996), nullptr, Bytes(8)) || memory->copy(n, {}, nullptr, {}) ||
        memory->memset32(next, Bytes(2), 0, 1) || memory->memset32(next, {}, 0, INT64_MAX / 2))
      return "out of the block";
    return "";
  };
  check_well(run_ranks(job_options(3), body));
}

TEST_CASE("a signal is consumed once, per pair, channel and group") {
  auto body = [](Backend& backend) -> std::string {
    const int n = backend.job().world_size, rank = backend.job().rank;
    auto storage = backend.allocate_symmetric(Bytes(64), world_group(n));
    auto pair = rank < 2 ? *backend.allocate_symmetric(Bytes(64), Group{{1, 0}}) : nullptr;
    SymmetricMemory* memory = backend.symmetric_memory(**storage);
    if (Status s = write32(backend, memory->buffer(rank), 0); !s) return s.error().to_string();
    if (Status s = memory->barrier("start"); !s) return s.error().to_string();
    // A token goes round; the counter that it guards is plain memory of rank 0.
    std::byte* counter = memory->buffer(0);
    for (int round = 0; round < 200; ++round) {
      if (rank > 0 || round > 0)
        if (Status s = memory->wait_signal((rank + n - 1) % n, 3, "token", {}); !s)
          return s.error().to_string();
      const auto turn = static_cast<uint32_t>(round * n + rank);
      if (read32(backend, counter) != turn) return "the token came out of turn";
      if (Status s = write32(backend, counter, turn + 1); !s) return s.error().to_string();
      if (Status s = memory->put_signal((rank + 1) % n, 3, "token", {}); !s) return s.error().to_string();
    }
    if (rank == 0)
      if (Status s = memory->wait_signal(n - 1, 3, "token", {}); !s) return s.error().to_string();
    // A second signal waits until the first is taken; another group's channel of the same number is another
    // channel.
    if (rank < 2) {
      SymmetricMemory* other = backend.symmetric_memory(*pair);
      if (rank == 0 && !(other->put_signal(0, 3, "pair", {}) && memory->put_signal(1, 3, "world", {})))
        return "put";
      if (rank == 1 && !(memory->wait_signal(0, 3, "world", {}) && other->wait_signal(1, 3, "pair", {})))
        return "wait";
    }
    if (memory->put_signal(0, 8, "x", {}) || memory->wait_signal(-1, 0, "x", {})) return "no such channel";
    Status s = backend.synchronize();
    return s ? "" : s.error().to_string();
  };
  check_well(run_ranks(job_options(3), body));
}

TEST_CASE("memory of a larger group serves a collective, on all of its members alike") {
  auto body = [](Backend& backend) -> std::string {
    const int rank = backend.job().rank;
    const Group pair{{2, 0}};
    // The first allocation of each group, at the same place in it.
    auto all = backend.allocate_symmetric(Bytes(64), world_group(3));
    if (!all) return all.error().to_string();
    if (rank == 1) return "";
    auto own = backend.allocate_symmetric(Bytes(64), pair);
    if (!own) return own.error().to_string();
    auto output = backend.allocate(Bytes(64), Place::device);
    auto sum = [&](Storage& input) -> std::string {
      if (Status s =
              set_bytes(backend, words_at(input.data(), 16), std::string(64, static_cast<char>(rank + 1)));
          !s)
        return s.error().to_string();
      const CollectiveSpec spec{.op = Op::all_reduce,
                                .algorithm = find_algorithm(Op::all_reduce, Algorithm::one_shot),
                                .group = pair,
                                .epilogue = {},
                                .origin = {"pair.lua", 1}};
      const Operand in = words_at(input.data(), 16), out = words_at((*output)->data(), 16);
      if (Status s = backend.collective(spec, {&in, 1}, {&out, 1}); !s)
        return std::string(to_string(s.error().code));
      auto bytes = bytes_of(backend, out);
      if (!bytes) return std::string(to_string(bytes.error().code));
      return *bytes == std::string(64, '\4') ? "" : "a wrong sum";
    };
    if (std::string wrong = sum(**all) + sum(**own); !wrong.empty()) return wrong;
    const std::string differs = sum(rank == 0 ? **all : **own);
    return differs == "RankMismatch" || differs == "PeerLost" ? "" : "memory of two groups: " + differs;
  };
  check_well(run_ranks(job_options(3), body));
}

TEST_CASE("ranks that ask for different sizes are told both") {
  auto body = [](Backend& backend) -> std::string {
    auto storage = backend.allocate_symmetric(Bytes(backend.job().rank == 0 ? 4000 : 4096), world_group(2));
    return storage ? "no error" : storage.error().to_string();
  };
  for (const RankResult& result : run_ranks(job_options(2), body)) {
    CHECK(result.text.find("rank 0 last entered allocate_symmetric of 4000 bytes") != result.text.npos);
    CHECK(result.text.find("4000 bytes") != result.text.npos);
    CHECK(result.text.find("4096 bytes") != result.text.npos);
  }
}

TEST_CASE("more than the machine has is refused on all ranks, which then go on") {
  // By what it has, not by what is free: that changes while others run, and all ranks must ask for the same.
  const int64_t machine = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  const Bytes too_much(tested.is_cuda ? int64_t(1) << 40 : machine / 2 + (1 << 20));  // two of them
  auto body = [too_much](Backend& backend) -> std::string {
    auto storage = backend.allocate_symmetric(too_much, world_group(2));
    if (storage) return "no error";
    if (storage.error().code != Code::OutOfMemory) return storage.error().to_string();
    auto small = backend.allocate_symmetric(Bytes(100), world_group(2));
    return small ? "" : small.error().to_string();
  };
  check_well(run_ranks(job_options(2), body));
}

TEST_CASE("freeing is local, and the address tells the group while it lives") {
  auto body = [](Backend& backend) -> std::string {
    const Group world = world_group(2);
    for (int round = 0; round < 50; ++round) {
      auto storage = backend.allocate_symmetric(Bytes(10'000), world);
      if (!storage) return storage.error().to_string();
      std::byte* data = (*storage)->data();
      const Group* group = backend.symmetric_group(data + 9'999);
      if (!group || *group != world || backend.symmetric_group(data + 10'000)) return "group by address";
      if ((*storage)->bytes() != Bytes(10'000) || !(*storage)->is_symmetric()) return "storage";
      if (backend.job().rank == round % 2) {
        if (!set_bytes(backend, words_at(data, 2'500), std::string(10'000, '\1'))) return "write";
        storage->reset();
        if (backend.symmetric_group(data)) return "still there";
      }
    }
    return "";
  };
  check_well(run_ranks(job_options(2), body));
}

TEST_CASE("memory may outlive its backend", "[here]") {
  auto options = job_options(1);
  std::shared_ptr<Storage> symmetric, ordinary;
  {
    auto backend = tested.create(options);
    REQUIRE(backend);
    symmetric = *(*backend)->allocate_symmetric(Bytes(5000), world_group(1));
    ordinary = *(*backend)->allocate(Bytes(5000), Place::host);
  }
  std::memset(ordinary->data(), 1, 5000);
  if (!tested.is_cuda) std::memset(symmetric->data(), 1, 5000);
}
