// Where a plan is cut into partitions, and what each partition's signature names.
#include "cudagraph/partition.hpp"

#include "tests/cudagraph/rig.hpp"
#include "tests/planner/programs.hpp"
#include "tests/support/random_program.hpp"

namespace peri::test {
namespace {

std::vector<std::string> names(const planner::Plan& plan, const std::vector<BufferId>& ids) {
  std::vector<std::string> all;
  for (BufferId id : ids) all.push_back(plan.buffer(id).name);
  return all;
}
using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a device round trip is two captured partitions and an eager one") {
  const planner::Plan plan = planned(round_trip(), {}, {0, 1});
  const std::vector<cudagraph::Partition> parts = cudagraph::partition(plan);
  INFO(print(plan) << print(parts, plan));
  REQUIRE(parts.size() == 3);
  CHECK(parts[0].captured);
  CHECK_FALSE(parts[1].captured);
  CHECK(parts[1].reason == "device copy");
  CHECK(parts[2].captured);
  // buf0 = x + x | buf1 = buf0 on the host, buf2 = buf1 transposed, buf3 = buf2 on the device, in the storage
  // of buf0 | buf4 = buf3 * buf3
  CHECK(names(plan, parts[0].signature.input_buffers) == Names{"arg0"});
  CHECK(names(plan, parts[0].signature.output_buffers) == Names{"buf0"});
  CHECK(names(plan, parts[0].signature.hoisted_allocations) == Names{"buf1", "buf2"});
  CHECK(names(plan, parts[1].signature.input_buffers) == Names{"buf0"});
  CHECK(names(plan, parts[1].signature.output_buffers) == Names{"buf3"});
  CHECK(parts[1].signature.hoisted_allocations.empty());
  CHECK(names(plan, parts[2].signature.input_buffers) == Names{"buf3"});
  CHECK(names(plan, parts[2].signature.output_buffers) == Names{"buf4"});
}

TEST_CASE("without a captured partition before it nothing is hoisted") {
  const planner::Plan plan = planned(round_trip(false), {}, {0, 1});
  const std::vector<cudagraph::Partition> parts = cudagraph::partition(plan);
  INFO(print(plan) << print(parts, plan));
  REQUIRE(parts.size() == 2);
  CHECK_FALSE(parts[0].captured);
  CHECK(parts[1].captured);
  for (const cudagraph::Partition& part : parts) CHECK(part.signature.hoisted_allocations.empty());
}

TEST_CASE("symmetric memory is nobody's to hoist: it is there for the executable's life") {
  Program p;
  const NodeId x = p.input(DType::f32, {4, 4}), w = p.constant(DType::f32, {4, 4});
  const NodeId y = p.op(Op::matmul, {p.op(Op::softmax, {x}), w});  // lines 1 and 2
  const Graph graph = p.returning({p.all_reduce(y)});
  planner::Policy policy = one_shot();
  policy.split = [](const planner::OpContext& op) -> Result<bool> { return op.origin.line == 2; };
  const planner::Plan plan = planned(graph, policy);
  const std::vector<cudagraph::Partition> parts = cudagraph::partition(plan);
  INFO(print(plan) << print(parts, plan));
  REQUIRE(parts.size() == 3);
  CHECK_FALSE(parts[1].captured);
  for (const cudagraph::Partition& part : parts) CHECK(part.signature.hoisted_allocations.empty());
}

TEST_CASE("the policy cuts too, and says so") {
  Program p;
  const NodeId x = p.input(DType::f32, {2, 2}), w = p.constant(DType::f32, {2, 2});
  const NodeId y = p.op(Op::matmul, {p.op(Op::exp, {x}), w});
  const Graph graph = p.returning({p.op(Op::neg, {y})});
  planner::Policy policy;
  policy.split = [](const planner::OpContext& op) -> Result<bool> { return op.op == Op::matmul; };
  const planner::Plan plan = planned(graph, policy, {0, 1});
  const std::vector<cudagraph::Partition> parts = cudagraph::partition(plan);
  REQUIRE(parts.size() == 3);
  CHECK(parts[1].reason == "split by the policy");
  CHECK(names(plan, parts[1].signature.constants) == Names{"const0"});
  CHECK(parts[0].signature.constants.empty());

  policy = {};
  policy.capture = false;
  const planner::Plan eager = planned(graph, policy, {0, 1});
  REQUIRE(cudagraph::partition(eager).size() == 1);
  CHECK(cudagraph::partition(eager)[0].reason == "capture is off in the policy");
  CHECK_FALSE(cudagraph::partition(eager)[0].captured);
}

TEST_CASE("partitions: every line stands in one, and neighbours differ in their verdict") {
  int cut = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const planner::Plan plan = planned(testing::random_program(seed), {}, {0, 1});
    const std::vector<cudagraph::Partition> parts = cudagraph::partition(plan);
    INFO("seed " << seed << "\n" << print(plan) << print(parts, plan));
    int next = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      REQUIRE(parts[i].first == next);
      REQUIRE(parts[i].last > parts[i].first);
      REQUIRE((i == 0 || parts[i].captured != parts[i - 1].captured));
      REQUIRE(parts[i].reason.empty() == parts[i].captured);
      next = parts[i].last;
      for (int l = parts[i].first; l < parts[i].last; ++l)
        if (std::holds_alternative<planner::KernelLine>(plan.lines[static_cast<size_t>(l)].line))
          REQUIRE(plan.lines[static_cast<size_t>(l)].captured == parts[i].captured);
    }
    REQUIRE(next == static_cast<int>(plan.lines.size()));
    cut += parts.size() > 1;
  }
  CHECK(cut > 20);
}

}  // namespace peri::test
