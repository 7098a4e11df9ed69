// Failures that the job survives: each ends what the ranks were doing, and after `recover` groups, messages
// and symmetric memory work as in the beginning.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include <chrono>
#include <random>

#include "tests/support/collective_case.hpp"
#include "tests/support/ranks.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::test;

namespace {

constexpr int kRanks = 4;

Status run(Backend& backend, const Case& c, const CaseMemory& memory) {
  PERI_TRY(run_collective(backend, c.spec(), memory.in, memory.out));
  return backend.synchronize();
}

enum class Fault { raise, raise_late, other_op, other_shape, interrupt, recover_at_once, other_size };
constexpr int kFaults = 7;

// One failure: who causes it, how, and what the group was doing. Drawn alike by all ranks.
struct Failure {
  Fault fault;
  int victim;
  Group group;
  std::string algorithm;
  int round;

  static Failure draw(std::mt19937& random, int round) {
    static const std::vector<Group> groups = {world_group(kRanks), {{1, 3}}, {{3, 0, 1}}, {{2, 0}}};
    auto below = [&](size_t count) { return random() % count; };
    Failure f{.fault = static_cast<Fault>(below(kFaults)),
              .victim = 0,
              .group = groups[below(groups.size())],
              .algorithm = below(2) ? "ll" : "two_shot",
              .round = round};
    f.victim = f.group.ranks[below(f.group.ranks.size())];
    return f;
  }
  std::string name() const {
    return fmt::format("round {}: fault {} by rank {} of {} in {}", round, static_cast<int>(fault), victim,
                       group.to_string(), algorithm);
  }
};

Status allocate(Backend& backend, const Failure& f, int64_t bytes) {
  auto memory = backend.allocate_symmetric(Bytes(bytes), f.group);
  return memory ? Status{} : std::unexpected(memory.error());
}

// What the victim does instead of the group's all-reduce.
Status misbehave(Backend& backend, const Failure& f, const Case& c, const CaseMemory& memory) {
  const Error raised{Code::ScriptError, fmt::format("raised in round {}", f.round), {"a.lua", 5}};
  switch (f.fault) {
    case Fault::raise:
      backend.abort(raised);
      return std::unexpected(raised);
    case Fault::raise_late:
      std::this_thread::sleep_for(std::chrono::microseconds(500));
      backend.abort(raised);
      return std::unexpected(raised);
    case Fault::other_op: {
      Case other{.op = Op::barrier, .algorithm = "ll", .shape = c.shape, .group = c.group};
      return run(backend, other, {memory.input, memory.input, memory.in, memory.in});
    }
    case Fault::other_shape: {
      Case other = c;
      other.shape = {2};
      const OperandType type{DType::f32, View::contiguous({2})};
      return run(backend, other,
                 {memory.input, memory.output, {memory.in.data, type}, {memory.out.data, type}});
    }
    case Fault::interrupt:
      backend.interrupt_flag() = true;
      return run(backend, c, memory);
    case Fault::other_size:
      return allocate(backend, f, 100);
    case Fault::recover_at_once:
      return {};
  }
  return {};
}

// "" if this rank's part of the failure went as it should: nobody is given a result that cannot be.
std::string fail_once(Backend& backend, const Failure& f, const Case& c, const CaseMemory& memory) {
  const auto begin = std::chrono::steady_clock::now();
  const bool victim = backend.job().rank == f.victim;
  const Status status = victim                         ? misbehave(backend, f, c, memory)
                        : f.fault == Fault::other_size ? allocate(backend, f, 200)
                                                       : run(backend, c, memory);
  if (std::chrono::steady_clock::now() - begin > std::chrono::duration<double>(5 * tested.patience))
    return "it took long";
  if (victim || f.fault == Fault::interrupt) return "";  // an interrupt may come when all have met
  if (status) return "went on without rank " + std::to_string(f.victim);
  const std::string text = status.error().to_string();
  const bool raises = f.fault == Fault::raise || f.fault == Fault::raise_late;
  const std::string cause = fmt::format("rank {} failed: a.lua:5: raised in round {}", f.victim, f.round);
  const bool by_others = text.find("failed: it stopped, for the job to recover") != text.npos;
  if (raises && !by_others && text.find(cause) == text.npos) return "another cause: " + text;
  const Code code = status.error().code;
  return code == Code::PeerLost || code == Code::RankMismatch ? "" : text;
}

// Collectives of all algorithms in the world and a group, symmetric memory from before the failures and new,
// signals and a message round the ranks.
std::string check_all(Backend& backend, Storage& before, int round) {
  const int rank = backend.job().rank;
  static const std::vector<std::string> algorithms = {"ll", "one_shot", "two_shot"};
  const auto seed = static_cast<uint64_t>(round) + 1;
  for (const Group& group : {world_group(kRanks), Group{{2, 0, 3}}, Group{{1, 3}}}) {
    if (group.index_of(rank) < 0) continue;
    Case c{.algorithm = algorithms[seed % 3], .shape = {65}, .group = group, .seed = seed};
    if (std::string wrong = run_case(backend, c); !wrong.empty()) return wrong;
  }
  SymmetricMemory* memory = backend.symmetric_memory(before);
  const Operand word{before.data(), {DType::i32, View::contiguous({1})}};
  const uint32_t mine = 1000 * static_cast<uint32_t>(round) + static_cast<uint32_t>(rank);
  if (!set_bytes(backend, word, {reinterpret_cast<const char*>(&mine), 4})) return "write";
  if (Status s = memory->barrier("round"); !s) return s.error().to_string();
  const int next = (rank + 1) % kRanks, previous = (rank + kRanks - 1) % kRanks;
  auto bytes = bytes_of(backend, {memory->buffer(next), word.type});
  if (!bytes) return bytes.error().to_string();
  uint32_t theirs = 0;
  std::memcpy(&theirs, bytes->data(), 4);
  if (theirs != 1000 * static_cast<uint32_t>(round) + static_cast<uint32_t>(next)) return "a stale word";
  if (Status s = memory->put_signal(next, 2, "signal", {}); !s) return s.error().to_string();
  if (Status s = memory->wait_signal(previous, 2, "signal", {}); !s) return s.error().to_string();
  for (Op op : {Op::send, Op::recv}) {
    const CollectiveSpec spec{.op = op,
                              .algorithm = find_algorithm(op, Algorithm::ll),
                              .group = world_group(kRanks),
                              .peer = op == Op::send ? next : previous};
    auto scratch = backend.allocate(Bytes(4), Place::device);
    const Operand operand{(*scratch)->data(), {DType::f32, View::contiguous({1})}};
    if (Status s = run_collective(backend, spec, operand, operand); !s) return s.error().to_string();
  }
  const Status done = backend.synchronize();
  return done ? "" : done.error().to_string();
}

std::string survive(Backend& backend, int rounds, unsigned seed) {
  auto before = backend.allocate_symmetric(Bytes(64), world_group(kRanks));
  if (!before) return before.error().to_string();
  std::mt19937 random(seed);
  for (int round = 0; round < rounds; ++round) {
    const Failure f = Failure::draw(random, round);
    const bool member = f.group.index_of(backend.job().rank) >= 0;
    const Case c{.algorithm = f.algorithm, .shape = {4}, .group = f.group};
    Result<CaseMemory> memory = member ? place(backend, c) : Result<CaseMemory>(CaseMemory{});
    if (!memory) return fmt::format("{}: {}", f.name(), memory.error().to_string());
    // Where a faster rank has failed already, the failure ends this exchange, too.
    const bool has_met = backend.exchange(world_group(kRanks), "", "a failure is next").has_value();
    if (member && has_met) {
      if (std::string wrong = fail_once(backend, f, c, *memory); !wrong.empty())
        return fmt::format("{}: {}", f.name(), wrong);
    }
    if (Status s = backend.recover(); !s)
      return fmt::format("{}: recover: {}", f.name(), s.error().to_string());
    if (backend.generation() != static_cast<uint32_t>(round) + 1) return "generation";
    if (std::string wrong = check_all(backend, **before, round); !wrong.empty())
      return fmt::format("{}: afterwards: {}", f.name(), wrong);
  }
  return "";
}

}  // namespace

TEST_CASE("a job survives failures of every kind") {
  auto body = [](Backend& backend) { return survive(backend, 40, 1); };
  check_well(run_ranks(job_options(kRanks), body));
}

TEST_CASE("a job survives a thousand failures", "[.thousand]") {
  auto body = [](Backend& backend) { return survive(backend, 1000, 2); };
  check_well(run_ranks(job_options(kRanks), body));
}

TEST_CASE("what was under way in an earlier generation is ignored") {
  auto body = [](Backend& backend) -> std::string {
    const int rank = backend.job().rank;
    auto memory = backend.allocate(Bytes(64), Place::device);
    auto message = [&](float value, bool sending) -> Status {
      const Operand operand{(*memory)->data(), {DType::f32, View::contiguous({1})}};
      if (sending) PERI_TRY(set_bytes(backend, operand, {reinterpret_cast<const char*>(&value), 4}));
      const Op op = sending ? Op::send : Op::recv;
      const CollectiveSpec spec{.op = op,
                                .algorithm = find_algorithm(op, Algorithm::ll),
                                .group = world_group(2),
                                .peer = sending ? 1 : 0};
      PERI_TRY(run_collective(backend, spec, operand, operand));
      return backend.synchronize();
    };
    auto storage = backend.allocate_symmetric(Bytes(64), world_group(2));
    SymmetricMemory* symmetric = backend.symmetric_memory(**storage);
    // A message and a signal that nobody takes; the channel is open on both sides, for there was one before.
    if (!message(1, rank == 0)) return "first message";
    if (rank == 0 && !(message(2, true) && symmetric->put_signal(1, 0, "early", {}))) return "early";
    if (Status s = backend.recover(); !s) return s.error().to_string();
    if (rank == 0 && !(message(3, true) && symmetric->put_signal(1, 0, "late", {}))) return "late";
    if (rank == 1) {
      if (Status s = message(0, false); !s) return s.error().to_string();
      const auto bytes = bytes_of(backend, {(*memory)->data(), {DType::f32, View::contiguous({1})}});
      float got = 0;
      std::memcpy(&got, bytes->data(), 4);
      if (got != 3) return fmt::format("received {}", got);
      if (!symmetric->wait_signal(0, 0, "late", {})) return "signal";
    }
    const Status done = backend.synchronize();
    return done ? "" : done.error().to_string();
  };
  check_well(run_ranks(job_options(2), body));
}

TEST_CASE("an error of this generation is all that a rank is told until it recovers") {
  auto body = [](Backend& backend) -> std::string {
    const Case c{.algorithm = "ll", .shape = {4}, .group = world_group(2)};
    auto memory = place(backend, c);
    if (backend.job().rank == 0) backend.abort({Code::ScriptError, "first", {}});
    for (int i = 0; i < 2 && backend.job().rank == 1; ++i) {
      const Status status = run(backend, c, *memory);
      if (status) return "no error";
      const std::string text = status.error().to_string();
      if (!tested.is_cuda && text.find("rank 0 failed: first") == text.npos) return text;
    }
    if (Status s = backend.recover(); !s) return s.error().to_string();
    return run_case(backend, c);
  };
  check_well(run_ranks(job_options(2), body));
}

#ifndef __SANITIZE_THREAD__  // these end or stop processes, which threads cannot play

TEST_CASE("a rank that has ended is missed by every recovery") {
  auto body = [](Backend& backend) -> std::string {
    if (backend.job().rank == 1) raise(SIGKILL);
    std::string text;
    for (int i = 0; i < 2; ++i) {
      const Status status = backend.recover();
      if (status || status.error().code != Code::PeerLost) return "recovered without rank 1";
      text = status.error().to_string();
    }
    return text;
  };
  auto results = run_processes(job_options(3), body);
  for (size_t rank : {0u, 2u})
    CHECK_THAT(results[rank].text, Catch::Contains("rank 1 was lost (killed or exited)"));
}

TEST_CASE("a recovery that waits for a rank in vain says which, and can be repeated") {
  auto body = [](Backend& backend) -> std::string {
    if (backend.job().rank == 1) {
      std::this_thread::sleep_for(std::chrono::duration<double>(1.5 * backend.job().timeout_s));
      const Status status = backend.recover();
      return status ? "" : status.error().to_string();
    }
    const Status early = backend.recover();
    if (early || early.error().code != Code::Timeout) return "did not wait for rank 1";
    if (early.error().to_string().find("no sign of rank 1") == std::string::npos)
      return early.error().to_string();
    const Status status = backend.recover();
    return status ? "" : status.error().to_string();
  };
  check_well(run_processes(job_options(2, 1), body));
}

TEST_CASE("a stopped rank of another group is noticed soon after the deadline") {
  auto body = [](Backend& backend) -> std::string {
    auto pids = backend.exchange(world_group(3), std::to_string(getpid()), "pids");
    if (backend.job().rank == 1) raise(SIGSTOP);
    const Case c{.algorithm = "ll", .shape = {4}, .group = {{0, 2}}};
    auto memory = place(backend, c);
    const auto begin = std::chrono::steady_clock::now();
    Status status;
    while (status && std::chrono::steady_clock::now() - begin < std::chrono::seconds(10))
      status = run(backend, c, *memory);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (backend.job().rank == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      kill(std::stoi((*pids)[1]), SIGKILL);
    }
    if (!status) backend.abort(status.error());
    return fmt::format("{} {}", took.count() < backend.job().timeout_s + 5,
                       status ? "no error" : status.error().to_string());
  };
  auto results = run_processes(job_options(3, 1), body);
  for (size_t rank : {0u, 2u}) {
    CHECK_THAT(results[rank].text, Catch::StartsWith("true "));
    CHECK_THAT(results[rank].text, Catch::Contains("no sign of rank 1 for"));
  }
}

#endif
