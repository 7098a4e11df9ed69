// A printed plan is the plan: read back, it is the same; and any other text is an error or a plan that
// check_plan can judge.
#include <sys/resource.h>

#include <cmath>

#include "tests/planner/programs.hpp"
#include "tests/support/random.hpp"

namespace peri::test {
namespace {

planner::Policy two_shot() {
  planner::Policy policy;
  policy.algorithms[Op::all_reduce] = [](const planner::OpContext&) -> Result<std::string> {
    return "two_shot";
  };
  return policy;
}

// Values that are overwritten, messages, host work, windows with offsets, several results, immediates.
Graph of_everything() {
  Program p;
  const Group group{{0, 1}};
  NodeId x = p.input(DType::f32, {4, 8}, SymmetricAllocator{group}), cache = p.input(DType::f32, {16, 8}),
         at = p.input(DType::i64, {4});
  NodeId a =
      p.op(Op::mul, {p.op(Op::add, {x, p.full(DType::f32, {}, -0.0)}), p.full(DType::f32, {}, INFINITY)});
  NodeId b = p.all_reduce(p.op(Op::softmax, {a})), c = p.all_reduce(p.slice(p.op(Op::exp, {b}), 0, 2, 4));
  NodeId sent = p.op(Op::send, {c}, {{"peer", int64_t{1}}, {"group", group}});
  NodeId got = p.op(Op::recv, {sent}, {{"peer", int64_t{1}}, {"group", group}});
  NodeId met = p.op(Op::barrier, {got}, {{"group", group}});
  NodeId host = p.op(Op::copy_to, {p.op(Op::neg, {met})}, {{"place", Place::host}});
  NodeId cat = p.op(Op::cat, {met, p.slice(b, 0, 1, 3)}, {{"dim", int64_t{0}}});
  NodeId random = p.op(Op::randn, {}, {{"shape", Ints{4, 8}}, {"seed", int64_t{7}}, {"dtype", DType::f32}});
  p.write_back(p.op(Op::index_copy, {cache, at, p.op(Op::add, {b, random})}, {{"dim", int64_t{0}}}), 1);
  NodeId parts = p.op(Op::all_gather, {cat}, {{"dim", int64_t{1}}, {"group", group}});
  return p.returning({p.op(Op::contiguous, {p.op(Op::permute, {host}, {{"dims", Ints{1, 0}}})}),
                      p.op(Op::sum, {cat}, {{"dims", Ints{1}}}),
                      p.op(Op::permute, {p.op(Op::tanh, {parts})}, {{"dims", Ints{1, 0}}})});
}

struct Case {
  Graph graph;
  planner::Policy policy;
  World world;
};
std::vector<Case> cases() {
  std::vector<Case> all = {
      {two_operands_at_once(), one_shot(), {0, 2}}, {view_of_a_value(), two_shot(), {1, 2}},
      {operands_not_ours(), one_shot(), {0, 4}},    {operands_in_sequence(), fallback(), {0, 2}},
      {graph_inputs(), one_shot(), {0, 2}},         {three_siblings(), one_shot(), {0, 2}}};
  for (bool capture : {true, false})
    for (planner::Policy policy : {one_shot(), two_shot(), fallback()}) {
      policy.capture = capture;
      policy.split = [](const planner::OpContext& op) -> Result<bool> { return op.op == Op::tanh; };
      all.push_back({of_everything(), policy, {0, 2}});
    }
  return all;
}

long resident_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

TEST_CASE("a plan is read back from its text") {
  for (const Case& c : cases()) {
    const planner::Plan plan = planned(c.graph, c.policy, c.world);
    const std::string text = print(plan);
    INFO(text);
    const Result<planner::Plan> read = planner::parse_plan(text);
    if (!read) FAIL(read.error().to_string());
    CHECK(*read == plan);
    CHECK(print(*read) == text);
    CHECK(check_plan(*read, c.graph));
    CHECK(statistics(*read) == statistics(plan));
  }
}

TEST_CASE("a script of any name is read back") {
  planner::Plan plan = planned(two_operands_at_once());
  for (const std::string& name :
       {std::string("my model.lua"), std::string("a\"b\\c\n  @ d:3"), std::string("=")}) {
    std::get<planner::KernelLine>(plan.lines[1].line).origin = {name, 12};
    const Result<planner::Plan> read = planner::parse_plan(print(plan));
    if (!read) FAIL(read.error().to_string());
    CHECK(*read == plan);
  }
}

TEST_CASE("what is no plan is refused with its line") {
  auto said = [](const std::string& text) {
    const Result<planner::Plan> read = planner::parse_plan(text);
    REQUIRE_FALSE(read);
    return read.error().message;
  };
  const std::string head = "plan of rank 0 of 2\narg0 : f32[4]\n";
  CHECK(said("") == "the last line, `return ...`, is missing");
  CHECK(said("a plan") == "line 1: column 1: expected `plan`");
  CHECK(said(head + "exp(arg1) -> buf0") == "line 3: arg1 is not defined above");
  CHECK(said(head + "arg0 : f32[4]") ==
        "line 3: inputs are arg0, arg1, ..., constants const0, const1, ..., in order");
  CHECK(said(head + "buf0 = empty_strided : f33[4]").starts_with("line 3: "));
  CHECK(said(head + "buf0 = empty_strided : f32[9223372036854775807,9]").starts_with("line 3: "));
  CHECK(said(head + "buf0 = empty_strided : f32[4]\nbuf0 = empty_strided : f32[4]") ==
        "line 4: buf0 is defined twice");
  CHECK(said(head + "softmaxx(arg0) -> arg0") == "line 3: no kernel named softmaxx");
  CHECK(said(head + "neg(arg0) -> arg0  {(f32) r1 = exp(r0) : f32 -> r1}") ==
        "line 3: the call is named neg, and its program exp");
  CHECK(said(head + "all_reduce(arg0) -> arg0  {reduce = \"medium\", group = {0,1}, algorithm = \"ll\"}")
            .starts_with("line 3: "));
  CHECK(said(head + "all_reduce(arg0) -> arg0  {reduce = \"sum\", group = {0,1}, algorithm = \"three_shot\"}")
            .starts_with("line 3: "));
  CHECK(said(head + "return\nreturn") == "line 4: there is text after the return");
}

// Bytes changed, lines left out, doubled and exchanged: an error, or a plan that check_plan judges. Nothing
// crashes, and no number in a text makes memory.
TEST_CASE("any text is an error or a plan that can be checked") {
  std::vector<std::string> texts;
  for (const Case& c : cases()) texts.push_back(print(planned(c.graph, c.policy, c.world)));
  testing::Random random(7);
  const std::string bytes = "0123456789 ,;:.[](){}=+-@\"rxbufarg\n";
  int read = 0, refused = 0;
  const long before = resident_kib();
  for (int i = 0; i < 20'000; ++i) {
    std::string text = random.pick(texts);
    for (int edits = 1 + static_cast<int>(random.next() % 3); edits > 0; --edits) {
      const size_t at = random.next() % text.size(), count = 1 + random.next() % 4;
      const std::string some(count, bytes[random.next() % bytes.size()]);
      switch (random.next() % 4) {
        case 0:
          text.erase(at, count);
          break;
        case 1:
          text.insert(at, some);
          break;
        case 2:
          text.replace(at, 1, 1, static_cast<char>(random.next()));
          break;
        case 3: {  // a line, to another place
          const size_t begin = text.rfind('\n', at) + 1, end = text.find('\n', at);
          const std::string line = text.substr(begin, end - begin + 1);
          if (random.chance(50)) text.erase(begin, line.size());
          const size_t to = text.empty() ? 0 : text.rfind('\n', random.next() % text.size()) + 1;
          text.insert(to, line);
          break;
        }
      }
      if (text.empty()) text = "\n";
    }
    INFO(text);
    const Result<planner::Plan> plan = planner::parse_plan(text);
    ++(plan ? read : refused);
    if (!plan) continue;
    static_cast<void>(check_plan(*plan));
    REQUIRE(planner::parse_plan(print(*plan)));
  }
  CHECK(read > 1000);
  CHECK(refused > 1000);
#ifdef __SANITIZE_ADDRESS__
  constexpr int64_t kGrowthKib =
      512 * 1024;  // what is freed stays in AddressSanitizer's quarantine for a while
#else
  constexpr int64_t kGrowthKib = 64 * 1024;
#endif
  CHECK(resident_kib() - before < kGrowthKib);
}

}  // namespace peri::test
