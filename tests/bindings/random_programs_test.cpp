// Random programs through all layers: planned, run by the executable on worlds of 1 to 4 rank processes, and
// run as their own printed Lua. Every rank's results agree with the reference interpreter within rounding;
// whatever the policy (fusion, memory, lowering, capture, partitions, algorithms, skipped passes), they are
// the same bits.
#include <fmt/format.h>
#include <sys/mman.h>
#include <catch2/catch.hpp>

#include "bindings/lua/environment.hpp"
#include "bindings/lua/lua.hpp"
#include "bindings/lua/tensor.hpp"
#include "bindings/session/session.hpp"
#include "cudagraph/executable.hpp"
#include "kernels/forwarding_backend.hpp"
#include "tests/support/elements.hpp"
#include "tests/support/random.hpp"
#include "tests/support/random_program.hpp"
#include "tests/support/ranks.hpp"

namespace peri::test {
namespace {

using testing::Expected;
using testing::Random;
using Bits = std::vector<std::string>;  // of every output of the graph, write-backs included

struct Case {
  uint64_t seed;
  Graph graph;
  std::vector<Arguments> arguments;  // by rank
  Expected expected;
};

Result<Case> make_case(uint64_t seed, Graph graph, int world) {
  Case c{seed, std::move(graph), {}, {}};
  for (int rank = 0; rank < world; ++rank)
    c.arguments.push_back(testing::random_arguments(c.graph, seed, rank));
  c.expected = PERI_TRY(testing::expect(c.graph, c.arguments));
  return c;
}

// --- policies ---

constexpr uint64_t kPolicies = 4;  // per program: the default and three at random

// Any choice a policy leaves; the same on every rank.
planner::Policy random_policy(uint64_t seed) {
  Random random(seed);
  planner::Policy policy;
  policy.auto_select = random.chance(85);
  if (!random.chance(60)) policy.skip.push_back("fuse");
  policy.planning = random.chance(60) ? planner::Planning::reuse : planner::Planning::separate;
  policy.lowering = random.chance(50) ? planner::Lowering::out_variant : planner::Lowering::fallback;
  policy.capture = random.chance(70);
  if (random.chance(60)) policy.ll_bytes = Bytes();
  if (random.chance(40)) policy.one_shot_bytes = Bytes();
  auto named = [&](std::vector<std::string> names) -> planner::Choice<std::string> {
    if (random.chance(40)) return {};
    return [name = random.pick(names)](const planner::OpContext&) -> Result<std::string> { return name; };
  };
  // Multicast is the host's only, which emulates it.
  policy.algorithms[Op::all_reduce] =
      tested.is_cuda ? named({"ll", "one_shot", "two_shot"})
                     : named({"ll", "one_shot", "two_shot", "multimem_one_shot", "multimem"});
  policy.algorithms[Op::all_gather] =
      tested.is_cuda ? named({"ll", "one_shot"}) : named({"ll", "one_shot", "multimem"});
  policy.algorithms[Op::reduce_scatter] = named({"ll", "one_shot"});
  policy.algorithms[Op::all_to_all] = named({"ll", "one_shot"});
  policy.algorithms[Op::broadcast] = named({"ll", "one_shot"});
  policy.algorithms[Op::reduce] = named({"ll", "one_shot"});
  if (random.chance(30)) {
    const uint64_t salt = random.next();
    policy.split = [salt](const planner::OpContext& op) -> Result<bool> {
      return Random(salt + static_cast<uint64_t>(op.origin.line)).chance(25);
    };
  }
  for (const char* pass : {"dead_code", "common_subexpressions", "fuse", "write_in_place", "check"})
    if (random.chance(12)) policy.skip.push_back(pass);
  policy.epilogues = random.chance(50);
  return policy;
}

std::string describe(const planner::Policy& p) {
  std::string text = fmt::format(
      "auto_select {}, reuse {}, lowering {}, capture {}, ll {}, one_shot {}, split {}, epilogues {}",
      p.auto_select, p.planning == planner::Planning::reuse,
      p.lowering == planner::Lowering::fallback ? "fallback" : "out", p.capture,
      p.ll_bytes.value_or(Bytes(-1)).count(), p.one_shot_bytes.value_or(Bytes(-1)).count(),
      static_cast<bool>(p.split), p.epilogues);
  for (const std::string& pass : p.skip) text += ", without " + pass;
  return text;
}

// --- running ---

struct Inputs {
  std::vector<kernels::Tensor> inputs, constants;
};
Result<Inputs> place(kernels::Backend& backend, const Arguments& arguments) {
  Inputs placed;
  for (const auto& value : arguments.inputs)
    placed.inputs.push_back(PERI_TRY(testing::make_tensor(backend, value)));
  for (const auto& value : arguments.constants)
    placed.constants.push_back(PERI_TRY(testing::make_tensor(backend, value)));
  return placed;
}
Status refill(kernels::Backend& backend, const Inputs& placed, const Arguments& arguments) {
  for (size_t i = 0; i < placed.inputs.size(); ++i)
    PERI_TRY(testing::write_tensor(backend, placed.inputs[i], arguments.inputs[i]));
  return {};
}

// The tensor that holds output `i` of the graph after a call.
std::vector<kernels::Tensor> results_of(const Graph& graph, const std::vector<kernels::Tensor>& returned,
                                        const Inputs& placed) {
  std::vector<kernels::Tensor> results;
  size_t next = 0;
  for (const Output& output : graph.outputs())
    results.push_back(output.mutated_input < 0 ? returned[next++]
                                               : placed.inputs[static_cast<size_t>(output.mutated_input)]);
  return results;
}
Result<Bits> bits_of(kernels::Backend& backend, const std::vector<kernels::Tensor>& tensors) {
  Bits all;
  for (const kernels::Tensor& t : tensors) all.push_back(PERI_TRY(testing::bytes_of(backend, t)));
  return all;
}

// "" or the first output that differs.
std::string difference(const Bits& got, const Bits& expected, std::string_view what) {
  if (got.size() != expected.size()) return fmt::format("{}: {} outputs", what, got.size());
  for (size_t i = 0; i < got.size(); ++i)
    if (got[i] != expected[i]) {
      const auto byte = std::ranges::mismatch(got[i], expected[i]).in1 - got[i].begin();
      return fmt::format("{}: output {} differs from byte {} of {} on", what, i, byte, expected[i].size());
    }
  return {};
}

// Whose recordings have fixed addresses, on the host too.
class FixedAddresses final : public kernels::ForwardingBackend {
 public:
  using kernels::ForwardingBackend::ForwardingBackend;
  bool follows_blocks() const override { return false; }
};

// One rank: its backend, and a Lua state over it.
class Rank {
 public:
  explicit Rank(kernels::Backend& backend)
      : backend_(backend),
        session_(std::make_unique<kernels::ForwardingBackend>(backend)),
        L(luaL_newstate()) {
    lua::set_session(L, &session_);
    lua::set_up_environment(L, "", {});
  }
  ~Rank() { lua_close(L); }

  // "" or the first difference.
  Result<std::string> check(const Case& c) {
    const World world{backend_.job().rank, backend_.job().world_size};
    const auto rank = static_cast<size_t>(world.rank);
    const Inputs placed = PERI_TRY(place(backend_, c.arguments[rank]));
    Bits first;
    std::vector<std::unique_ptr<cudagraph::Executable>> plans;
    for (uint64_t variant = 0; variant < kPolicies; ++variant) {
      const planner::Policy policy =
          variant == 0 ? planner::Policy() : random_policy(c.seed * kPolicies + variant);
      PERI_TRY(refill(backend_, placed, c.arguments[rank]));
      auto planned = plan(c.graph, world, policy);
      const std::string where = fmt::format("policy {} ({})", variant, describe(policy));
      if (!planned) return where + ": " + planned.error().to_string();
      const std::string text = variant == c.seed % kPolicies ? code(*planned) : "";
      cudagraph::SharedMemory& memory = variant % 2 == 0 ? memory_ : fixed_memory_;
      auto f = cudagraph::Executable::create(std::move(*planned), memory, placed.constants);
      if (!f) return where + ": " + f.error().to_string();
      auto calls = check_calls(**f, c, placed, first);
      if (!calls) return where + ", " + calls.error().to_string();
      if (!calls->empty()) return where + ", " + *calls;
      plans.push_back(std::move(*f));
      if (text.empty()) continue;
      PERI_TRY(refill(backend_, placed, c.arguments[rank]));
      auto got = run_code(text, placed);
      if (!got) return where + ", code: " + got.error().to_string() + "\n" + text;
      const Bits from_code = PERI_TRY(bits_of(backend_, results_of(c.graph, *got, placed)));
      if (auto wrong = difference(from_code, first, "code"); !wrong.empty())
        return where + ", " + wrong + "\n" + text;
    }
    return check_again(plans, c, placed, first);
  }

 private:
  // Each has run in memory that it shares with the others, and that has grown for some of them.
  Result<std::string> check_again(const std::vector<std::unique_ptr<cudagraph::Executable>>& plans,
                                  const Case& c, const Inputs& placed, const Bits& first) {
    for (size_t i = 0; i < plans.size(); ++i) {
      PERI_TRY(refill(backend_, placed, c.arguments[static_cast<size_t>(backend_.job().rank)]));
      auto returned = plans[i]->call(placed.inputs);
      const std::string when = fmt::format("policy {}, after the others", i);
      if (!returned) return when + ": " + returned.error().to_string();
      const Bits now = PERI_TRY(bits_of(backend_, results_of(c.graph, *returned, placed)));
      if (auto wrong = difference(now, first, when); !wrong.empty()) return wrong;
    }
    return std::string();
  }

  // Recorded; replayed; with other addresses. The first call's results are compared with the reference if
  // there are none yet.
  Result<std::string> check_calls(cudagraph::Executable& f, const Case& c, const Inputs& placed,
                                  Bits& first) {
    const auto rank = static_cast<size_t>(backend_.job().rank);
    std::vector<kernels::Tensor> held;
    for (const char* call : {"first call", "replay", "other addresses"}) {
      Inputs moved;
      if (*call == 'o')
        moved = PERI_TRY(place(backend_, c.arguments[rank]));
      else
        PERI_TRY(refill(backend_, placed, c.arguments[rank]));
      const Inputs& used = *call == 'o' ? moved : placed;
      auto returned = f.call(used.inputs);
      if (!returned) return fmt::format("{}: {}", call, returned.error().to_string());
      const std::vector<kernels::Tensor> results = results_of(c.graph, *returned, used);
      if (first.empty()) {
        for (size_t i = 0; i < results.size(); ++i) {
          const Value got = PERI_TRY(testing::read_tensor(backend_, results[i]));
          if (auto wrong = testing::difference(got, c.expected, rank, i); !wrong.empty())
            return fmt::format("{}: output {}: {}", call, i, wrong);
        }
        first = PERI_TRY(bits_of(backend_, results));
      }
      const Bits now = PERI_TRY(bits_of(backend_, results));
      if (auto wrong = difference(now, first, call); !wrong.empty()) return wrong;
      if (*call == 'f') held = *returned;
    }
    Bits before;
    for (size_t i = 0; i < first.size(); ++i)
      if (c.graph.outputs()[i].mutated_input < 0) before.push_back(first[i]);
    return difference(PERI_TRY(bits_of(backend_, held)), before, "an output that was held");
  }

  Result<std::vector<kernels::Tensor>> run_code(const std::string& text, const Inputs& placed) {
    lua_settop(L, 0);
    auto pcall = [&](int arguments) -> Status {
      if (lua_pcall(L, arguments, 1, 0) != 0) return std::unexpected(lua::take_error(L));
      return {};
    };
    if (luaL_loadbuffer(L, text.data(), text.size(), "=plan.lua") != 0)
      return std::unexpected(lua::take_error(L));
    PERI_TRY(pcall(0));
    for (const auto* tensors : {&placed.inputs, &placed.constants}) {
      lua_newtable(L);
      for (size_t i = 0; i < tensors->size(); ++i) {
        lua::push_tensor(L, {(*tensors)[i], {}});
        lua_rawseti(L, -2, static_cast<int>(i) + 1);
      }
    }
    PERI_TRY(pcall(2));
    std::vector<kernels::Tensor> results;
    for (int i = 1; i <= static_cast<int>(lua_objlen(L, 1)); ++i) {
      lua_rawgeti(L, 1, i);
      results.push_back(PERI_TRY(lua::to_tensor(L, -1, "a result"))->tensor());
      lua_pop(L, 1);
    }
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT, 0);
    return results;
  }

  kernels::Backend& backend_;
  FixedAddresses fixed_{backend_};
  cudagraph::SharedMemory memory_{backend_}, fixed_memory_{fixed_};
  session::Session session_;
  lua_State* L;
};

// --- jobs ---

struct Failure {
  size_t index;  // of the case
  std::string text;
};

// All cases in one job of `world` processes; the first that fails on any rank ends it.
std::optional<Failure> run_job(int world, const std::vector<Case>& cases) {
  // Which case each rank is at, for those that crash.
  static auto* const at = static_cast<std::atomic<size_t>*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const auto results = run_processes(job_options(world, 30), [&](kernels::Backend& backend) -> std::string {
    Rank rank(backend);
    alarm(static_cast<unsigned>(300 * tested.patience));
    for (size_t i = 0; i < cases.size(); ++i) {
      at[backend.job().rank] = i;
      const auto wrong = rank.check(cases[i]);
      if (!wrong) return wrong.error().to_string();
      if (!wrong->empty()) return *wrong;
    }
    return "";
  });
  // Ranks that were left alone by the first failure say so.
  std::optional<Failure> first;
  for (size_t r = 0; r < results.size(); ++r) {
    const auto& [text, signal] = results[r];
    if (text.empty() && !signal) continue;
    const bool secondary = text.find("has already finished") != std::string::npos;
    if (!first || !secondary)
      first = Failure{
          at[r], fmt::format("rank {}{}: {}\n", r, signal ? fmt::format(", signal {}", signal) : "", text)};
    if (!secondary) return first;
  }
  return first;
}

// The smallest program found that still fails: one output alone, then the earliest node whose value alone is
// wrong.
std::string reduced(const Case& failing, int world) {
  auto fails = [&](const Graph& graph) {
    auto c = make_case(failing.seed, graph, world);
    std::vector<Case> cases;
    if (c) cases.push_back(std::move(*c));
    return run_job(world, cases);
  };
  Graph graph = failing.graph;
  for (const Output& output : failing.graph.outputs()) {
    Graph candidate = failing.graph;
    candidate.set_outputs({output});
    if (!fails(candidate)) continue;
    graph = std::move(candidate);
    break;
  }
  for (int i = 0; graph.outputs().size() == 1 && i < graph.outputs()[0].value.index; ++i) {
    if (info(graph.node(NodeId(i)).op).has(kSource)) continue;
    Graph candidate = graph;
    candidate.set_outputs({{NodeId(i)}});
    if (!fails(candidate)) continue;
    graph = std::move(candidate);
    break;
  }
  graph = eliminate_dead_code(graph);
  const auto failure = fails(graph);
  return print(graph) + (failure ? failure->text : "(fails only with the dead code)\n");
}

#if defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kPrograms = 160;
#else
constexpr uint64_t kPrograms = 4000;
#endif
constexpr uint64_t kProgramsPerJob = 50;

}  // namespace

TEST_CASE("random programs give the reference's results under every policy, and so does their code") {
  const auto [begin, count] = tested.programs.value_or(std::pair{uint64_t(0), kPrograms});
  const uint64_t end = begin + count;
  uint64_t agreed = 0;
  for (uint64_t seed = begin; seed < end;) {
    const int world = 1 + static_cast<int>(seed / kProgramsPerJob % 4);
    std::vector<Case> cases;
    do {
      auto c = make_case(
          seed, testing::random_program(seed, {world, 30, seed % 3 == 0, seed % 4 == 3, seed % 5 < 2}),
          world);
      REQUIRE(c);
      cases.push_back(std::move(*c));
      ++seed;
    } while (seed % kProgramsPerJob != 0 && seed < end);
    const auto failure = run_job(world, cases);
    if (failure) {
      const Case& c = cases[failure->index];
      FAIL_CHECK(fmt::format("seed {}, {} ranks: {}{}\nreduced:\n{}", c.seed, world, failure->text,
                             print(c.graph), reduced(c, world)));
      break;
    }
    agreed += cases.size();
  }
  CHECK(agreed == count);
}

// What random programs have found, reduced.
TEST_CASE("found by random programs") {
  auto check = [](int world, const char* text) {
    INFO(text);
    Result<Graph> graph = parse(text);
    REQUIRE(graph);
    std::vector<Case> cases;
    for (uint64_t seed = 0; seed < 5; ++seed) {
      auto c = make_case(seed, *graph, world);
      REQUIRE(c);
      cases.push_back(std::move(*c));
    }
    const auto failure = run_job(world, cases);
    CHECK((failure ? failure->text : "") == "");
  };
  SECTION("a shard lies at another offset on every rank, so peers cannot read it in place") {
    check(2, R"(%0 = input(index=0, dtype=f32, shape=[4], place=device) : f32[4]
%1 = shard(%0, dim=1, group={0,1}) : f32[2]
%2 = all_reduce(%1, reduce="max", group={0,1}, algorithm="one_shot") : f32[2]
return %2
)");
  }
  SECTION("parts that do not start at multiples of a vector's size") {
    check(3, R"(%0 = input(index=0, dtype=bf16, shape=[9,17,12], place=device) : bf16[9,17,12]
%1 = all_to_all(%0, split_dim=1, concat_dim=3, group={0,1,2}, algorithm="") : bf16[3,17,36]
return %1
)");
  }
}

}  // namespace peri::test
