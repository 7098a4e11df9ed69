// Whole printed plans of the known examples, kept under goldens/. `peri_test_planner "[update]"` rewrites
// them: read the diff.
#include <fstream>
#include <sstream>

#include "tests/planner/programs.hpp"

namespace peri::test {
namespace {

struct Golden {
  const char* name;
  Graph (*graph)();
  planner::Policy (*policy)();
  World world;
};
const Golden kGoldens[] = {
    {"s1_at_once", two_operands_at_once, one_shot, {0, 2}},
    {"s1_in_sequence", operands_in_sequence, one_shot, {0, 2}},
    {"s1_view", view_of_a_value, one_shot, {0, 2}},
    {"s3_not_ours", operands_not_ours, one_shot, {0, 4}},
    {"s3_fallback", operands_in_sequence, fallback, {0, 2}},
    {"s6_inputs", graph_inputs, one_shot, {0, 2}},
    {"s7_siblings", three_siblings, one_shot, {0, 2}},
    {"s8_out_variant", eight_layers, one_shot, {0, 2}},
    {"s8_fallback", eight_layers, fallback, {0, 2}},
    {"epilogue", residual_and_norm, epilogues, {0, 2}},
};

std::string path(const Golden& golden, const char* suffix) {
  return std::string(PERI_SOURCE_DIR "/tests/planner/goldens/") + golden.name + suffix;
}

std::string read(const std::string& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string text(const Golden& golden) {
  const planner::Plan plan = planned(golden.graph(), golden.policy(), golden.world);
  return print(plan) + "\n" + explain(plan);
}

}  // namespace

TEST_CASE("plans of the known examples are what they were") {
  for (const Golden& golden : kGoldens) {
    INFO(golden.name);
    CHECK(text(golden) == read(path(golden, ".txt")));
    CHECK(code(planned(golden.graph(), golden.policy(), golden.world)) == read(path(golden, ".lua")));
  }
}

TEST_CASE("rewrite the goldens", "[.update]") {
  for (const Golden& golden : kGoldens) {
    std::ofstream(path(golden, ".txt")) << text(golden);
    std::ofstream(path(golden, ".lua")) << code(planned(golden.graph(), golden.policy(), golden.world));
  }
}

}  // namespace peri::test
