// Peers that die, stop, leave, fail or do something else: the others end soon with an error that says who and
// in what.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include <chrono>

#include "tests/support/collective_case.hpp"
#include "tests/support/ranks.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::test;

namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Case all_reduce(const std::string& algorithm, const Group& group, int64_t count = 4) {
  return {.algorithm = algorithm, .shape = {count}, .group = group};
}

// Once it is done: on a device it fails only then.
Status run(Backend& backend, const CollectiveSpec& spec, const Operand& in, const Operand& out) {
  PERI_TRY(run_collective(backend, spec, in, out));
  return backend.synchronize();
}

std::string error_of(const Status& status) {
  return status ? "no error" : status.error().to_string();
}

#define CHECK_CONTAINS(text, part) CHECK_THAT(text, Catch::Contains(part))

}  // namespace

#ifndef __SANITIZE_THREAD__  // these end processes, which threads cannot play

TEST_CASE("a rank killed or exited inside a collective is named by all others, soon") {
  bool by_signal = GENERATE(true, false);
  std::string algorithm = GENERATE("ll", "one_shot", "two_shot", "multimem");
  if (tested.is_cuda && algorithm == "multimem") return;
  auto body = [&](Backend& backend) -> std::string {
    Case c = all_reduce(algorithm, world_group(4));
    auto memory = place(backend, c);
    if (!memory) return memory.error().to_string();
    if (backend.job().rank == 2) {
      if (!run(backend, c.spec(), memory->in, memory->out)) return "first";
      if (by_signal) raise(SIGKILL);
      _exit(3);
    }
    auto begin = std::chrono::steady_clock::now();
    for (int i = 0;; ++i) {
      Status status = run(backend, c.spec(), memory->in, memory->out);
      if (!status)
        return fmt::format("{} {}", seconds_since(begin) < tested.notice, status.error().to_string());
      if (i == 1) return "went on without rank 2";
    }
  };
  auto results = run_processes(job_options(4), body);
  for (size_t rank : {0u, 1u, 3u}) {
    CHECK_CONTAINS(results[rank].text, "true case.lua:1: all_reduce f32[4] sum over {0,1,2,3}");
    CHECK_CONTAINS(results[rank].text, "rank 2 was lost (killed or exited)");
    CHECK_CONTAINS(results[rank].text, "rank 2 last entered all_reduce f32[4] sum");
  }
  CHECK(results[2].signal == (by_signal ? SIGKILL : 0));
}

TEST_CASE("a rank killed while others exchange, allocate or wait for its message is named") {
  int step = GENERATE(0, 1, 2, 3);
  auto body = [&](Backend& backend) -> std::string {
    const Group world = world_group(3);
    if (backend.job().rank == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      raise(SIGKILL);
    }
    Operand operand{nullptr, {DType::f32, View::contiguous({0})}};
    switch (step) {
      case 0: {
        auto texts = backend.exchange(world, "", "agreement");
        return texts ? "no error" : texts.error().to_string();
      }
      case 1: {
        auto storage = backend.allocate_symmetric(Bytes(100), world);
        return storage ? "no error" : storage.error().to_string();
      }
      case 2:
        return error_of(run(backend, all_reduce("ll", world, 0).spec(), operand, operand));
      default: {
        CollectiveSpec receive{
            .op = Op::recv, .algorithm = find_algorithm(Op::recv, Algorithm::ll), .group = world, .peer = 1};
        return error_of(run(backend, receive, operand, operand));
      }
    }
  };
  auto results = run_processes(job_options(3), body);
  for (size_t rank : {0u, 2u}) CHECK_CONTAINS(results[rank].text, "rank 1 was lost (killed or exited)");
}

TEST_CASE("a stopped rank is a Timeout that says what it was last in") {
  auto body = [](Backend& backend) -> std::string {
    const Group world = world_group(3);
    auto pids = backend.exchange(world, std::to_string(getpid()), "pids");
    Case c = all_reduce("ll", world);
    auto memory = place(backend, c);
    CollectiveSpec barrier{
        .op = Op::barrier, .algorithm = find_algorithm(Op::barrier, Algorithm::ll), .group = world};
    barrier.origin = {"a.lua", 7};
    if (!run(backend, barrier, memory->in, memory->in)) return "barrier";
    if (backend.job().rank == 1) raise(SIGSTOP);
    auto begin = std::chrono::steady_clock::now();
    Status status = run(backend, c.spec(), memory->in, memory->out);
    double seconds = seconds_since(begin);
    if (!status) backend.abort(status.error());
    if (backend.job().rank == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      kill(std::stoi((*pids)[1]), SIGKILL);
    }
    const double deadline = backend.job().timeout_s;
    return fmt::format("{} {}", seconds > 0.85 * deadline && seconds < deadline + 1.1, error_of(status));
  };
  auto results = run_processes(job_options(3, tested.deadline), body);
  for (size_t rank : {0u, 2u}) {  // the first to give up tells the other, unless both do at once
    CHECK_CONTAINS(results[rank].text, "true case.lua:1: all_reduce f32[4] sum over {0,1,2}: ");
    CHECK_CONTAINS(
        results[rank].text,
        fmt::format("no sign of rank 1 for {} s; it last entered barrier f32[4] over {{0,1,2}} at a.lua:7",
                    tested.deadline * tested.patience));
  }
}

TEST_CASE("a replay that loses a peer names the call and its line") {
  auto body = [](Backend& backend) -> std::string {
    Case c = all_reduce("two_shot", world_group(2));
    auto memory = place(backend, c);
    const std::vector<ProgramStep> steps{collective_step(c.spec(), memory->in, memory->out)};
    auto recording = backend.prepare(steps, Marks::none);
    if (!recording) return recording.error().to_string();
    for (int i = 0; i < 1000; ++i) {
      if (backend.job().rank == 1 && i == 500) raise(SIGKILL);
      if (Status status = backend.replay(**recording); !status) return status.error().to_string();
    }
    return error_of(backend.synchronize());
  };
  auto results = run_processes(job_options(2), body);
  CHECK_CONTAINS(results[0].text,
                 "case.lua:1: all_reduce f32[4] sum over {0,1} by two_shot: rank 1 was lost");
}

#endif

TEST_CASE("different collectives at the same point name both with their lines") {
  auto body = [](Backend& backend) -> std::string {
    const Group world = world_group(2);
    Case reduce = all_reduce("ll", world),
         gather{.op = Op::all_gather, .algorithm = "ll", .shape = {4}, .group = world};
    auto a = place(backend, reduce), b = place(backend, gather);
    if (!run(backend, reduce.spec(), a->in, a->out)) return "first";
    CollectiveSpec one = reduce.spec(), other = gather.spec();
    one.origin = {"a.lua", 3};
    other.origin = {"a.lua", 9};
    return error_of(backend.job().rank == 0 ? run(backend, one, a->in, a->out)
                                            : run(backend, other, b->in, b->out));
  };
  auto results = run_ranks(job_options(2), body);
  for (const RankResult& result : results) {
    CHECK_CONTAINS(result.text, "ranks issued different operations\n   rank 0 last entered all_reduce ");
    CHECK_CONTAINS(result.text,
                   "f32[4] sum over {0,1} at a.lua:3 (call #2)\n   rank 1 last entered all_gather ");
    CHECK_CONTAINS(result.text, "f32[4] along dim 1 over {0,1} at a.lua:9");
  }
  CHECK(results[0].text.starts_with("a.lua:3: "));
  CHECK(results[1].text.starts_with("a.lua:9: "));
}

TEST_CASE("everything that members must agree on is compared") {
  int difference = GENERATE(0, 1, 2, 3, 4, 5);
  auto body = [&](Backend& backend) -> std::string {
    const Group world = world_group(2);
    auto symmetric = backend.allocate_symmetric(Bytes(4096), world),
         second = backend.allocate_symmetric(Bytes(4096), world);
    auto out = backend.allocate(Bytes(4096), Place::device);
    Case c = all_reduce("one_shot", world, 64);
    std::byte* data = (*symmetric)->data();
    CollectiveSpec warm = c.spec();
    Operand in{data, {DType::f32, View::contiguous({64})}}, to{(*out)->data(), in.type};
    if (!run(backend, warm, in, to)) return "first";
    if (backend.job().rank == 1) {
      if (difference == 0) c.shape = {65};
      if (difference == 1) c.dtype = DType::i32;
      if (difference == 2) c.reduce = Reduce::max;
      if (difference == 3) c.algorithm = "two_shot";
      if (difference == 4) data += 64;
      if (difference == 5) data = (*second)->data();
    }
    in = {data, {c.dtype, View::contiguous(c.shape)}};
    Status status = run(backend, c.spec(), in, {(*out)->data(), in.type});
    return status ? "no error" : to_string(status.error().code);
  };
  for (const RankResult& result : run_ranks(job_options(2), body)) CHECK(result.text == "RankMismatch");
}

TEST_CASE("a message of another type is refused by its receiver") {
  auto body = [](Backend& backend) -> std::string {
    const Group world = world_group(2);
    auto memory = backend.allocate(Bytes(64), Place::device);
    const bool sending = backend.job().rank == 0;
    Operand operand{(*memory)->data(), {DType::f32, View::contiguous({sending ? 4 : 5})}};
    const Op op = sending ? Op::send : Op::recv;
    CollectiveSpec spec{
        .op = op, .algorithm = find_algorithm(op, Algorithm::ll), .group = world, .peer = sending ? 1 : 0};
    spec.origin = {sending ? "send.lua" : "recv.lua", 2};
    Status status = run(backend, spec, operand, operand);
    return sending ? (status ? "" : status.error().to_string()) : error_of(status);
  };
  auto results = run_ranks(job_options(2), body);
  CHECK(results[0].text == "");
  CHECK_CONTAINS(results[1].text, "recv.lua:2: recv f32[5] from rank 0 over {0,1}: ");
  CHECK_CONTAINS(results[1].text, "send f32[4]");  // the host's channel keeps the text, a GPU's the signature
  CHECK_CONTAINS(results[1].text, "send.lua:2");
}

TEST_CASE("a rank that has left or failed is named by those who wait for it") {
  bool failing = GENERATE(true, false);
  auto body = [&](Backend& backend) -> std::string {
    Case c = all_reduce("ll", world_group(3));
    auto memory = place(backend, c);
    if (!run(backend, c.spec(), memory->in, memory->out)) return "first";
    if (backend.job().rank == 1) {
      if (failing) backend.abort({Code::ScriptError, "attempt to index nil\nstack traceback:", {"b.lua", 5}});
      if (failing) backend.abort({Code::IoError, "a later cause does not count"});
      if (!failing) backend.leave();
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      return "";
    }
    auto begin = std::chrono::steady_clock::now();
    Status status = run(backend, c.spec(), memory->in, memory->out);
    return fmt::format("{} {} {}", seconds_since(begin) < tested.notice / 4,
                       status ? "" : to_string(status.error().code), error_of(status));
  };
  auto results = run_ranks(job_options(3), body);
  for (size_t rank : {0u, 2u}) {
    CHECK_CONTAINS(results[rank].text, "true PeerLost");
    CHECK_CONTAINS(results[rank].text,
                   failing ? "rank 1 failed: b.lua:5: attempt to index nil" : "rank 1 has already finished");
  }
}

TEST_CASE("a wait sees the interrupt flag") {
  auto body = [](Backend& backend) -> std::string {
    Case c = all_reduce("ll", world_group(2));
    auto memory = place(backend, c);
    if (!run(backend, c.spec(), memory->in, memory->out)) return "first";
    if (backend.job().rank == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(400));
      return "";
    }
    std::thread user([&backend] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      backend.interrupt_flag() = true;
    });
    auto begin = std::chrono::steady_clock::now();
    Status status = run(backend, c.spec(), memory->in, memory->out);
    double seconds = seconds_since(begin);
    user.join();
    return fmt::format("{} {}", seconds < 0.25, status ? "" : to_string(status.error().code));
  };
  CHECK(run_ranks(job_options(2), body)[0].text == "true Interrupted");
}

TEST_CASE("a world of one needs no peers and no threads") {
  auto body = [](Backend& backend) -> std::string {
    for (const AlgorithmInfo& row : algorithms()) {
      if (row.op == Op::send || row.op == Op::recv || !offers(backend, row)) continue;
      Case c{.op = row.op, .algorithm = std::string(row.name), .shape = {3, 5}, .group = world_group(1)};
      if (std::string wrong = run_case(backend, c); !wrong.empty()) return wrong;
    }
    return "";
  };
  check_well(run_ranks(job_options(1), body));
}
